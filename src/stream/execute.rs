//! A run that is followed over a WebSocket: the client sends the body of an execute call, and gets each result as the
//! agent has it, without asking, until the run has finished.
//!
//! Clients of release 18.12 name no run, since the stream is the run, and bring input as a text that is the line itself.
//!
//! While a call is at the agent, the client may bring input and interrupt. While a result is being sent nothing is
//! received, so that a client which does not read cannot make answers to its pings pile up beside a long result.
//! While the run waits for input no call is at the agent, so that what befalls the session is listened to.

use std::{borrow::Cow, pin::Pin, time::Duration};

use rmpv::Value as Msgpack;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    Caller, Place,
    caller::{Refusal, going_away, inactive, line},
    message,
    websocket::{Close, Code, PING_EVERY, Received, Socket},
};
use crate::{
    engine,
    http::Problem,
    registry::{Mode, Run, RunResult, Standing},
    store::redis::session_events::EventId,
};

/// Longest time that a client may take to say what is to be run.
const FIRST_TIME: Duration = Duration::from_secs(60);
/// Lines of input, and errors, that wait.
const WAITING: usize = 4;
/// How often the row of a session whose run waits for input is looked at, for while Redis tells nothing.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How execute calls and results look in the version that the client speaks.
pub trait Dialect {
    /// The id of the run that a body is about, if it names one.
    fn run_id(&self, body: &[u8]) -> Option<String>;

    /// Reads a body; `last_status` is how its run stands.
    ///
    /// # Errors
    /// What is wrong with it.
    fn run(&self, body: &[u8], last_status: Option<String>) -> Result<(Run, Texts), Problem>;

    /// A result as the client gets it.
    fn document(&self, result: &RunResult) -> Value;
}

/// What a client's texts are once its run goes on, which its first one tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// JSON that says what it is.
    Messages,
    /// Input, whatever it looks like.
    Lines,
}

/// Serves a client until its run has finished, or it goes, or the worker.
pub async fn serve(socket: Socket, caller: Caller, place: Place, dialect: impl Dialect) {
    let follower = Follower { socket: &socket, caller: &caller, dialect: &dialect };
    let end = tokio::select! {
        end = follower.follow(&place) => end,
        () = caller.is_shut_out() => follower.tell(inactive().reason, Code::Policy).await,
    };
    Box::pin(socket.close(end)).await;
}

struct Follower<'a, D> {
    socket: &'a Socket,
    caller: &'a Caller,
    dialect: &'a D,
}

/// How it ends: as is told, or silently, since nobody is there to be told.
type End = Option<Close>;

/// What a client sends while its run goes on.
#[derive(Debug, PartialEq, Eq)]
enum FromClient {
    /// A line that the run waits for.
    Input(String),
    /// Ctrl-C.
    Interrupt,
}

/// How a run goes on that is not over.
enum Next {
    /// The client has said what the run waits for.
    Input(String),
    /// The worker ends.
    CalledIn,
    /// The kernel went away.
    Gone,
}

/// Where what comes from the client goes.
struct Outbox {
    inputs: mpsc::Sender<String>,
    errors: mpsc::Sender<String>,
}

// === impl Follower ===

impl<D: Dialect> Follower<'_, D> {
    async fn follow(&self, place: &Place) -> End {
        match self.begin(place).await {
            Ok((run, texts)) => self.go_on(run, texts, place).await.err().unwrap_or_default(),
            Err(end) => end,
        }
    }

    /// Waits for the client to say what is to be run.
    async fn begin(&self, place: &Place) -> Result<(Run, Texts), End> {
        let received = tokio::select! {
            received = self.socket.receive() => received,
            () = engine::sleep(FIRST_TIME) => return Err(Some(Close::new(Code::Policy, "nothing to execute came"))),
            () = place.is_called_in() => return Err(Some(going_away())),
        };
        let body = match received {
            Received::Text(body) => body,
            Received::Binary => return Err(self.tell("the message is not text", Code::Policy).await),
            Received::End(end) => return Err(end),
        };
        let last_status = match self.caller.count(self.dialect.run_id(body.as_bytes()).as_deref()).await {
            Ok(status) => status,
            Err(refusal) => return Err(self.refused(refusal, Code::TryLater).await),
        };
        match self.dialect.run(body.as_bytes(), last_status) {
            Ok(begun) => Ok(begun),
            Err(problem) => Err(self.tell(line(&problem), Code::Policy).await),
        }
    }

    /// Calls the agent until the run has finished. There is no other way out than an end.
    async fn go_on(&self, mut run: Run, texts: Texts, place: &Place) -> Result<(), End> {
        let (inputs_in, mut inputs) = mpsc::channel(WAITING);
        let (errors_in, mut errors) = mpsc::channel(WAITING);
        let mut inbox = std::pin::pin!(self.receive(texts, Outbox { inputs: inputs_in, errors: errors_in }));
        let mut called_in = std::pin::pin!(place.is_called_in());
        let after = self.caller.registry.last_event(self.caller.session.id).await.ok();
        let mut gone = std::pin::pin!(self.is_gone(after));
        loop {
            let id = run.id.clone();
            let call = self.caller.registry.execute(&self.caller.session, run);
            let result = match self.beside(inbox.as_mut(), &mut errors, call).await? {
                Ok(result) => result,
                Err(error) => return Err(self.refused(self.caller.refusal(error), Code::Failed).await),
            };
            self.send(&result).await?;
            let (mode, code) = match result.status.as_str() {
                "finished" => return Err(Some(finished())),
                "waiting-input" => {
                    let next = async {
                        tokio::select! {
                            input = inputs.recv() => input.map_or(Next::Gone, Next::Input),
                            () = &mut called_in => Next::CalledIn,
                            () = &mut gone => Next::Gone,
                        }
                    };
                    match self.beside(inbox.as_mut(), &mut errors, next).await? {
                        Next::Input(input) => (Mode::Input, input),
                        Next::CalledIn => return Err(Some(going_away())),
                        Next::Gone => {
                            self.send(&RunResult::gone(&id)).await?;
                            return Err(Some(finished()));
                        }
                    }
                }
                "continued" | "build-finished" | "clean-finished" => {
                    if futures_lite::future::poll_once(&mut called_in).await.is_some() {
                        return Err(Some(going_away()));
                    }
                    (Mode::Continue, String::new())
                }
                // Whoever went on with it might do so for ever.
                _ => return Err(self.tell("the agent says of the run what nobody understands", Code::Failed).await),
            };
            run = Run { id, mode, code, options: Msgpack::Map(vec![]), last_status: Some(result.status) };
        }
    }

    /// Waits until something befalls the session after that place: it has ended, or its kernel began anew.
    async fn is_gone(&self, after: Option<EventId>) {
        let Caller { registry, session, .. } = self.caller;
        let mut bell = registry.bell(session.id);
        loop {
            let looked = tokio::select! {
                () = bell.rung() => false,
                () = engine::sleep(LOOK_EVERY) => true,
            };
            let befell = match after {
                Some(after) => registry.events_since(session.id, after).await.is_ok_and(|events| !events.is_empty()),
                None => false,
            };
            let look = looked || after.is_none();
            if befell || (look && matches!(registry.standing(session).await, Ok(Standing::Ended(_)))) {
                return;
            }
        }
    }

    async fn send(&self, result: &RunResult) -> Result<(), End> {
        self.socket.send(self.dialect.document(result).to_string()).await.map_err(|_| None)
    }

    /// Waits for some work, and meanwhile receives, tells errors, and asks whether the client is there.
    async fn beside<T>(
        &self,
        mut inbox: Pin<&mut impl Future<Output = End>>,
        errors: &mut mpsc::Receiver<String>,
        work: impl Future<Output = T>,
    ) -> Result<T, End> {
        let mut work = std::pin::pin!(work);
        let mut ping = engine::sleep(PING_EVERY);
        loop {
            let sent = tokio::select! {
                value = &mut work => return Ok(value),
                end = &mut inbox => return Err(end),
                () = self.socket.is_silent() => return Err(None),
                Some(error) = errors.recv() => self.socket.send(message::error(&error)).await,
                () = &mut ping => {
                    ping = engine::sleep(PING_EVERY);
                    self.socket.ping().await
                }
            };
            sent.map_err(|_| None)?;
        }
    }

    /// Takes what the client sends to where it goes; interrupts go to the agent at once.
    async fn receive(&self, texts: Texts, to: Outbox) -> End {
        loop {
            let error = match self.socket.receive().await {
                Received::Text(text) => match FromClient::read(texts, &text) {
                    Ok(message) => match self.obey(message, &to).await {
                        Ok(()) => continue,
                        Err(Refusal::Told(problem)) => line(&problem),
                        Err(Refusal::Ended(close)) => return Some(close),
                    },
                    Err(error) => error,
                },
                Received::Binary => "the message is not text".to_owned(),
                Received::End(end) => return end,
            };
            // The receivers live as long as this does.
            let _ = to.errors.send(error).await;
        }
    }

    async fn obey(&self, message: FromClient, to: &Outbox) -> Result<(), Refusal> {
        self.caller.count(None).await?;
        match message {
            FromClient::Input(line) => {
                let _ = to.inputs.send(line).await;
                Ok(())
            }
            FromClient::Interrupt => {
                let done = self.caller.registry.interrupt(&self.caller.session).await;
                done.map_err(|error| self.caller.refusal(error))
            }
        }
    }

    async fn refused(&self, refusal: Refusal, code: Code) -> End {
        match refusal {
            Refusal::Told(problem) => self.tell(line(&problem), code).await,
            Refusal::Ended(close) => self.tell(close.reason, close.code).await,
        }
    }

    /// Tells what is wrong; the end that follows from it.
    async fn tell(&self, error: impl Into<Cow<'static, str>>, code: Code) -> End {
        let error = error.into();
        self.socket.send(message::error(&error)).await.ok()?;
        Some(Close::new(code, error))
    }
}

fn finished() -> Close {
    Close::new(Code::Done, "the run has finished")
}

// === impl FromClient ===

impl FromClient {
    fn read(texts: Texts, text: &str) -> Result<Self, String> {
        match texts {
            Texts::Messages => FromClient::parse(text),
            Texts::Lines => Ok(FromClient::Input(text.to_owned())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let message: Value = serde_json::from_str(text).map_err(|error| format!("the message is not JSON: {error}"))?;
        match message.get("type").and_then(Value::as_str) {
            Some("input") => match message.get("code").and_then(Value::as_str) {
                Some(line) => Ok(FromClient::Input(line.to_owned())),
                None => Err("code is not a text".into()),
            },
            Some("interrupt") => Ok(FromClient::Interrupt),
            _ => Err("type is not one of input, interrupt".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn input_and_interrupts_are_read() {
        assert_eq!(FromClient::parse(r#"{"type":"input","code":"Ann"}"#), Ok(FromClient::Input("Ann".into())));
        assert_eq!(FromClient::parse(r#"{"type":"interrupt"}"#), Ok(FromClient::Interrupt));
        for wrong in ["", "3", "{}", r#"{"type":"input"}"#, r#"{"type":"input","code":7}"#, r#"{"type":"x"}"#] {
            assert!(FromClient::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_is_input_whatever_it_looks_like() {
        for line in ["Ann", "", "{", r#"{"type":"interrupt"}"#] {
            assert_eq!(FromClient::read(Texts::Lines, line), Ok(FromClient::Input(line.into())));
        }
        assert_eq!(FromClient::read(Texts::Messages, r#"{"type":"interrupt"}"#), Ok(FromClient::Interrupt));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = FromClient::parse(&text);
        }
    }
}
