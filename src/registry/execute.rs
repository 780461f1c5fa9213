//! Running code.

use std::{rc::Rc, time::Duration};

use rmpv::Value;

use super::{AgentOp, Error, Registry, Session, time_limits};
use crate::agents::CallError;

/// How long Redis remembers how a run stands that nobody follows.
const RUN_LIFE: Duration = Duration::from_secs(3600);

/// The API version that agents are told, whatever the client speaks: others break kernels of release 1.0.
const AGENT_API_VERSION: u64 = 2;

/// The exit code of a run that ended because its kernel went away.
const EXIT_GONE: i64 = 130;

/// What a run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Run a snippet.
    Query,
    /// Build and run uploaded files.
    Batch,
    /// Complete a line.
    Complete,
    /// Go on waiting for a run.
    Continue,
    /// Give a run the line that it waits for.
    Input,
}

/// One call of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The run's id: the client's, or ours.
    pub id: String,
    /// What to do.
    pub mode: Mode,
    /// Snippet, input, or text to complete.
    pub code: String,
    /// Options of the mode: a map.
    pub options: Value,
    /// How the run stood after its last call, as Redis remembers.
    pub last_status: Option<String>,
}

/// What the agent answered: the fields of its map.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// The run's id.
    pub run_id: String,
    /// `continued`, `waiting-input`, `build-finished`, `clean-finished`, `finished`.
    pub status: String,
    /// Of a run that ended, where the agent says.
    pub exit_code: Option<i64>,
    /// `[[stream, data], …]`.
    pub console: Value,
    /// Of mode `complete`.
    pub completions: Value,
    /// A map, or nil.
    pub options: Value,
    /// `[{name, url}, …]`.
    pub files: Value,
}

impl Registry {
    /// Makes one call of a run, in turn with the others of its kernel.
    ///
    /// # Errors
    /// The agent fails. A kernel that goes away during its run is no error but the end of the run.
    pub async fn execute(self: &Rc<Self>, session: &Rc<Session>, run: Run) -> Result<RunResult, Error> {
        if run.mode == Mode::Complete {
            return self.complete(session, run).await;
        }
        // The kernel is busy until the agent has answered, whether or not the client waits for that.
        let (registry, session) = (self.clone(), session.clone());
        let work = async move { registry.execute_attended(&session, run).await };
        self.tasks.detach(work).await.unwrap_or(Err(Error::Ending))
    }

    async fn execute_attended(&self, session: &Session, run: Run) -> Result<RunResult, Error> {
        let (mode, code) = meant(&run);
        let args = vec![
            AGENT_API_VERSION.into(),
            session.id.to_string().into(),
            run.id.as_str().into(),
            mode.name().into(),
            code.into(),
            run.options.clone(),
        ];
        let turn = self.turn(session).await?;
        let answer = self.agents.call(&session.agent_addr, "execute", args, time_limits::EXECUTE).await;
        turn.end().await;
        let result = match answer {
            Ok(value) => read(&run.id, &value)
                .ok_or_else(|| CallError::Malformed("execute answered no status".into()))
                .map_err(|error| Error::Agent(AgentOp::Execute, error))?,
            Err(error) if is_kernel_gone(&error) => RunResult::gone(&run.id),
            Err(error) => return Err(Error::Agent(AgentOp::Execute, error)),
        };
        self.note(session, &run, &result).await;
        Ok(result)
    }

    async fn complete(&self, session: &Session, run: Run) -> Result<RunResult, Error> {
        let args = vec![session.id.to_string().into(), run.code.into(), run.options];
        let answer = self.agents.call(&session.agent_addr, "get_completions", args, time_limits::COMPLETE).await;
        let value = answer.map_err(|error| Error::Agent(AgentOp::Execute, error))?;
        // Agents of release 1.0 answer nil.
        let completions = field(&value, "completions").cloned().unwrap_or_else(|| Value::Array(vec![]));
        Ok(RunResult { completions, ..finished(&run.id) })
    }

    /// Remembers how the run stands, for whichever worker gets its next call.
    async fn note(&self, session: &Session, run: &Run, result: &RunResult) {
        let going_on =
            matches!(result.status.as_str(), "continued" | "waiting-input" | "build-finished" | "clean-finished");
        let noted = if going_on {
            self.stores.ledger.set_run(session.id, &run.id, &result.status, RUN_LIFE).await
        } else if run.last_status.is_some() {
            self.stores.ledger.clear_run(session.id, &run.id).await
        } else {
            return;
        };
        if let Err(error) = noted {
            // New clients say themselves how to go on; old ones start the run again.
            tracing::warn!(%error, "how a run stands could not be noted");
        }
    }
}

/// The mode that is meant, and its code. Clients of release 1.0 know neither `continue` nor `input`: they send the
/// same call again, empty to go on, or with the line that the run waits for.
fn meant(run: &Run) -> (Mode, &str) {
    match (run.mode, run.last_status.as_deref()) {
        (Mode::Query | Mode::Batch, Some("waiting-input")) => (Mode::Input, &run.code),
        (Mode::Query | Mode::Batch, Some(_)) | (Mode::Continue, _) => (Mode::Continue, ""),
        (mode, _) => (mode, &run.code),
    }
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn read(run_id: &str, answer: &Value) -> Option<RunResult> {
    let list =
        |name: &str| field(answer, name).filter(|v| v.is_array()).cloned().unwrap_or_else(|| Value::Array(vec![]));
    Some(RunResult {
        run_id: run_id.to_owned(),
        status: field(answer, "status")?.as_str()?.to_owned(),
        exit_code: field(answer, "exitCode").and_then(Value::as_i64),
        console: list("console"),
        completions: list("completions"),
        options: field(answer, "options").cloned().unwrap_or(Value::Nil),
        files: list("files"),
    })
}

fn finished(run_id: &str) -> RunResult {
    let none = || Value::Array(vec![]);
    RunResult {
        run_id: run_id.to_owned(),
        status: "finished".into(),
        exit_code: None,
        console: none(),
        completions: none(),
        options: Value::Map(vec![]),
        files: none(),
    }
}

/// Agents of release 1.0 fail like this when the kernel dies or is destroyed during `execute`.
fn is_kernel_gone(error: &CallError) -> bool {
    matches!(error, CallError::Remote { kind, args, .. } if kind == "builtins.TypeError"
        && args.first().and_then(Value::as_str) == Some("'NoneType' object is not iterable"))
}

// === impl RunResult ===

impl RunResult {
    /// The end of a run whose kernel went away.
    pub fn gone(run_id: &str) -> Self {
        RunResult { exit_code: Some(EXIT_GONE), ..finished(run_id) }
    }
}

// === impl Mode ===

impl Mode {
    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Mode> {
        [Mode::Query, Mode::Batch, Mode::Complete, Mode::Continue, Mode::Input].into_iter().find(|m| m.name() == name)
    }

    /// Its name, towards clients and agents.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Query => "query",
            Mode::Batch => "batch",
            Mode::Complete => "complete",
            Mode::Continue => "continue",
            Mode::Input => "input",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mode: Mode, last_status: Option<&str>) -> Run {
        let last_status = last_status.map(str::to_owned);
        Run { id: "r".into(), mode, code: "code".into(), options: Value::Map(vec![]), last_status }
    }

    #[test]
    fn old_clients_go_on_with_the_call_that_they_began_with() {
        for mode in [Mode::Query, Mode::Batch] {
            assert_eq!(meant(&run(mode, None)), (mode, "code"));
            assert_eq!(meant(&run(mode, Some("continued"))), (Mode::Continue, ""));
            assert_eq!(meant(&run(mode, Some("build-finished"))), (Mode::Continue, ""));
            assert_eq!(meant(&run(mode, Some("waiting-input"))), (Mode::Input, "code"));
        }
    }

    #[test]
    fn new_clients_are_taken_at_their_word() {
        assert_eq!(meant(&run(Mode::Input, Some("waiting-input"))), (Mode::Input, "code"));
        assert_eq!(meant(&run(Mode::Continue, None)), (Mode::Continue, ""));
    }

    #[test]
    fn an_answer_without_a_status_is_none() {
        assert_eq!(read("r", &Value::Nil), None);
        assert_eq!(read("r", &Value::Map(vec![("status".into(), 3.into())])), None);
    }
}
