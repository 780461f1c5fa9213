//! The methods that gateways call: one table from names to functions.

mod call;
pub mod config;
mod execute;
mod files;
mod kernels;

use std::rc::Rc;

use backendai::wire::rpc::{RemoteError, Request};
use rmpv::Value;

use self::call::Call;
use crate::{
    agent::Agent,
    exception::{Answer, Exception},
};

/// Performs a call.
pub async fn dispatch(agent: Rc<Agent>, request: Request) -> Answer {
    let call = Call { args: request.args, kwargs: request.kwargs };
    match request.method.as_str() {
        "ping" => ping(&call),
        "create_kernel" => kernels::create(&agent, &call).await,
        "restart_kernel" => kernels::restart(&agent, &call).await,
        "destroy_kernel" => kernels::destroy(&agent, &call).await,
        "interrupt_kernel" => kernels::interrupt(&agent, &call),
        "get_logs" => kernels::logs(&agent, &call),
        "reset" => kernels::reset(&agent, &call).await,
        "execute" => execute::execute(&agent, &call).await,
        "get_completions" => execute::completions(&agent, &call).await,
        "upload_file" => files::upload(&agent, &call).await,
        "download_file" => files::download(&agent, &call).await,
        "list_files" => files::list(&agent, &call).await,
        unknown => Err(RemoteError::method_not_found(unknown)),
    }
}

fn ping(call: &Call) -> Answer {
    let [message] = call.bind(["msg"], 1)?;
    Ok(Value::from(call::text_of(message)))
}

/// The result of what ran on another thread.
fn joined(result: Result<Result<Value, Exception>, tokio::task::JoinError>) -> Answer {
    result.unwrap_or_else(|error| Err(crate::exception::runtime(error.to_string())))
}
