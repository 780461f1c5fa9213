//! The life of kernels.

use std::rc::Rc;

use backendai::wire::event::EventKind;
use rmpv::Value;

use super::{
    call::{Call, text_of},
    config::KernelConfig,
};
use crate::{
    agent::Agent,
    exception::{self, Answer},
    kernel::{Kernel, Reason, scratch::check_kernel_id},
};

pub(super) async fn create(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, config] = call.bind(["kernel_id", "config"], 2)?;
    let id = text_of(id);
    check_kernel_id(&id)?;
    agent.tell(EventKind::KernelCreating { id: id.clone() });
    let kernel = agent.create(&id, KernelConfig::from_value(config)?).await?;
    let mut answer = vec![("id".into(), id.into())];
    answer.extend(describe(agent, &kernel));
    Ok(Value::Map(answer))
}

pub(super) async fn restart(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, config] = call.bind(["kernel_id", "config"], 2)?;
    let kernel = agent.restart(&text_of(id), KernelConfig::from_value(config)?).await?;
    Ok(Value::Map(describe(agent, &kernel)))
}

/// What both tell of a kernel. Code and its output go through calls alone, so that the ports of a
/// REPL are 0, and those of a terminal where there is none.
fn describe(agent: &Agent, kernel: &Kernel) -> Vec<(Value, Value)> {
    let cpus: Value = kernel.cpus.iter().map(|core| Value::from(*core)).collect();
    let [stdin, stdout] = kernel.terminal.unwrap_or_default();
    let ports = [("repl_in_port", 0), ("repl_out_port", 0), ("stdin_port", stdin), ("stdout_port", stdout)];
    let mut pairs: Vec<(Value, Value)> = ports.map(|(name, port)| (name.into(), port.into())).into();
    pairs.extend([
        ("kernel_host".into(), agent.identity.ip.to_string().into()),
        ("container_id".into(), kernel.container.as_str().into()),
        ("cpu_set".into(), cpus),
        ("gpu_set".into(), Value::Array(Vec::new())),
    ]);
    pairs
}

pub(super) async fn destroy(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id] = call.bind(["kernel_id"], 1)?;
    Ok(agent.destroy(&text_of(id), Reason::Destroyed).await)
}

pub(super) fn interrupt(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id] = call.bind(["kernel_id"], 1)?;
    let id = text_of(id);
    agent.kernel(&id).ok_or_else(|| exception::key(&id))?.interrupt();
    Ok(Value::Nil)
}

pub(super) fn logs(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id] = call.bind(["kernel_id"], 1)?;
    let id = text_of(id);
    let kernel = agent.kernel(&id).ok_or_else(|| exception::key(&id))?;
    Ok(Value::Map(vec![("logs".into(), kernel.logs().into())]))
}

pub(super) async fn reset(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [] = call.bind([], 0)?;
    agent.end_all(Reason::Destroyed).await;
    Ok(Value::Nil)
}
