//! Key pairs. Triggers tell every worker of a change, so that it takes effect within a second.

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use serde_json::{Value, json};

use super::{Done, noted, refusal, told};
use crate::{
    graphql::{Fault, fault::nullable, keypair::KeyPair},
    keygen::{access_key, secret_key},
    store::postgres::{
        Postgres,
        admin::keypairs::{self, Deleted, KeypairRow, Props},
    },
};

/// Changes of key pairs.
#[derive(Default)]
pub struct KeypairMutation;

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

/// How giving a key pair another secret went; the new secret is in it.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct RotateKeyPair {
    ok: Option<bool>,
    msg: Option<String>,
    keypair: Option<KeyPair>,
}

const KEYPAIR: &str = "keypair";

/// Changes of key pairs.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl KeypairMutation {
    /// Makes a key pair. Its secret is in the answer.
    async fn create_keypair(
        &self,
        ctx: &Context<'_>,
        user_id: i32,
        props: KeyPairInput,
    ) -> Option<Result<CreateKeyPair>> {
        nullable(async {
            let access = access_key().map_err(|error| Fault::broken(&error.to_string()))?;
            let (name, detail) = (access.clone(), json!({"user_id": user_id, "props": props.detail()}));
            let made = noted(ctx, "create_keypair", (KEYPAIR, &name), detail, |env| async move {
                match props.checked() {
                    Ok(props) => create(&env.postgres, user_id, &access, &props).await,
                    Err(why) => Ok(Err(why)),
                }
            });
            let made = made.await?;
            let (ok, msg) = told(&made);
            Ok(Some(CreateKeyPair { ok, msg, keypair: made.ok().map(|row| KeyPair(row.into())) }))
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
            let (name, detail) = (access_key.clone(), json!({"props": props.detail()}));
            let changed = noted(ctx, "modify_keypair", (KEYPAIR, &name), detail, |env| async move {
                let props = match props.checked() {
                    Ok(props) => props,
                    Err(why) => return Ok(Err(why)),
                };
                let found = refusal(keypairs::modify(&env.postgres, &access_key, &props).await)?;
                Ok(found.and_then(|found| {
                    found.then_some(()).ok_or_else(|| "failed to modify keypair: there is no such key pair".into())
                }))
            });
            let (ok, msg) = told(&changed.await?);
            Ok(Some(ModifyKeyPair { ok, msg }))
        })
        .await
    }

    /// Deletes a key pair that has neither sessions, ended ones included, nor folders.
    async fn delete_keypair(&self, ctx: &Context<'_>, access_key: String) -> Option<Result<DeleteKeyPair>> {
        nullable(async {
            let name = access_key.clone();
            let deleted = noted(ctx, "delete_keypair", (KEYPAIR, &name), Value::Null, |env| async move {
                let deleted = refusal(keypairs::delete(&env.postgres, &access_key).await)?;
                Ok(deleted.and_then(|deleted| match deleted {
                    Deleted::Yes => Ok(()),
                    Deleted::Unknown => Err("failed to delete keypair: there is no such key pair".into()),
                    Deleted::InUse => Err("failed to delete keypair: sessions or folders belong to it".into()),
                }))
            });
            let (ok, msg) = told(&deleted.await?);
            Ok(Some(DeleteKeyPair { ok, msg }))
        })
        .await
    }

    /// Gives a key pair another secret; what is signed with the old one is refused within a second.
    async fn rotate_keypair(&self, ctx: &Context<'_>, access_key: String) -> Option<Result<RotateKeyPair>> {
        nullable(async {
            let name = access_key.clone();
            let rotated = noted(ctx, "rotate_keypair", (KEYPAIR, &name), Value::Null, |env| async move {
                let secret = secret_key().map_err(|error| Fault::broken(&error.to_string()))?;
                let row = refusal(keypairs::rotate(&env.postgres, &access_key, &secret).await)?;
                Ok(row.and_then(|row| row.ok_or_else(|| "failed to rotate keypair: there is no such key pair".into())))
            });
            let rotated = rotated.await?;
            let (ok, msg) = told(&rotated);
            Ok(Some(RotateKeyPair { ok, msg, keypair: rotated.ok().map(|row| KeyPair(row.into())) }))
        })
        .await
    }
}

// === impl KeyPairInput ===

impl KeyPairInput {
    /// What PostgreSQL gets.
    fn checked(self) -> Done<Props> {
        let KeyPairInput { is_active, is_admin, resource_policy, concurrency_limit, rate_limit } = self;
        for (name, value) in [("concurrency_limit", concurrency_limit), ("rate_limit", rate_limit)] {
            if value.is_some_and(|value| value < 0) {
                return Err(format!("{name} must not be negative"));
            }
        }
        Ok(Props { is_active, is_admin, resource_policy, concurrency_limit, rate_limit })
    }

    /// What the audit log gets: what was named.
    fn detail(&self) -> Value {
        let mut named = json!({
            "is_active": self.is_active,
            "is_admin": self.is_admin,
            "resource_policy": self.resource_policy,
            "concurrency_limit": self.concurrency_limit,
            "rate_limit": self.rate_limit,
        });
        if let Some(members) = named.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        named
    }
}

async fn create(postgres: &Postgres, user_id: i32, access: &str, props: &Props) -> Result<Done<KeypairRow>, Fault> {
    let secret = secret_key().map_err(|error| Fault::broken(&error.to_string()))?;
    let row = refusal(keypairs::insert(postgres, user_id, access, &secret, props).await)?;
    Ok(row.and_then(|row| row.ok_or_else(|| "failed to create keypair: try again".to_owned())))
}
