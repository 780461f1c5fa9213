//! Images and their aliases, in etcd. Every worker acts on a change within a second.

use async_graphql::{Context, Object, Result};
use serde_json::{Value, json};

use super::{Acknowledgement, Done, noted};
use crate::{
    graphql::{Fault, fault::nullable},
    store::etcd::{
        client::Edit,
        images::{self, NewTag, Slots},
    },
};

/// Changes of images.
#[derive(Default)]
pub struct ImageMutation;

const IMAGE: &str = "image";
const ALIAS: &str = "alias";

/// Changes of images.
#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl ImageMutation {
    /// Adds a tag to an image, or changes its hash, and makes the image if there is none; slots that are named are
    /// changed: `cpu` in cores, `mem` in MiB, `gpu` in fractions of a device. A new image needs `cpu` and `mem`.
    #[expect(clippy::too_many_arguments, reason = "they are the mutation's")]
    async fn add_image(
        &self,
        ctx: &Context<'_>,
        name: String,
        tag: String,
        hash: String,
        cpu: Option<i32>,
        mem: Option<i32>,
        gpu: Option<f64>,
    ) -> Option<Result<Acknowledgement>> {
        nullable(async {
            let detail = json!({"hash": hash, "cpu": cpu, "mem": mem, "gpu": gpu});
            let target = format!("{name}:{tag}");
            let new = NewTag { name, tag, hash, slots: Slots { cpu, mem, gpu } };
            edit(ctx, "add_image", (IMAGE, &target), detail, move |snapshot| images::add(snapshot, &new)).await
        })
        .await
    }

    /// Removes a tag of an image, or the whole image where none is named. Sessions that run go on.
    async fn remove_image(
        &self,
        ctx: &Context<'_>,
        name: String,
        tag: Option<String>,
    ) -> Option<Result<Acknowledgement>> {
        nullable(async {
            let target = tag.as_ref().map_or_else(|| name.clone(), |tag| format!("{name}:{tag}"));
            edit(ctx, "remove_image", (IMAGE, &target), Value::Null, move |snapshot| {
                images::remove(snapshot, &name, tag.as_deref())
            })
            .await
        })
        .await
    }

    /// Gives an image, `name:tag` or `name`, another name, or an alias another image.
    async fn add_alias(&self, ctx: &Context<'_>, alias: String, target: String) -> Option<Result<Acknowledgement>> {
        nullable(async {
            let (name, detail) = (alias.clone(), json!({"target": target}));
            edit(ctx, "add_alias", (ALIAS, &name), detail, move |snapshot| images::add_alias(snapshot, &alias, &target))
                .await
        })
        .await
    }

    /// Removes an alias.
    async fn remove_alias(&self, ctx: &Context<'_>, alias: String) -> Option<Result<Acknowledgement>> {
        nullable(async {
            let name = alias.clone();
            edit(ctx, "remove_alias", (ALIAS, &name), Value::Null, move |snapshot| {
                images::remove_alias(snapshot, &alias)
            })
            .await
        })
        .await
    }
}

/// Makes the edits that the images of now call for.
async fn edit(
    ctx: &Context<'_>,
    action: &str,
    target: (&'static str, &str),
    detail: Value,
    edits: impl FnOnce(&crate::store::etcd::Snapshot) -> Done<Vec<Edit>> + 'static,
) -> Result<Option<Acknowledgement>> {
    let edited = noted(ctx, action, target, detail, |env| async move {
        let edits = match edits(&(env.images)()) {
            Ok(edits) => edits,
            Err(why) => return Ok(Err(why)),
        };
        let etcd = env.registry.stores().etcd.clone();
        etcd.apply(edits).await.map(Ok).map_err(|error| Fault::broken(&error.to_string()))
    });
    Ok(Some(edited.await?.into()))
}
