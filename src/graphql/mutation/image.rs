//! Images and their aliases, in etcd. Every worker acts on a change within a second.

use std::rc::Rc;

use async_graphql::{Context, Object, Result, SimpleObject};
use serde_json::{Value, json};

use super::{Acknowledgement, Done, noted, told};
use crate::{
    engine,
    graphql::{Fault, env::Env, fault::nullable},
    store::{
        docker_registry::{DockerRegistry, RegistryError},
        etcd::{
            Snapshot,
            client::Edit,
            images::{self, NewTag, Slots, TagChange},
        },
    },
};

/// Changes of images.
#[derive(Default)]
pub struct ImageMutation;

/// How looking for images in their registry went.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct RescanImages {
    ok: Option<bool>,
    msg: Option<String>,
    /// What was changed.
    changes: Option<Vec<ImageChange>>,
}

/// What became of a tag.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct ImageChange {
    name: Option<String>,
    tag: Option<String>,
    /// Its hash; null where it is gone.
    hash: Option<String>,
    /// Its hash before; null where it is new.
    was: Option<String>,
}

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

    /// Makes the tags of an image, or of all, those that the gateway's registry (`--docker-registry`) has, with their
    /// digests as hashes. Tags that it lacks stay, unless `prune` is true.
    async fn rescan_images(
        &self,
        ctx: &Context<'_>,
        name: Option<String>,
        prune: Option<bool>,
    ) -> Option<Result<RescanImages>> {
        nullable(async {
            let (prune, target) = (prune.unwrap_or(false), name.clone().unwrap_or_else(|| "*".to_owned()));
            let detail = json!({"prune": prune});
            let changed = noted(ctx, "rescan_images", (IMAGE, &target), detail, move |env| async move {
                rescan(&env, name, prune).await
            });
            let changed = changed.await?;
            let (ok, msg) = told(&changed);
            let changes = changed.ok().map(|changes| changes.into_iter().map(ImageChange::from).collect());
            Ok(Some(RescanImages { ok, msg, changes }))
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
    edits: impl FnOnce(&Snapshot) -> Done<Vec<Edit>> + 'static,
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

async fn rescan(env: &Rc<Env>, name: Option<String>, prune: bool) -> Result<Done<Vec<TagChange>>, Fault> {
    let snapshot = (env.images)();
    let Some(address) = env.docker_registry.as_deref().map(str::to_owned) else {
        return Ok(Err("the gateway knows no registry: start it with --docker-registry".into()));
    };
    let names: Vec<String> = match name {
        Some(name) if !snapshot.images.contains_key(&name) => return Ok(Err(format!("there is no image {name:?}"))),
        Some(name) => vec![name],
        None => snapshot.images.keys().cloned().collect(),
    };
    let only = (names.len() == 1).then(|| names.first().cloned()).flatten();
    let found = engine::offload(move || {
        let mut registry = DockerRegistry::at(&address)?;
        let mut found = Vec::new();
        for name in names {
            found.extend(registry.tags(&name)?.map(|tags| (name, tags)));
        }
        Ok::<_, RegistryError>(found)
    });
    let found = match found.await {
        Ok(found) => found,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if let (Some(name), true) = (only, found.is_empty()) {
        return Ok(Err(format!("the registry has no image {name}")));
    }
    let changes: Vec<TagChange> =
        found.iter().flat_map(|(name, tags)| images::rescanned(&snapshot, name, tags, prune)).collect();
    for edits in images::tag_edits(&changes) {
        let etcd = env.registry.stores().etcd.clone();
        etcd.apply(edits).await.map_err(|error| Fault::broken(&error.to_string()))?;
    }
    Ok(Ok(changes))
}

// === impl ImageChange ===

impl From<TagChange> for ImageChange {
    fn from(change: TagChange) -> Self {
        let TagChange { image, tag, hash, was } = change;
        ImageChange { name: Some(image), tag: Some(tag), hash, was }
    }
}
