//! The root queries of both schemas.

use async_graphql::{Context, MergedObject, Object, Result};

use super::{
    Fault,
    agent::Agent,
    audit::AuditQuery,
    env::{Parent, with},
    fault::nullable,
    image::{Image, images},
    kernel::{self, ComputeSession, ComputeSessionList, ComputeWorker},
    keypair::KeyPair,
    placement::PlacementQuery,
    vfolder::VirtualFolder,
};
use crate::store::postgres::admin::{Page, agents, kernels, keypairs};

/// The admin schema's queries.
#[derive(Default, MergedObject)]
#[graphql(name = "Query")]
pub struct AdminQuery(Lists, AuditQuery, PlacementQuery);

/// Those of any key; of the caller's own where none is named.
#[derive(Default)]
pub struct Lists;

/// The other keys' queries: of the caller's own key.
pub struct UserQuery;

/// The page that a list's arguments name.
///
/// # Errors
/// A number is negative.
pub fn page(limit: Option<i32>, offset: Option<i32>) -> Result<Page, Fault> {
    let number = |name: &str, value: i32| match value {
        0.. => Ok(i64::from(value)),
        _ => Err(Fault::Invalid(format!("{name} must not be negative, it is {value}"))),
    };
    Ok(Page {
        limit: limit.map(|limit| number("limit", limit)).transpose()?,
        offset: number("offset", offset.unwrap_or(0))?,
    })
}

/// The status of that name.
///
/// # Errors
/// There is none.
pub fn status_of(name: Option<&str>, known: &[&'static str]) -> Result<Option<&'static str>, Fault> {
    let Some(name) = name else { return Ok(None) };
    let found = known.iter().find(|status| **status == name);
    match found {
        Some(status) => Ok(Some(status)),
        None => Err(Fault::Invalid(format!("there is no status {name:?}, only {}", known.join(", ")))),
    }
}

/// A key's pair.
async fn keypair(ctx: &Context<'_>, key: Option<String>) -> Result<Option<KeyPair>> {
    let row = with(ctx, |env| async move { env.keypair(own(key, &env.caller.access_key)).await }).await?;
    Ok(row.map(KeyPair))
}

async fn vfolders(
    ctx: &Context<'_>,
    key: Option<String>,
    limit: Option<i32>,
    offset: Option<i32>,
) -> Result<Option<Vec<Option<VirtualFolder>>>> {
    let page = page(limit, offset)?;
    let rows = with(ctx, |env| async move { env.folders(page, own(key, &env.caller.access_key)).await }).await?;
    Ok(Some(rows.into_iter().map(VirtualFolder).map(Some).collect()))
}

/// Sessions of a key.
async fn session_list(
    ctx: &Context<'_>,
    key: Option<String>,
    status: Option<String>,
    limit: Option<i32>,
    offset: Option<i32>,
) -> Result<ComputeSessionList> {
    let list = kernel::list(Parent::Key, status, limit, offset)?;
    let access_key = with(ctx, |env| async move { own(key, &env.caller.access_key) }).await;
    Ok(ComputeSessionList { access_key, list })
}

async fn sessions(
    ctx: &Context<'_>,
    key: Option<String>,
    status: Option<String>,
    limit: Option<i32>,
    offset: Option<i32>,
) -> Result<Option<Vec<Option<ComputeSession>>>> {
    let ComputeSessionList { access_key, list } = session_list(ctx, key, status, limit, offset).await?;
    kernel::sessions(ctx, list, access_key).await
}

/// A session by its name, of anybody's for an admin, else of the caller's own.
async fn session(ctx: &Context<'_>, sess_id: Option<String>) -> Result<Option<ComputeSession>> {
    let Some(sess_id) = sess_id else { return Ok(None) };
    let row = with(ctx, |env| async move {
        let owner = (!env.caller.is_admin).then_some(env.caller.access_key.as_str());
        kernels::newest_session(&env.postgres, &sess_id, owner).await
    });
    Ok(row.await.map_err(Fault::from)?.map(|row| ComputeSession::of(row.into())))
}

async fn known_images(ctx: &Context<'_>) -> Vec<Option<Image>> {
    with(ctx, |env| async move { images(&(env.images)()) }).await
}

/// Workers of a session: of anybody's for an admin, else of the caller's own, also where another key has a session
/// of the same name.
async fn workers(
    ctx: &Context<'_>,
    sess_id: String,
    status: Option<String>,
    limit: Option<i32>,
    offset: Option<i32>,
) -> Result<Option<Vec<Option<ComputeWorker>>>> {
    let list = kernel::list(Parent::Session, status, limit, offset)?;
    let rows = with(ctx, |env| async move {
        let owner = (!env.caller.is_admin).then(|| env.caller.access_key.clone());
        env.kernels(list, (sess_id, owner)).await
    });
    Ok(Some(rows.await?.into_iter().map(ComputeWorker::of).map(Some).collect()))
}

fn own(named: Option<String>, own: &str) -> String {
    named.unwrap_or_else(|| own.to_owned())
}

/// Queries about any access key; where none is named, about the caller's own.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl Lists {
    async fn agent(&self, ctx: &Context<'_>, agent_id: Option<String>) -> Option<Result<Agent>> {
        nullable(async {
            let Some(id) = agent_id else { return Ok(None) };
            let row = with(ctx, |env| async move { env.agent(id).await }).await?;
            Ok(row.map(Agent))
        })
        .await
    }

    /// Compute nodes, by id.
    async fn agents(
        &self,
        ctx: &Context<'_>,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<Agent>>>> {
        nullable(async {
            let (status, page) = (status_of(status.as_deref(), &agents::STATUSES)?, page(limit, offset)?);
            let rows = with(ctx, |env| async move { agents::list(&env.postgres, status, page).await });
            let rows = rows.await.map_err(Fault::from)?;
            Ok(Some(rows.into_iter().map(|row| Some(Agent(row.into()))).collect()))
        })
        .await
    }

    async fn keypair(&self, ctx: &Context<'_>, access_key: Option<String>) -> Option<Result<KeyPair>> {
        keypair(ctx, access_key).await.transpose()
    }

    /// Key pairs, of a user if one is named, by access key.
    async fn keypairs(
        &self,
        ctx: &Context<'_>,
        user_id: Option<i32>,
        is_active: Option<bool>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<KeyPair>>>> {
        nullable(async {
            let page = page(limit, offset)?;
            let rows = with(ctx, |env| async move { keypairs::list(&env.postgres, user_id, is_active, page).await });
            let rows = rows.await.map_err(Fault::from)?;
            Ok(Some(rows.into_iter().map(|row| Some(KeyPair(row.into()))).collect()))
        })
        .await
    }

    /// The folders that a key owns, by name.
    async fn vfolders(
        &self,
        ctx: &Context<'_>,
        access_key: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<VirtualFolder>>>> {
        vfolders(ctx, access_key, limit, offset).await.transpose()
    }

    /// A key's sessions, living and ended, newest first.
    async fn compute_sessions(
        &self,
        ctx: &Context<'_>,
        access_key: Option<String>,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<ComputeSession>>>> {
        sessions(ctx, access_key, status, limit, offset).await.transpose()
    }

    /// A part of a key's sessions, and how many there are.
    async fn compute_session_list(
        &self,
        ctx: &Context<'_>,
        limit: i32,
        offset: i32,
        access_key: Option<String>,
        status: Option<String>,
    ) -> Option<Result<ComputeSessionList>> {
        nullable(async { Ok(Some(session_list(ctx, access_key, status, Some(limit), Some(offset)).await?)) }).await
    }

    /// The newest session of that name, of any key.
    async fn compute_session(&self, ctx: &Context<'_>, sess_id: Option<String>) -> Option<Result<ComputeSession>> {
        session(ctx, sess_id).await.transpose()
    }

    /// The images that sessions can be made of.
    async fn images(&self, ctx: &Context<'_>) -> Option<Vec<Option<Image>>> {
        Some(known_images(ctx).await)
    }

    /// The workers of the sessions of that name, newest first.
    async fn compute_workers(
        &self,
        ctx: &Context<'_>,
        sess_id: String,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<ComputeWorker>>>> {
        workers(ctx, sess_id, status, limit, offset).await.transpose()
    }
}

/// Queries about the caller's own access key.
#[Object(name = "Query", rename_fields = "snake_case", rename_args = "snake_case")]
impl UserQuery {
    async fn keypair(&self, ctx: &Context<'_>) -> Option<Result<KeyPair>> {
        keypair(ctx, None).await.transpose()
    }

    /// The folders that the key owns, by name.
    async fn vfolders(
        &self,
        ctx: &Context<'_>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<VirtualFolder>>>> {
        vfolders(ctx, None, limit, offset).await.transpose()
    }

    /// The key's sessions, living and ended, newest first.
    async fn compute_sessions(
        &self,
        ctx: &Context<'_>,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<ComputeSession>>>> {
        sessions(ctx, None, status, limit, offset).await.transpose()
    }

    /// A part of the key's sessions, and how many there are.
    async fn compute_session_list(
        &self,
        ctx: &Context<'_>,
        limit: i32,
        offset: i32,
        status: Option<String>,
    ) -> Option<Result<ComputeSessionList>> {
        nullable(async { Ok(Some(session_list(ctx, None, status, Some(limit), Some(offset)).await?)) }).await
    }

    /// The key's newest session of that name.
    async fn compute_session(&self, ctx: &Context<'_>, sess_id: Option<String>) -> Option<Result<ComputeSession>> {
        session(ctx, sess_id).await.transpose()
    }

    /// The images that sessions can be made of.
    async fn images(&self, ctx: &Context<'_>) -> Option<Vec<Option<Image>>> {
        Some(known_images(ctx).await)
    }

    /// The workers of the key's sessions of that name, newest first.
    async fn compute_workers(
        &self,
        ctx: &Context<'_>,
        sess_id: String,
        status: Option<String>,
        limit: Option<i32>,
        offset: Option<i32>,
    ) -> Option<Result<Vec<Option<ComputeWorker>>>> {
        workers(ctx, sess_id, status, limit, offset).await.transpose()
    }
}
