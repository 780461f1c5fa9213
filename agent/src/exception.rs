//! Errors as peers of this protocol know them: Python exceptions. Released managers look at types and
//! show arguments, so each failure here is the exception that the original agent raised for it.

pub use backendai::wire::rpc::RemoteError as Exception;
use nix::errno::Errno;
use rmpv::Value;

/// The result of a method.
pub type Answer = Result<Value, Exception>;

/// What went wrong in the agent or a kernel.
pub fn runtime(text: impl Into<String>) -> Exception {
    builtin("builtins.RuntimeError", text)
}

/// A kernel that is not here, as `execute` says it.
pub fn no_container(kernel: &str) -> Exception {
    runtime(format!("The container for kernel {kernel} is not found! (might be terminated)"))
}

/// A kernel that is not here, as the methods without code say it.
pub fn key(kernel: &str) -> Exception {
    builtin("builtins.KeyError", kernel)
}

/// A demand that cannot be met by this agent or makes no sense.
pub fn assertion(text: impl Into<String>) -> Exception {
    builtin("builtins.AssertionError", text)
}

/// A value that is out of bounds.
pub fn value(text: impl Into<String>) -> Exception {
    builtin("builtins.ValueError", text)
}

/// Arguments that the method does not take; `text` is the message of the `TypeError` inside.
pub fn parameters(text: &str) -> Exception {
    let inner = builtin("builtins.TypeError", text);
    Exception::wrong_parameters(&inner.repr)
}

/// An error of the file system.
pub fn errno(errno: Errno) -> Exception {
    let kind = match errno {
        Errno::ENOENT => "builtins.FileNotFoundError",
        Errno::EEXIST => "builtins.FileExistsError",
        Errno::EISDIR => "builtins.IsADirectoryError",
        Errno::ENOTDIR => "builtins.NotADirectoryError",
        Errno::EACCES | Errno::EPERM => "builtins.PermissionError",
        _ => "builtins.OSError",
    };
    Exception::new(kind, vec![Value::from(errno as i32), Value::from(errno.desc())])
}

/// An error of input or output.
pub fn io(error: &std::io::Error) -> Exception {
    match error.raw_os_error() {
        Some(number) => errno(Errno::from_raw(number)),
        None => runtime(error.to_string()),
    }
}

fn builtin(kind: &str, text: impl Into<String>) -> Exception {
    Exception::new(kind, vec![Value::from(text.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_recorded_agent() {
        assert_eq!(key("no-such-kernel").repr, "KeyError('no-such-kernel')");
        let missing = parameters("missing a required argument: 'msg'");
        assert_eq!(missing.args[0].as_str().unwrap(), r#"TypeError("missing a required argument: 'msg'")"#);
        let many = parameters("too many positional arguments");
        assert_eq!(many.repr, r#"ParametersError("TypeError('too many positional arguments')")"#);
        assert_eq!(errno(Errno::ENOENT).repr, "FileNotFoundError(2, 'No such file or directory')");
    }
}
