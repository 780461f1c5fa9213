//! The admin schema's mutations: key pairs.
//!
//! What PostgreSQL refuses is an answer with `ok: false`, as programs of the original expect; only a database that
//! does not answer is an error. Triggers tell every worker of a change, so that it takes effect within a second.

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use super::{Fault, env::with, fault::nullable, keypair::KeyPair};
use crate::{
    keygen::{access_key, secret_key},
    store::postgres::{
        PgError, Postgres,
        admin::keypairs::{self, Deleted, KeypairRow, Props},
        explain,
    },
};

/// The mutations.
pub struct AdminMutation;

/// What a key pair may be made with or changed to. What is missing or null is false or null in a new key pair, and
/// stays as it is in another.
#[derive(InputObject)]
#[graphql(rename_fields = "snake_case")]
pub struct KeyPairInput {
    is_active: Option<bool>,
    is_admin: Option<bool>,
    resource_policy: Option<String>,
    concurrency_limit: Option<i32>,
    rate_limit: Option<i32>,
}

/// How making a key pair went.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct CreateKeyPair {
    ok: Option<bool>,
    msg: Option<String>,
    keypair: Option<KeyPair>,
}

/// How changing a key pair went.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct ModifyKeyPair {
    ok: Option<bool>,
    msg: Option<String>,
}

/// How deleting a key pair went.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct DeleteKeyPair {
    ok: Option<bool>,
    msg: Option<String>,
}

/// What `msg` says where all went well.
const SUCCESS: &str = "success";

/// Changes of key pairs.
#[Object(name = "Mutation", rename_fields = "snake_case", rename_args = "snake_case")]
impl AdminMutation {
    /// Makes a key pair. Its secret is in the answer.
    async fn create_keypair(
        &self,
        ctx: &Context<'_>,
        user_id: i32,
        props: KeyPairInput,
    ) -> Option<Result<CreateKeyPair>> {
        nullable(async {
            let made = match props.checked() {
                Ok(props) => with(ctx, |env| async move { create(&env.postgres, user_id, &props).await }).await?,
                Err(why) => Err(why),
            };
            Ok(Some(match made {
                Ok(row) => {
                    CreateKeyPair { ok: Some(true), msg: Some(SUCCESS.into()), keypair: Some(KeyPair(row.into())) }
                }
                Err(why) => CreateKeyPair { ok: Some(false), msg: Some(why), keypair: None },
            }))
        })
        .await
    }

    /// Changes a key pair.
    async fn modify_keypair(
        &self,
        ctx: &Context<'_>,
        access_key: String,
        props: KeyPairInput,
    ) -> Option<Result<ModifyKeyPair>> {
        nullable(async {
            let result = match props.checked() {
                Ok(props) => {
                    let changed =
                        with(ctx, |env| async move { keypairs::modify(&env.postgres, &access_key, &props).await });
                    refusal(changed.await)?.and_then(|found| {
                        found.then_some(()).ok_or_else(|| "failed to modify keypair: there is no such key pair".into())
                    })
                }
                Err(why) => Err(why),
            };
            let (ok, msg) = told(result);
            Ok(Some(ModifyKeyPair { ok, msg }))
        })
        .await
    }

    /// Deletes a key pair that has neither sessions, ended ones included, nor folders.
    async fn delete_keypair(&self, ctx: &Context<'_>, access_key: String) -> Option<Result<DeleteKeyPair>> {
        nullable(async {
            let deleted = with(ctx, |env| async move { keypairs::delete(&env.postgres, &access_key).await }).await;
            let result = refusal(deleted)?.and_then(|deleted| match deleted {
                Deleted::Yes => Ok(()),
                Deleted::Unknown => Err("failed to delete keypair: there is no such key pair".into()),
                Deleted::InUse => Err("failed to delete keypair: sessions or folders belong to it".into()),
            });
            let (ok, msg) = told(result);
            Ok(Some(DeleteKeyPair { ok, msg }))
        })
        .await
    }
}

impl KeyPairInput {
    /// What PostgreSQL gets.
    fn checked(self) -> Result<Props, String> {
        let KeyPairInput { is_active, is_admin, resource_policy, concurrency_limit, rate_limit } = self;
        for (name, value) in [("concurrency_limit", concurrency_limit), ("rate_limit", rate_limit)] {
            if value.is_some_and(|value| value < 0) {
                return Err(format!("{name} must not be negative"));
            }
        }
        Ok(Props { is_active, is_admin, resource_policy, concurrency_limit, rate_limit })
    }
}

async fn create(postgres: &Postgres, user_id: i32, props: &Props) -> Result<Result<KeypairRow, String>, Fault> {
    let random = |error: std::io::Error| Fault::broken(&error.to_string());
    let (access, secret) = (access_key().map_err(random)?, secret_key().map_err(random)?);
    let row = refusal(keypairs::insert(postgres, user_id, &access, &secret, props).await)?;
    Ok(row.and_then(|row| row.ok_or_else(|| "failed to create keypair: try again".to_owned())))
}

/// What PostgreSQL refused, in its words; an error where it did not answer.
fn refusal<T>(result: Result<T, PgError>) -> Result<Result<T, String>, Fault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(PgError::Refused(error)) => Ok(Err(explain(&error))),
        Err(error) => Err(error.into()),
    }
}

fn told(result: Result<(), String>) -> (Option<bool>, Option<String>) {
    match result {
        Ok(()) => (Some(true), Some(SUCCESS.into())),
        Err(why) => (Some(false), Some(why)),
    }
}
