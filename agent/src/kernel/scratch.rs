//! A kernel's folder: `work`, the user's, and `run`, with the runner, its socket and its log.

use std::{
    io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};

use crate::exception::{self, Exception};

/// The files of the Python runner.
const PYTHON_RUNNER: [(&str, &str); 4] = [
    ("runner.py", include_str!("../runner/python/runner.py")),
    ("_backendai_console.py", include_str!("../runner/python/_backendai_console.py")),
    ("_backendai_rich.py", include_str!("../runner/python/_backendai_rich.py")),
    ("_backendai_complete.py", include_str!("../runner/python/_backendai_complete.py")),
];

/// How the names of folders begin that are being removed. No kernel id does.
const GONE: &str = ".gone-";

/// The folder of one kernel.
#[derive(Clone, Debug)]
pub struct Scratch {
    folder: PathBuf,
}

// === impl Scratch ===

impl Scratch {
    /// The folder of this kernel. The name must have passed [`check_kernel_id`].
    pub fn of(root: &Path, kernel: &str) -> Scratch {
        Scratch { folder: root.join(kernel) }
    }

    /// Makes the folders of a new kernel.
    ///
    /// # Errors
    /// They exist already, or cannot be made.
    pub fn create(&self) -> io::Result<()> {
        std::fs::create_dir(&self.folder)?;
        for folder in [self.work(), self.run(), self.run().join("bin"), self.work().join(".output")] {
            std::fs::create_dir(folder)?;
        }
        std::fs::set_permissions(&self.folder, std::fs::Permissions::from_mode(0o700))
    }

    /// Writes the Python runner, with a `python` of this interpreter to stand first in PATH.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn install_python(&self, interpreter: &Path) -> io::Result<()> {
        for (name, text) in PYTHON_RUNNER {
            std::fs::write(self.run().join(name), text)?;
        }
        let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", interpreter.display().to_string().replace('\'', "'\\''"));
        for name in ["python", "python3"] {
            let file = self.run().join("bin").join(name);
            std::fs::write(&file, &script)?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Listens where the runner's connections come in.
    ///
    /// # Errors
    /// The socket cannot be made: most likely its path is longer than the 107 bytes a socket's may be.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let path = self.socket();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => UnixListener::bind(path),
        }
    }

    /// The user's folder.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// The private folder.
    pub fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Where the runner is reached.
    pub fn socket(&self) -> PathBuf {
        self.run().join("s")
    }

    /// What the processes around the user's code wrote: why a kernel did not start.
    pub fn log(&self) -> PathBuf {
        self.run().join("log")
    }

    /// Puts it aside at once, so that its name is free, and removes it on another thread: there may be
    /// a lot in it.
    ///
    /// # Errors
    /// It cannot be put aside.
    pub fn remove(&self) -> io::Result<()> {
        let aside = self.folder.with_file_name(format!("{GONE}{}", uuid::Uuid::new_v4().simple()));
        match std::fs::rename(&self.folder, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                tokio::task::spawn_blocking(move || remove_all(&aside));
                Ok(())
            }
        }
    }

    /// The kernels that have a folder here, with or without processes. What was put aside and is still
    /// there is removed.
    pub fn all(root: &Path) -> Vec<String> {
        let mut kernels = Vec::new();
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(GONE) {
                tokio::task::spawn_blocking(move || remove_all(&entry.path()));
            } else if check_kernel_id(&name).is_ok() && entry.path().join("run").is_dir() {
                kernels.push(name);
            }
        }
        kernels
    }
}

fn remove_all(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "what a kernel left stays");
    }
}

/// Kernel ids become folder names: letters, digits, `-` and `_`, at most 64.
///
/// # Errors
/// The id is something else.
pub fn check_kernel_id(id: &str) -> Result<(), Exception> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    match (1..=64).contains(&id.len()) && id.chars().all(good) {
        true => Ok(()),
        false => Err(exception::value("malformed kernel id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_ids_cannot_name_another_folder() {
        check_kernel_id("838b3a28-c277-4ff3-a63e-3eb85c7b19bc").unwrap();
        for bad in ["", "..", "a/b", "a\0", &"x".repeat(65), "é"] {
            check_kernel_id(bad).unwrap_err();
        }
    }
}
