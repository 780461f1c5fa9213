//! The admin schema's mutations, a module for each kind of thing that they change.
//!
//! Each is noted in the audit log before it is begun, and with its outcome before it is answered. What is refused is
//! an answer with `ok: false`, as programs of the original expect; only a store that does not answer is an error.

mod agent;
mod image;
mod keypair;
mod session;

use std::rc::Rc;

use async_graphql::{Context, MergedObject, SimpleObject};
use serde_json::Value;

use super::{
    Fault,
    env::{Env, with},
};
use crate::{
    registry::Action,
    store::postgres::{PgError, audit::Outcome, explain},
};

/// The mutations.
#[derive(MergedObject, Default)]
#[graphql(name = "Mutation")]
pub struct AdminMutation(
    keypair::KeypairMutation,
    agent::AgentMutation,
    session::SessionMutation,
    image::ImageMutation,
);

/// How a change went that gives nothing else.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct Acknowledgement {
    ok: Option<bool>,
    msg: Option<String>,
}

/// What `msg` says where all went well.
const SUCCESS: &str = "success";

/// What was done, or why it was refused.
type Done<T> = Result<T, String>;

/// Does something and notes it as `name` of what `target` names, a kind of thing and which of them.
async fn noted<T: 'static, F>(
    ctx: &Context<'_>,
    name: &str,
    (target_type, target): (&'static str, &str),
    detail: Value,
    work: impl FnOnce(Rc<Env>) -> F,
) -> Result<Done<T>, Fault>
where
    F: Future<Output = Result<Done<T>, Fault>> + 'static,
{
    let action = Action { name: name.to_owned(), target_type, target: target.to_owned(), detail };
    with(ctx, |env| {
        let (registry, actor, work) = (env.registry.clone(), env.caller.actor.clone(), work(env));
        async move { registry.noted(actor, action, work, outcome).await? }
    })
    .await
}

fn outcome<T>(done: &Result<Done<T>, Fault>) -> Outcome {
    match done {
        Ok(Ok(_)) => Outcome::Done,
        Ok(Err(why)) => Outcome::Refused(why.clone()),
        Err(fault) => Outcome::Failed(fault.to_string()),
    }
}

/// What PostgreSQL refused, in its words; an error where it did not answer.
fn refusal<T>(result: Result<T, PgError>) -> Result<Done<T>, Fault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(PgError::Refused(error)) => Ok(Err(explain(&error))),
        Err(error) => Err(error.into()),
    }
}

/// `ok` and `msg` of an answer.
fn told<T>(result: &Done<T>) -> (Option<bool>, Option<String>) {
    match result {
        Ok(_) => (Some(true), Some(SUCCESS.into())),
        Err(why) => (Some(false), Some(why.clone())),
    }
}

// === impl Acknowledgement ===

impl<T> From<Done<T>> for Acknowledgement {
    fn from(done: Done<T>) -> Self {
        let (ok, msg) = told(&done);
        Acknowledgement { ok, msg }
    }
}
