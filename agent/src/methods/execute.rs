//! Running code and commands, and completing words.

use std::{collections::VecDeque, rc::Rc};

use backendai::wire::value::{as_i64, get};
use rmpv::Value;

use super::call::{Call, json_of, text_of};
use crate::{
    agent::Agent,
    exception::{self, Answer, Exception},
    kernel::{
        Kernel,
        console::Record,
        runs::{Outcome, Step, Work},
    },
};

pub(super) async fn execute(agent: &Rc<Agent>, call: &Call) -> Answer {
    let names = ["api_version", "kernel_id", "run_id", "mode", "code", "opts"];
    let [version, id, run, mode, code, options] = call.bind(names, 6)?;
    let (id, mode, code) = (text_of(id), text_of(mode), text_of(code));
    let run = Some(text_of(run)).filter(|run| !run.is_empty());
    let run = run.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let kernel = agent.kernel(&id).ok_or_else(|| exception::no_container(&id))?;
    if mode == "complete" {
        return complete(&kernel, code, options).await;
    }
    let outcome = perform(&kernel, &run, &mode, code, options).await;
    kernel.touch();
    let version = as_i64(version).unwrap_or(2);
    Ok(if version < 2 { first_version(outcome?, &run) } else { outcome?.into_value(&run) })
}

/// Clients of the first releases repeat `query` and `batch` to go on with a run: whether that brings
/// input or only continues is told by what the run waits for.
async fn perform(kernel: &Kernel, run: &str, mode: &str, code: String, options: &Value) -> Result<Outcome, Exception> {
    let is_open = kernel.has_open(run);
    match mode {
        "input" => kernel.input(run, code).await,
        "query" | "batch" if is_open && kernel.is_waiting(run) => kernel.input(run, code).await,
        "continue" => kernel.go_on(run).await,
        "query" | "batch" if is_open => kernel.go_on(run).await,
        "query" => Ok(kernel.begin(run, Work::Query(code)).await),
        "batch" => Ok(kernel.begin(run, Work::Batch(steps(options))).await),
        other => Err(exception::assertion(format!("there is no mode {other}"))),
    }
}

/// The commands of a batch. Cleaning is a step only where it is asked for; building and running
/// always are, if only to be skipped, since clients count on the answers between them.
fn steps(options: &Value) -> VecDeque<Step> {
    let command = |name: &str| get(options, name).map(text_of).unwrap_or_default();
    let clean = Some(Step { name: "clean", command: command("clean") }).filter(|step| !step.command.is_empty());
    let rest = ["build", "exec"].map(|name| Step { name, command: command(name) });
    clean.into_iter().chain(rest).collect()
}

/// The shape of API version 1, which has four lists instead of one console.
fn first_version(outcome: Outcome, run: &str) -> Value {
    let of = |kind: &'static str| outcome.console.iter().filter(move |record| record.kind == kind);
    let text = |kind| Value::from(of(kind).map(|record| record.text.as_str()).collect::<String>());
    let mime = |record: &Record| Value::from(record.mime.as_deref().unwrap_or_default());
    let media = of("media").map(|record| Value::Array(vec![mime(record), record.text.as_str().into()]));
    let lists = [
        ("stdout", text("stdout")),
        ("stderr", text("stderr")),
        ("media", media.collect()),
        ("html", of("html").map(|record| Value::from(record.text.as_str())).collect()),
    ];
    let rest = outcome.into_value(run);
    let kept = rest.as_map().into_iter().flatten().filter(|(key, _)| key.as_str() != Some("console")).cloned();
    Value::Map(kept.chain(lists.map(|(key, value)| (key.into(), value))).collect())
}

pub(super) async fn completions(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, text, options] = call.bind(["kernel_id", "text", "opts"], 2)?;
    let id = text_of(id);
    let kernel = agent.kernel(&id).ok_or_else(|| exception::no_container(&id))?;
    complete(&kernel, text_of(text), options).await
}

async fn complete(kernel: &Kernel, text: String, options: &Value) -> Answer {
    let options = if options.is_map() { json_of(options) } else { serde_json::json!({}) };
    let words: Value = kernel.complete(text, options).await.into_iter().map(Value::from).collect();
    Ok(Value::Map(vec![("status".into(), "finished".into()), ("completions".into(), words)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_always_builds_and_runs_and_cleans_when_asked() {
        let names = |pairs: &[(&str, Value)]| {
            let options = Value::Map(pairs.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect());
            steps(&options).into_iter().map(|step| (step.name, step.command)).collect::<Vec<_>>()
        };
        assert_eq!(names(&[("exec", Value::Nil)]), [("build", String::new()), ("exec", String::new())]);
        let all = names(&[("clean", "rm x".into()), ("build", "*".into()), ("exec", "./x".into())]);
        assert_eq!(all, [("clean", "rm x".into()), ("build", "*".into()), ("exec", "./x".into())]);
    }
}
