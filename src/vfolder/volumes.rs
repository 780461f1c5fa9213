//! Which volumes there are, and where.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::Error;
use crate::store::etcd::Snapshot;

/// The volumes of a namespace at one moment. A volume is a directory below one place, mounted by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volumes {
    mount: PathBuf,
    hosts: BTreeSet<String>,
    default: Option<String>,
}

// === impl Volumes ===

impl Volumes {
    /// Those below a directory, and the one that new folders are on unless their makers say otherwise.
    #[must_use]
    pub fn new(mount: &Path, hosts: &[&str], default: Option<&str>) -> Volumes {
        let hosts = hosts.iter().copied().chain(default).filter(|it| is_plain(it)).map(str::to_owned).collect();
        let default = default.filter(|it| is_plain(it)).map(str::to_owned);
        Volumes { mount: mount.to_owned(), hosts, default }
    }

    /// Those of `volumes/` in etcd. Without `_vfroot`, the only volume is the default one.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Volumes {
        let hosts: Vec<&str> = snapshot.volumes.keys().map(String::as_str).collect();
        let only = if let [only] = hosts.as_slice() { Some(*only) } else { None };
        Volumes::new(Path::new(snapshot.volume_mount()), &hosts, snapshot.vfroot.as_deref().or(only))
    }

    /// The names of all volumes.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    /// The volume of a new folder.
    ///
    /// # Errors
    /// There is none of that name, or none at all.
    pub fn choose(&self, wanted: Option<&str>) -> Result<&str, Error> {
        match wanted {
            None => self.default.as_deref().ok_or(Error::NoHost),
            Some(name) => self.hosts.get(name).map(String::as_str).ok_or_else(|| Error::BadHost(name.to_owned())),
        }
    }

    /// Where a volume is that a folder is said to be on, whether or not it is still configured.
    ///
    /// # Errors
    /// It is no plain name.
    pub fn path(&self, host: &str) -> Result<PathBuf, Error> {
        if is_plain(host) { Ok(self.mount.join(host)) } else { Err(Error::BadHost(host.to_owned())) }
    }
}

fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::parse;

    fn volumes(keys: &[(&str, &str)]) -> Volumes {
        Volumes::of(&parse(keys.iter().copied(), 1))
    }

    #[test]
    fn volumes_are_those_of_etcd() {
        let both = volumes(&[
            ("volumes/_mount", "/vol"),
            ("volumes/_vfroot", "first"),
            ("volumes/second/mount/at", "startup"),
        ]);
        assert_eq!(both.hosts().collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(both.choose(None).unwrap(), "first");
        assert_eq!(both.choose(Some("second")).unwrap(), "second");
        assert!(matches!(both.choose(Some("third")), Err(Error::BadHost(_))));
        assert!(matches!(both.choose(Some("../first")), Err(Error::BadHost(_))));
        assert_eq!(both.path("second").unwrap(), Path::new("/vol/second"));
        assert_eq!(both.path("of-old").unwrap(), Path::new("/vol/of-old"));
        assert!(both.path("../etc").is_err() && both.path("..").is_err() && both.path("").is_err());
    }

    #[test]
    fn without_a_default_the_only_one_is_it() {
        let one = volumes(&[("volumes/one/mount/at", "startup")]);
        assert_eq!((one.choose(None).unwrap(), one.path("one").unwrap()), ("one", PathBuf::from("/mnt/one")));
        let two = volumes(&[("volumes/one/mount/at", "startup"), ("volumes/two/mount/at", "startup")]);
        assert!(matches!(two.choose(None), Err(Error::NoHost)));
        assert!(matches!(volumes(&[]).choose(None), Err(Error::NoHost)));
        assert!(matches!(volumes(&[("volumes/_vfroot", "../x")]).choose(None), Err(Error::NoHost)));
    }
}
