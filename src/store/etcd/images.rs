//! Changes of images and aliases: from what there is and what is wished to the edits that make it so.
//!
//! Pure, so that the admin API and `backendai-manager` change the same keys in the same way.

use super::{client::Edit, keys, snapshot::Snapshot};

/// A tag that an image is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTag {
    /// The image's name.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// What it stands for in the registry.
    pub hash: String,
    /// What sessions of the image take, as far as it is to change.
    pub slots: Slots,
}

/// What sessions of an image take; none of what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slots {
    /// Cores.
    pub cpu: Option<i32>,
    /// MiB.
    pub mem: Option<i32>,
    /// Fractions of a GPU.
    pub gpu: Option<f64>,
}

/// Edits that one transaction of etcd takes (`--max-txn-ops`, unless set).
const MOST_EDITS: usize = 128;

/// The edits that add a tag, and the image if there is none.
///
/// # Errors
/// A name, hash or slot makes no sense, or slots of a new image are missing.
pub fn add(snapshot: &Snapshot, new: &NewTag) -> Result<Vec<Edit>, String> {
    let NewTag { name, tag, hash, slots } = new;
    if !is_name(name) || name.starts_with('_') {
        return Err(format!("{name:?} is no image name"));
    }
    if !is_name(tag) {
        return Err(format!("{tag:?} is no tag"));
    }
    if hash.is_empty() || hash.contains(char::is_whitespace) {
        return Err(format!("{hash:?} is no hash"));
    }
    let known = snapshot.images.contains_key(name);
    if !known && (slots.cpu.is_none() || slots.mem.is_none()) {
        return Err(format!("there is no image {name}: a new one needs cpu and mem"));
    }
    let mut edits = vec![put(keys::image(name), "1")];
    edits.extend(slots.edits(name)?);
    if !known && slots.gpu.is_none() {
        edits.push(put(keys::image_gpu(name), "0.00"));
    }
    edits.push(put(keys::image_tag(name, tag), hash));
    Ok(edits)
}

/// What became of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    /// The image's name.
    pub image: String,
    /// The tag.
    pub tag: String,
    /// Its hash; none where it is gone.
    pub hash: Option<String>,
    /// Its hash before; none where it is new.
    pub was: Option<String>,
}

/// What makes an image's tags those that a registry has; what the registry lacks goes only where `prune` says so.
#[must_use]
pub fn rescanned(snapshot: &Snapshot, image: &str, found: &[(String, String)], prune: bool) -> Vec<TagChange> {
    let Some(known) = snapshot.images.get(image) else { return Vec::new() };
    let change = |tag: &String, hash: Option<&String>| TagChange {
        image: image.to_owned(),
        tag: tag.clone(),
        hash: hash.cloned(),
        was: known.tags.get(tag).cloned(),
    };
    let usable = found.iter().filter(|(tag, _)| is_name(tag));
    let there = usable.map(|(tag, hash)| change(tag, Some(hash))).filter(|change| change.hash != change.was);
    let gone = known.tags.keys().filter(|tag| prune && !found.iter().any(|(other, _)| other == *tag));
    there.chain(gone.map(|tag| change(tag, None))).collect()
}

/// The edits that make changes of tags, in transactions that etcd takes.
#[must_use]
pub fn tag_edits(changes: &[TagChange]) -> Vec<Vec<Edit>> {
    let edit = |change: &TagChange| {
        let key = keys::image_tag(&change.image, &change.tag);
        change.hash.as_ref().map_or_else(|| Edit::Delete(key.clone()), |hash| put(key.clone(), hash))
    };
    changes.chunks(MOST_EDITS).map(|some| some.iter().map(edit).collect()).collect()
}

/// The edits that remove a tag of an image, or the image with all its tags.
///
/// # Errors
/// There is no such image or tag, or it has more tags than one transaction can remove.
pub fn remove(snapshot: &Snapshot, name: &str, tag: Option<&str>) -> Result<Vec<Edit>, String> {
    let image = snapshot.images.get(name).ok_or_else(|| format!("there is no image {name:?}"))?;
    if let Some(tag) = tag {
        let known = image.tags.contains_key(tag);
        let edits = || vec![Edit::Delete(keys::image_tag(name, tag))];
        return known.then(edits).ok_or_else(|| format!("image {name} has no tag {tag:?}"));
    }
    let own = [keys::image(name), keys::image_cpu(name), keys::image_mem(name), keys::image_gpu(name)];
    let tags = image.tags.keys().map(|tag| keys::image_tag(name, tag));
    let edits: Vec<Edit> = own.into_iter().chain(tags).map(Edit::Delete).collect();
    match edits.len() {
        0..=MOST_EDITS => Ok(edits),
        _ => Err(format!("image {name} has too many tags to be removed at once: remove some of them first")),
    }
}

/// The edit that gives an image another name.
///
/// # Errors
/// It is no name, or there is no such image.
pub fn add_alias(snapshot: &Snapshot, alias: &str, target: &str) -> Result<Vec<Edit>, String> {
    if !is_name(alias) {
        return Err(format!("{alias:?} cannot be an alias"));
    }
    let wanted = Snapshot { aliases: [(alias.to_owned(), target.to_owned())].into(), ..snapshot.clone() };
    match wanted.resolve_image(alias) {
        Some(_) => Ok(vec![put(keys::alias(alias), target)]),
        None => Err(format!("there is no image {target:?}")),
    }
}

/// The edit that removes an alias.
///
/// # Errors
/// There is none.
pub fn remove_alias(snapshot: &Snapshot, alias: &str) -> Result<Vec<Edit>, String> {
    let known = snapshot.aliases.contains_key(alias);
    known.then(|| vec![Edit::Delete(keys::alias(alias))]).ok_or_else(|| format!("there is no alias {alias:?}"))
}

/// Whether a text can be one part of a key and of `name:tag`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', ':', '\0']) && !text.contains(char::is_whitespace)
}

fn put(key: String, value: &str) -> Edit {
    Edit::Put(key, value.to_owned())
}

// === impl Slots ===

impl Slots {
    fn edits(self, name: &str) -> Result<Vec<Edit>, String> {
        let whole = |what: &str, value: i32| match value {
            0.. => Ok(value.to_string()),
            _ => Err(format!("{what} must not be negative, it is {value}")),
        };
        let mut edits = Vec::new();
        if let Some(cpu) = self.cpu {
            edits.push(put(keys::image_cpu(name), &whole("cpu", cpu)?));
        }
        if let Some(mem) = self.mem {
            edits.push(put(keys::image_mem(name), &whole("mem", mem)?));
        }
        if let Some(gpu) = self.gpu {
            if !(gpu.is_finite() && gpu >= 0.0) {
                return Err(format!("gpu must be a number from 0 up, it is {gpu}"));
            }
            edits.push(put(keys::image_gpu(name), &format!("{gpu:.2}")));
        }
        Ok(edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::Image;

    fn snapshot() -> Snapshot {
        let tags = [("latest".to_owned(), "sha256:1".to_owned()), ("3".into(), "sha256:2".into())].into();
        Snapshot {
            images: [("python".to_owned(), Image { tags, ..Image::default() })].into(),
            aliases: [("py".to_owned(), "python:3".to_owned())].into(),
            ..Snapshot::default()
        }
    }

    fn tag(name: &str, slots: Slots) -> NewTag {
        NewTag { name: name.into(), tag: "4".into(), hash: "sha256:4".into(), slots }
    }

    fn keys_of(edits: &[Edit]) -> Vec<&str> {
        edits
            .iter()
            .map(|edit| match edit {
                Edit::Put(key, _) | Edit::Delete(key) => key.as_str(),
            })
            .collect()
    }

    #[test]
    fn a_tag_is_added_to_what_is_there_and_a_new_image_needs_slots() {
        let edits = add(&snapshot(), &tag("python", Slots::default())).unwrap();
        assert_eq!(keys_of(&edits), ["images/python", "images/python/tags/4"]);
        let why = add(&snapshot(), &tag("lua", Slots::default())).unwrap_err();
        assert_eq!(why, "there is no image lua: a new one needs cpu and mem");
        let edits = add(&snapshot(), &tag("lua", Slots { cpu: Some(1), mem: Some(64), gpu: None })).unwrap();
        let expected = [
            Edit::Put("images/lua".into(), "1".into()),
            Edit::Put("images/lua/cpu".into(), "1".into()),
            Edit::Put("images/lua/mem".into(), "64".into()),
            Edit::Put("images/lua/gpu".into(), "0.00".into()),
            Edit::Put("images/lua/tags/4".into(), "sha256:4".into()),
        ];
        assert_eq!(edits, expected);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let slots = |cpu, mem, gpu| Slots { cpu: Some(cpu), mem: Some(mem), gpu: Some(gpu) };
        for (name, slots, part) in [
            ("a/b", Slots::default(), "\"a/b\" is no image name"),
            ("_aliases", Slots::default(), "is no image name"),
            ("python", slots(-1, 1, 0.0), "cpu must not be negative"),
            ("python", slots(1, -1, 0.0), "mem must not be negative"),
            ("python", slots(1, 1, f64::NAN), "gpu must be a number"),
        ] {
            let why = add(&snapshot(), &tag(name, slots)).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn an_image_goes_with_all_its_keys_and_a_tag_alone() {
        let edits = remove(&snapshot(), "python", None).unwrap();
        let expected = [
            "images/python",
            "images/python/cpu",
            "images/python/mem",
            "images/python/gpu",
            "images/python/tags/3",
            "images/python/tags/latest",
        ];
        assert_eq!(keys_of(&edits), expected);
        assert_eq!(keys_of(&remove(&snapshot(), "python", Some("3")).unwrap()), ["images/python/tags/3"]);
        assert!(remove(&snapshot(), "python", Some("9")).unwrap_err().contains("no tag"));
        assert!(remove(&snapshot(), "lua", None).unwrap_err().contains("no image"));
    }

    #[test]
    fn a_rescan_changes_what_differs_and_removes_only_when_told() {
        let found = [("latest", "sha256:1"), ("4", "sha256:4"), ("a/b", "sha256:5")];
        let found: Vec<_> = found.map(|(tag, hash)| (tag.to_owned(), hash.to_owned())).into();
        let change = |tag: &str, hash: Option<&str>, was: Option<&str>| TagChange {
            image: "python".into(),
            tag: tag.into(),
            hash: hash.map(str::to_owned),
            was: was.map(str::to_owned),
        };
        let new = change("4", Some("sha256:4"), None);
        assert_eq!(rescanned(&snapshot(), "python", &found, false), std::slice::from_ref(&new));
        let pruned = rescanned(&snapshot(), "python", &found, true);
        assert_eq!(pruned, [new, change("3", None, Some("sha256:2"))]);
        let edits =
            [Edit::Put("images/python/tags/4".into(), "sha256:4".into()), Edit::Delete("images/python/tags/3".into())];
        assert_eq!(tag_edits(&pruned), [edits]);
        assert_eq!(tag_edits(&vec![pruned[0].clone(); 300]).iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 44]);
        assert_eq!(rescanned(&snapshot(), "lua", &found, true), []);
    }

    #[test]
    fn an_alias_stands_for_an_image_that_is_there() {
        assert!(add_alias(&snapshot(), "p3", "python:3").is_ok());
        assert!(add_alias(&snapshot(), "p", "python").is_ok());
        assert!(add_alias(&snapshot(), "l", "lua:5").unwrap_err().contains("no image"));
        assert!(add_alias(&snapshot(), "a/b", "python").unwrap_err().contains("cannot be an alias"));
        assert_eq!(keys_of(&remove_alias(&snapshot(), "py").unwrap()), ["images/_aliases/py"]);
        assert!(remove_alias(&snapshot(), "nothing").is_err());
    }
}
