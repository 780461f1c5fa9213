//! What an agent raised.

use std::fmt;

use rmpv::Value;

use super::{RpcError, array, repr::Repr};

/// An exception that a call ended with, on the wire `[qualified type, [args], repr]`.
///
/// Shown as problem documents do: `RuntimeError('boom', 1)`. Types of Python's builtins lose their
/// module, others keep it: `aiozmq.rpc.base.NotFoundError('no_such_method')`.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteError {
    /// The exception's type with its module, such as `builtins.RuntimeError`.
    pub kind: String,
    /// The arguments it was raised with.
    pub args: Vec<Value>,
    /// Python's `repr` of it, as the agent made it.
    pub repr: String,
}

const BUILTINS: &str = "builtins.";
/// What an agent raises for arguments that a method does not take.
const PARAMETERS: &str = "aiozmq.rpc.base.ParametersError";

// === impl RemoteError ===

impl RemoteError {
    /// The type of what an agent raises for a method that it does not have.
    pub const METHOD_NOT_FOUND: &str = "aiozmq.rpc.base.NotFoundError";

    /// An exception of this qualified type, its `repr` made as Python would.
    pub fn new(kind: &str, args: Vec<Value>) -> RemoteError {
        let name = kind.rsplit('.').next().unwrap_or(kind);
        let repr = format!("{name}({})", Repr::list(&args));
        RemoteError { kind: kind.to_owned(), args, repr }
    }

    /// What answers a call of a method that the agent does not have.
    pub fn method_not_found(method: &str) -> RemoteError {
        RemoteError::new(Self::METHOD_NOT_FOUND, vec![method.into()])
    }

    /// What answers a call with arguments that the method does not take.
    pub fn wrong_parameters(why: &str) -> RemoteError {
        RemoteError::new(PARAMETERS, vec![why.into()])
    }

    /// Whether the agent has no such method (it is of an older release).
    pub fn is_method_not_found(&self) -> bool {
        self.kind == Self::METHOD_NOT_FOUND
    }

    /// The text that problem documents show for an exception of these parts.
    pub fn text(kind: &str, args: &[Value], repr: &str) -> String {
        let name = kind.strip_prefix(BUILTINS).unwrap_or(kind);
        // Some exceptions (of Docker, for one) keep nothing in their arguments, yet tell more in their repr.
        match call_part(kind, repr).filter(|_| args.is_empty()) {
            Some(rest) => format!("{name}{rest}"),
            None => format!("{name}({})", Repr::list(args)),
        }
    }

    /// As it goes over the wire.
    pub fn to_value(&self) -> Value {
        Value::Array(vec![self.kind.as_str().into(), Value::Array(self.args.clone()), self.repr.as_str().into()])
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// The value has another shape.
    pub fn from_value(value: Value) -> Result<RemoteError, RpcError> {
        let Ok([kind, args, repr]) = <[Value; 3]>::try_from(array(value)?) else { return Err(RpcError::Shape) };
        let text = |value: Value| value.as_str().map(str::to_owned).ok_or(RpcError::Shape);
        Ok(RemoteError { kind: text(kind)?, args: array(args)?, repr: text(repr)? })
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&RemoteError::text(&self.kind, &self.args, &self.repr))
    }
}

impl std::error::Error for RemoteError {}

/// `(…)` of a repr `Name(…)`.
fn call_part<'a>(kind: &str, repr: &'a str) -> Option<&'a str> {
    let rest = repr.strip_prefix(kind.rsplit('.').next()?)?;
    Some(rest).filter(|rest| rest.starts_with('(') && rest.ends_with(')'))
}
