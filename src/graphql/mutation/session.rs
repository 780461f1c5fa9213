//! Sessions of any key: ended, restarted.

use std::rc::Rc;

use async_graphql::{Context, Object, Result};
use serde_json::json;

use super::{Acknowledgement, Done, noted};
use crate::{
    graphql::{Fault, env::Env, fault::nullable},
    registry::{Error, SessionName},
    store::postgres::admin::kernels,
};

/// Changes of sessions.
#[derive(Default)]
pub struct SessionMutation;

const SESSION: &str = "session";
/// Owners that a refusal names.
const NAMED: i64 = 5;

/// Changes of sessions.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl SessionMutation {
    /// Ends a key's session. `access_key` may be left out where only one key has a live session of that name.
    async fn terminate_session(
        &self,
        ctx: &Context<'_>,
        sess_id: String,
        access_key: Option<String>,
    ) -> Option<Result<Acknowledgement>> {
        nullable(async {
            let (target, detail) = (sess_id.clone(), json!({"access_key": access_key}));
            let ended = noted(ctx, "terminate_session", (SESSION, &target), detail, |env| async move {
                match named(&env, &sess_id, access_key).await? {
                    Ok((owner, name)) => told(env.registry.destroy(owner, name).await.map(drop)),
                    Err(why) => Ok(Err(why)),
                }
            });
            Ok(Some(ended.await?.into()))
        })
        .await
    }

    /// Restarts the kernel of a key's session: its files stay, its variables go. `access_key` as above.
    async fn restart_session(
        &self,
        ctx: &Context<'_>,
        sess_id: String,
        access_key: Option<String>,
    ) -> Option<Result<Acknowledgement>> {
        nullable(async {
            let (target, detail) = (sess_id.clone(), json!({"access_key": access_key}));
            let restarted = noted(ctx, "restart_session", (SESSION, &target), detail, |env| async move {
                let (owner, name) = match named(&env, &sess_id, access_key).await? {
                    Ok(found) => found,
                    Err(why) => return Ok(Err(why)),
                };
                told(match env.registry.look_up(&owner, &name).await {
                    Ok(session) => env.registry.restart(&session).await,
                    Err(error) => Err(error),
                })
            });
            Ok(Some(restarted.await?.into()))
        })
        .await
    }
}

/// Whose session is meant, and its name.
async fn named(env: &Env, sess_id: &str, key: Option<String>) -> Result<Done<(Rc<str>, SessionName)>, Fault> {
    let unknown = || Ok(Err(format!("there is no live session {sess_id:?}")));
    let Some(name) = SessionName::parse(sess_id) else { return unknown() };
    if let Some(key) = key {
        return Ok(Ok((key.into(), name)));
    }
    let owners = kernels::live_owners(&env.postgres, sess_id, NAMED).await?;
    match owners.as_slice() {
        [] => unknown(),
        [owner] => Ok(Ok((owner.as_str().into(), name))),
        several => {
            Ok(Err(format!("several keys have a live session of that name: say whose, {}", several.join(" or "))))
        }
    }
}

/// What the registry refused, in its words; an error where a store did not answer.
fn told(result: Result<(), Error>) -> Result<Done<()>, Fault> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(error @ (Error::Postgres(_) | Error::Ending)) => Err(error.into()),
        Err(error) => Ok(Err(error.to_string())),
    }
}
