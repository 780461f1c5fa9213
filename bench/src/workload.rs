//! What is asked of a gateway: the requests that the budgets are about.

use std::{net::SocketAddr, rc::Rc};

use jiff::Timestamp;
use serde_json::json;

use crate::{
    error::Error,
    load::{self, Shot},
    sign::{Key, Request, V3, V4},
};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// `GET /v4`, unsigned
    Version,
    /// `GET /v4/auth`, signed
    Auth,
    /// `GET /v3/kernel/{id}`, signed
    Kernel,
    /// `POST /v4/kernel/{id}`, signed: a run that its agent finishes at once
    Execute,
    /// `POST /v4/kernel/create` and `DELETE /v4/kernel/{id}` in turn, signed
    Sessions,
}

/// A session of one of the keys.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub key: Key,
    /// Its name.
    pub name: String,
}

// === impl Workload ===

impl Workload {
    /// Its requests in words, as results name them.
    pub fn title(self) -> &'static str {
        match self {
            Workload::Version => "GET /v4",
            Workload::Auth => "signed GET /v4/auth",
            Workload::Kernel => "signed GET /v3/kernel/{id}",
            Workload::Execute => "signed POST /v4/kernel/{id} (execute)",
            Workload::Sessions => "signed POST /v4/kernel/create and DELETE /v4/kernel/{id}",
        }
    }

    /// What a connection of that session sends, in a circle.
    pub fn script(self, host: &str, session: &Session, close: bool) -> Rc<[Shot]> {
        let Session { key, name } = session;
        let now = Timestamp::now();
        let shot = |request: Request, expect: u16| {
            let key = Some(key).filter(|_| self != Workload::Version);
            Shot { bytes: request.to_bytes(host, key, close, now).into(), expect }
        };
        match self {
            Workload::Version => vec![shot(Request::get("/v4", V4), 200)],
            Workload::Auth => {
                let body = json!({"echo": "bench"}).to_string();
                vec![shot(Request { body, ..Request::get("/v4/auth", V4) }, 200)]
            }
            Workload::Kernel => vec![shot(Request::get(&format!("/v3/kernel/{name}"), V3), 200)],
            Workload::Execute => {
                let body = json!({"mode": "query", "runId": null, "code": "print(6 * 7)", "options": {}}).to_string();
                vec![shot(Request { method: "POST", body, ..Request::get(&format!("/v4/kernel/{name}"), V4) }, 200)]
            }
            Workload::Sessions => vec![shot(create(name), 201), shot(destroy(name), 200)],
        }
        .into()
    }
}

/// So many names of sessions, spread over the keys.
pub fn sessions(keys: &[Key], count: usize) -> Vec<Session> {
    let named = keys.iter().cycle().take(count).enumerate();
    named.map(|(number, key)| Session { key: key.clone(), name: format!("bench-{number}") }).collect()
}

/// Makes these sessions.
///
/// # Errors
/// One of them cannot be made.
pub fn begin(api: SocketAddr, sessions: &[Session]) -> Result<(), Error> {
    each(api, sessions, create, 201)
}

/// Ends these sessions.
///
/// # Errors
/// One of them cannot be ended.
pub fn end(api: SocketAddr, sessions: &[Session]) -> Result<(), Error> {
    each(api, sessions, destroy, 200)
}

fn create(name: &str) -> Request {
    let body = json!({"lang": "python", "clientSessionToken": name}).to_string();
    Request { method: "POST", body, ..Request::get("/v4/kernel/create", V4) }
}

fn destroy(name: &str) -> Request {
    Request { method: "DELETE", ..Request::get(&format!("/v4/kernel/{name}"), V4) }
}

fn each(api: SocketAddr, sessions: &[Session], request: fn(&str) -> Request, expect: u16) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("no runtime"))?.block_on(async {
        for Session { key, name } in sessions {
            let bytes = request(name).to_bytes(&api.to_string(), Some(key), true, Timestamp::now());
            let (status, body) = load::ask(api, &bytes).await?;
            if status != expect {
                return Err(Error::failed(format!("{name}: {status} {}", String::from_utf8_lossy(&body))));
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_spread_over_the_keys_and_have_names_of_their_own() {
        let key = |access: &str| Key { access: access.into(), secret: String::new() };
        let sessions = sessions(&[key("a"), key("b")], 5);
        let owners: Vec<_> = sessions.iter().map(|session| session.key.access.as_str()).collect();
        assert_eq!(owners, ["a", "b", "a", "b", "a"]);
        let mut names: Vec<_> = sessions.iter().map(|session| &session.name).collect();
        names.dedup();
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn only_the_version_is_asked_without_a_signature() {
        let session = Session { key: Key { access: "AKIA".into(), secret: "s".into() }, name: "n".into() };
        for workload in [Workload::Version, Workload::Auth, Workload::Kernel, Workload::Execute, Workload::Sessions] {
            for shot in &*workload.script("h", &session, false) {
                let text = String::from_utf8(shot.bytes.to_vec()).unwrap();
                assert_eq!(text.contains("\r\nAuthorization: "), workload != Workload::Version, "{text}");
            }
        }
    }
}
