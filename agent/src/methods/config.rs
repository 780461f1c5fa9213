//! The configuration that a kernel is created or restarted with.

use std::path::{Component, Path};

use backendai::wire::value::{as_f64, as_i64, get};
use rmpv::Value;

use super::call::text_of;
use crate::{
    exception::{self, Exception},
    kernel::{Limits, mounts::Mount},
};

/// What a kernel is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelConfig {
    /// The image.
    pub lang: String,
    /// What it may use.
    pub limits: Limits,
    /// Variables of its environment.
    pub environ: Vec<(String, String)>,
    /// Folders to show it; none where it is not said, which in a restart means those that it has.
    pub mounts: Option<Vec<Wanted>>,
    /// For a restart: the cores it had.
    pub cpu_set: Vec<usize>,
}

/// A folder to show to a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its place in the work folder.
    pub name: String,
    /// The volume that it is on.
    pub host: String,
    /// Its folder there, an id in hex.
    pub id: String,
    /// Whether it may only be read.
    pub read_only: bool,
}

// === impl KernelConfig ===

impl KernelConfig {
    /// Reads it from a call.
    ///
    /// # Errors
    /// A part is missing or makes no sense.
    pub fn from_value(value: &Value) -> Result<KernelConfig, Exception> {
        let lang = get(value, "lang").and_then(Value::as_str).ok_or_else(|| exception::assertion("no lang"))?;
        Ok(KernelConfig {
            lang: lang.to_owned(),
            limits: limits(get(value, "limits").unwrap_or(&Value::Nil))?,
            environ: environ(get(value, "environ").unwrap_or(&Value::Nil))?,
            mounts: get(value, "mounts").filter(|mounts| !mounts.is_nil()).map(mounts).transpose()?,
            cpu_set: items(get(value, "cpu_set").unwrap_or(&Value::Nil))
                .iter()
                .filter_map(|core| as_i64(core)?.try_into().ok())
                .collect(),
        })
    }

    /// The mounts that are wanted, where this machine has its volumes.
    pub fn mounts_below(&self, root: &Path) -> Option<Vec<Mount>> {
        let mount = |wanted: &Wanted| Mount {
            name: wanted.name.clone(),
            source: root.join(&wanted.host).join(&wanted.id),
            read_only: wanted.read_only,
        };
        self.mounts.as_ref().map(|wanted| wanted.iter().map(mount).collect())
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn limits(value: &Value) -> Result<Limits, Exception> {
    let slot = |name: &str| {
        let slot = get(value, name).and_then(as_f64).filter(|slot| *slot >= 0.0);
        slot.ok_or_else(|| exception::assertion(format!("no {name} among the limits")))
    };
    Ok(Limits { mem: slot("mem_slot")? as u64, cpu: slot("cpu_slot")?, gpu: slot("gpu_slot")? })
}

fn environ(value: &Value) -> Result<Vec<(String, String)>, Exception> {
    let pairs = value.as_map().map_or(&[][..], Vec::as_slice);
    let pairs = pairs.iter().map(|(name, value)| (text_of(name), text_of(value)));
    pairs
        .map(|(name, value)| match name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            true => Err(exception::value(format!("{name:?} is no name of an environment variable"))),
            false => Ok((name, value)),
        })
        .collect()
}

fn mounts(value: &Value) -> Result<Vec<Wanted>, Exception> {
    items(value).iter().map(|mount| wanted(items(mount))).collect()
}

fn wanted(parts: &[Value]) -> Result<Wanted, Exception> {
    let (parts, read_only) = match parts {
        [parts @ .., mode] if parts.len() == 3 => (parts, Some(text_of(mode))),
        parts => (parts, None),
    };
    let [name, host, id] = parts else { return Err(exception::assertion("a mount is [name, host, id]")) };
    let mount = Wanted {
        name: text_of(name),
        host: text_of(host),
        id: text_of(id),
        // A mode that is not known must not become one that allows more.
        read_only: match read_only.as_deref() {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(_) => return Err(exception::value("malformed mount")),
        },
    };
    match [&mount.name, &mount.host, &mount.id].into_iter().all(|part| is_plain(part)) && !mount.name.starts_with('.') {
        true => Ok(mount),
        false => Err(exception::value("malformed mount")),
    }
}

/// Whether it names one folder.
fn is_plain(part: &str) -> bool {
    let mut parts = Path::new(part).components();
    let is_one =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name.to_str() == Some(part));
    is_one && !part.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::Map(pairs.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect())
    }

    fn config(mounts: Value) -> Value {
        let limits = map(&[("mem_slot", 256.into()), ("cpu_slot", 1.5.into()), ("gpu_slot", 0.into())]);
        map(&[("lang", "python".into()), ("limits", limits), ("mounts", mounts), ("environ", map(&[("A", 1.into())]))])
    }

    #[test]
    fn a_configuration_is_read() {
        let write = Value::Array(vec!["data".into(), "local".into(), "ab12".into()]);
        let read = Value::Array(vec!["read".into(), "local".into(), "cd34".into(), "ro".into()]);
        let config = KernelConfig::from_value(&config(Value::Array(vec![write, read]))).unwrap();
        assert_eq!(config.limits, Limits { mem: 256, cpu: 1.5, gpu: 0.0 });
        assert_eq!(config.environ, [("A".to_owned(), "1".to_owned())]);
        let mount = |name: &str, source: &str, read_only| Mount { name: name.into(), source: source.into(), read_only };
        let expected = [mount("data", "/mnt/local/ab12", false), mount("read", "/mnt/local/cd34", true)];
        assert_eq!(config.mounts_below(Path::new("/mnt")).unwrap(), expected);
    }

    #[test]
    fn mounts_name_single_folders_only() {
        for bad in ["..", "a/b", "", "/etc", ".", ".output", "a\0"] {
            let mount = Value::Array(vec![bad.into(), "local".into(), "ab12".into()]);
            KernelConfig::from_value(&config(Value::Array(vec![mount]))).unwrap_err();
        }
    }

    #[test]
    fn a_mounts_mode_is_one_that_is_known() {
        for bad in ["", "RO", "wd", "ro,rw"] {
            let mount = Value::Array(vec!["data".into(), "local".into(), "ab12".into(), bad.into()]);
            KernelConfig::from_value(&config(Value::Array(vec![mount]))).unwrap_err();
        }
        KernelConfig::from_value(&config(Value::Array(vec![Value::Array(vec!["data".into(); 5])]))).unwrap_err();
    }

    #[test]
    fn all_three_limits_must_be_there() {
        let error = KernelConfig::from_value(&map(&[("lang", "python".into())])).unwrap_err();
        assert_eq!(error.kind, "builtins.AssertionError");
    }
}
