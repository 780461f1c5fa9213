//! Type `Image`.

use async_graphql::SimpleObject;

use crate::store::etcd::Snapshot;

/// A runtime that sessions can be made of: one tag of an image.
#[derive(Clone, Debug, PartialEq, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct Image {
    name: Option<String>,
    tag: Option<String>,
    hash: Option<String>,
    /// Other names for it.
    aliases: Option<Vec<String>>,
}

/// All images, by name and tag.
pub fn images(snapshot: &Snapshot) -> Vec<Option<Image>> {
    let tags = snapshot.images.iter().flat_map(|(name, image)| image.tags.iter().map(move |tag| (name, tag)));
    tags.map(|(name, (tag, hash))| {
        let is_meant = |alias: &&String| {
            snapshot.resolve_image(alias).is_some_and(|meant| meant.name == *name && meant.tag == *tag)
        };
        Some(Image {
            name: Some(name.clone()),
            tag: Some(tag.clone()),
            hash: Some(hash.clone()),
            aliases: Some(snapshot.aliases.keys().filter(is_meant).cloned().collect()),
        })
    })
    .collect()
}
