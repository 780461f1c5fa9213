//! The admin API's two schemas: one for admin keys, one in which every query is bound to the caller's own key.
//!
//! The schemas are written as types, and async-graphql derives the rest: validation, introspection, SDL. It is the
//! one library whose executor polls all resolvers of a level before it waits, without a runtime of its own; that is
//! what lets [`batch`] read the children of all parents in one statement. Its resolvers must be `Send`, ours stand on
//! a worker's `Rc`s: they never leave their thread, and `send_wrapper` makes sure of it.
//!
//! A document is measured before anything is done with it ([`limits`]), since a few hundred bytes of nested fragments
//! can ask for more than all workers could answer.

mod agent;
mod audit;
mod batch;
mod env;
mod fault;
mod image;
mod kernel;
mod keypair;
mod limits;
mod mutation;
mod placement;
mod query;
mod scalar;
mod usage;
mod vfolder;

#[cfg(test)]
mod tests;

use async_graphql::{EmptyMutation, EmptySubscription, Request, Response, Schema, SchemaBuilder, Variables};

pub use env::{Caller, Sources};
pub use fault::Fault;

use self::{
    batch::Busy,
    env::Env,
    mutation::AdminMutation,
    query::{AdminQuery, UserQuery},
};

/// Directives on one field.
const DIRECTIVES: usize = 8;

/// Both schemas; clones are the same ones.
#[derive(Clone)]
pub struct Schemas {
    admin: Schema<AdminQuery, AdminMutation, EmptySubscription>,
    user: Schema<UserQuery, EmptyMutation, EmptySubscription>,
}

/// What a client asks.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The document.
    pub query: String,
    /// Values of its variables: an object, or null.
    pub variables: serde_json::Value,
    /// Which of its operations to do, where it has several.
    pub operation: Option<String>,
}

/// Where in a schema's life an answer came from.
#[derive(Debug)]
pub enum Outcome {
    /// The document was refused, nothing was done.
    Refused(Response),
    /// It was done, with or without errors of resolvers.
    Done(Response),
}

impl Schemas {
    /// Both schemas; `introspection`: whether they tell of themselves.
    pub fn new(introspection: bool) -> Self {
        Schemas {
            admin: bounded(
                Schema::build(AdminQuery::default(), AdminMutation::default(), EmptySubscription),
                introspection,
            ),
            user: bounded(Schema::build(UserQuery, EmptyMutation, EmptySubscription), introspection),
        }
    }

    /// Does what a client asks.
    pub async fn execute(&self, sources: Sources, caller: Caller, ask: Ask) -> Outcome {
        let document = match limits::parse(&ask.query) {
            Ok(document) => document,
            Err(error) => return Outcome::Refused(Response::from_errors(vec![error])),
        };
        let mut request = Request::new(ask.query).variables(Variables::from_json(ask.variables));
        request.set_parsed_query(document);
        request.operation_name = ask.operation;
        let is_admin = caller.is_admin;
        let busy = Busy::default();
        let request = request.data(Env::handle(sources, caller, &busy));
        let response = match is_admin {
            true => busy.watch(self.admin.execute(request)).await,
            false => busy.watch(self.user.execute(request)).await,
        };
        // What a resolver says has the path of its field; validation has none.
        let refused = response.is_err() && response.errors.iter().all(|error| error.path.is_empty());
        if refused { Outcome::Refused(response) } else { Outcome::Done(response) }
    }
}

fn bounded<Q: async_graphql::ObjectType + 'static, M: async_graphql::ObjectType + 'static>(
    builder: SchemaBuilder<Q, M, EmptySubscription>,
    introspection: bool,
) -> Schema<Q, M, EmptySubscription> {
    let builder = builder.limit_directives(DIRECTIVES).limit_recursive_depth(limits::NESTING);
    if introspection { builder.finish() } else { builder.disable_introspection().finish() }
}

/// The admin schema in the schema definition language.
pub fn admin_sdl() -> String {
    Schemas::new(true).admin.sdl()
}

/// The other keys' schema in the schema definition language.
pub fn user_sdl() -> String {
    Schemas::new(true).user.sdl()
}
