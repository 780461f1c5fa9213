//! `update-aliases`: other names of images, `images/_aliases/<alias>` = `name:tag`.
//!
//! ```yaml
//! aliases:
//!   - [python3, "python:3.6"]
//! ```

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use serde_saphyr::Spanned;

use super::{
    note::noted,
    store::{Change, Etcd},
    yaml::Source,
};
use crate::{
    cli::{CliError, Out},
    config::Connections,
};

/// etcd takes 128 changes in a transaction by default.
const BATCH: usize = 100;

#[derive(Deserialize)]
struct File {
    aliases: Vec<Spanned<(String, String)>>,
}

/// Writes the aliases of a file. Nothing is written if any of them is wrong.
pub async fn update(source: &Source, to: &Connections, out: Out<'_>) -> Result<(), CliError> {
    let aliases = read(source)?;
    let work = async {
        let mut etcd = Etcd::connect(to).await?;
        for batch in aliases.chunks(BATCH) {
            let change = |(alias, target): &(String, String)| Change::put(format!("images/_aliases/{alias}"), target);
            etcd.commit(batch.iter().map(change).collect()).await?;
        }
        Ok(())
    };
    let detail = json!({ "aliases": aliases.len() });
    noted(to, "etcd update-aliases", "etcd", &source.name, &detail, work).await?;
    Ok(aliases.iter().try_for_each(|(alias, target)| writeln!(out, "{alias} -> {target}"))?)
}

fn read(source: &Source) -> Result<Vec<(String, String)>, CliError> {
    let file: File = source.parse()?;
    let mut names = BTreeSet::new();
    let check = |item: Spanned<(String, String)>| {
        let (alias, target) = item.value;
        let problem = if !is_alias(&alias) {
            Some(format!("\"{alias}\" cannot be an alias"))
        } else if !is_alias(&target) {
            Some(format!("alias {alias}: \"{target}\" is no image (name:tag)"))
        } else if !names.insert(alias.clone()) {
            Some(format!("alias {alias} is there twice"))
        } else {
            None
        };
        problem.map_or(Ok((alias, target)), |what| Err(source.wrong(item.referenced, what)))
    };
    file.aliases.into_iter().map(check).collect()
}

/// Whether a text can be an alias, or what one stands for.
pub fn is_alias(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "aliases.yml".into(), text: text.into() }
    }

    #[test]
    fn the_fixture_and_numbers_as_names_are_read() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/image-aliases.yml"));
        assert!(read(&source(text)).unwrap().contains(&("python3".into(), "python:3".into())));
        assert_eq!(read(&source("aliases:\n- [3, python]\n")).unwrap(), [("3".into(), "python".into())]);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let cases = [
            ("alias: []", "aliases.yml:1: missing field `aliases`"),
            ("aliases:\n- [a, 'b:c']\n- [a, 'b:d']\n", "aliases.yml:3: alias a is there twice"),
            ("aliases:\n- [a/b, c]\n", "aliases.yml:2: \"a/b\" cannot be an alias"),
            ("aliases:\n- [a]\n", "aliases.yml:2: "),
            ("aliases:\n- [a, '']\n", "aliases.yml:2: alias a: \"\" is no image (name:tag)"),
        ];
        for (text, expected) in cases {
            let message = read(&source(text)).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}\n  expected: {expected}");
        }
    }
}
