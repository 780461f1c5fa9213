//! The configuration that a kernel is created or restarted with.

use std::path::{Component, Path};

use backendai::wire::value::{as_f64, as_i64, get};
use rmpv::Value;

use super::call::text_of;
use crate::{
    exception::{self, Exception},
    kernel::Limits,
};

/// What a kernel is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelConfig {
    /// The image.
    pub lang: String,
    /// What it may use.
    pub limits: Limits,
    /// Variables of its environment.
    pub environ: Vec<(String, String)>,
    /// Folders to show it: name, host and id in hex.
    pub mounts: Vec<[String; 3]>,
    /// For a restart: the cores it had.
    pub cpu_set: Vec<usize>,
}

// === impl KernelConfig ===

impl KernelConfig {
    /// Reads it from a call.
    ///
    /// # Errors
    /// A part is missing or makes no sense.
    pub fn from_value(value: &Value) -> Result<KernelConfig, Exception> {
        let lang = get(value, "lang").and_then(Value::as_str).ok_or_else(|| exception::assertion("no lang"))?;
        Ok(KernelConfig {
            lang: lang.to_owned(),
            limits: limits(get(value, "limits").unwrap_or(&Value::Nil))?,
            environ: environ(get(value, "environ").unwrap_or(&Value::Nil))?,
            mounts: mounts(get(value, "mounts").unwrap_or(&Value::Nil))?,
            cpu_set: items(get(value, "cpu_set").unwrap_or(&Value::Nil))
                .iter()
                .filter_map(|core| as_i64(core)?.try_into().ok())
                .collect(),
        })
    }

    /// Shows the mounts in the work folder: links to where this machine has them.
    ///
    /// # Errors
    /// One is not on this machine.
    pub fn link_mounts(&self, root: &Path, work: &Path) -> Result<(), Exception> {
        for [name, host, id] in &self.mounts {
            let folder = root.join(host).join(id);
            if !folder.is_dir() {
                return Err(exception::errno(nix::errno::Errno::ENOENT));
            }
            std::os::unix::fs::symlink(folder, work.join(name)).map_err(|error| exception::io(&error))?;
        }
        Ok(())
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn limits(value: &Value) -> Result<Limits, Exception> {
    let slot = |name: &str| {
        let slot = get(value, name).and_then(as_f64).filter(|slot| *slot >= 0.0);
        slot.ok_or_else(|| exception::assertion(format!("no {name} among the limits")))
    };
    Ok(Limits { mem: slot("mem_slot")? as u64, cpu: slot("cpu_slot")?, gpu: slot("gpu_slot")? })
}

fn environ(value: &Value) -> Result<Vec<(String, String)>, Exception> {
    let pairs = value.as_map().map_or(&[][..], Vec::as_slice);
    let pairs = pairs.iter().map(|(name, value)| (text_of(name), text_of(value)));
    pairs
        .map(|(name, value)| match name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            true => Err(exception::value(format!("{name:?} is no name of an environment variable"))),
            false => Ok((name, value)),
        })
        .collect()
}

fn mounts(value: &Value) -> Result<Vec<[String; 3]>, Exception> {
    items(value)
        .iter()
        .map(|mount| match items(mount) {
            [name, host, id] => Ok([text_of(name), text_of(host), text_of(id)]),
            _ => Err(exception::assertion("a mount is [name, host, id]")),
        })
        .map(|mount| mount.and_then(plain))
        .collect()
}

/// Each part of a mount names one folder.
fn plain(mount: [String; 3]) -> Result<[String; 3], Exception> {
    let is_name = |part: &String| {
        let mut parts = Path::new(part).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name.to_str() == Some(part))
    };
    match mount.iter().all(is_name) && !mount.iter().any(|part| part.contains('\0')) {
        true => Ok(mount),
        false => Err(exception::value("malformed mount")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::Map(pairs.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect())
    }

    fn config(mounts: Value) -> Value {
        let limits = map(&[("mem_slot", 256.into()), ("cpu_slot", 1.5.into()), ("gpu_slot", 0.into())]);
        map(&[("lang", "python".into()), ("limits", limits), ("mounts", mounts), ("environ", map(&[("A", 1.into())]))])
    }

    #[test]
    fn a_configuration_is_read() {
        let mount = Value::Array(vec!["data".into(), "local".into(), "ab12".into()]);
        let config = KernelConfig::from_value(&config(Value::Array(vec![mount]))).unwrap();
        assert_eq!(config.limits, Limits { mem: 256, cpu: 1.5, gpu: 0.0 });
        assert_eq!(config.environ, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(config.mounts[0][0], "data");
    }

    #[test]
    fn mounts_name_single_folders_only() {
        for bad in ["..", "a/b", "", "/etc", "."] {
            let mount = Value::Array(vec![bad.into(), "local".into(), "ab12".into()]);
            KernelConfig::from_value(&config(Value::Array(vec![mount]))).unwrap_err();
        }
    }

    #[test]
    fn all_three_limits_must_be_there() {
        let error = KernelConfig::from_value(&map(&[("lang", "python".into())])).unwrap_err();
        assert_eq!(error.kind, "builtins.AssertionError");
    }
}
