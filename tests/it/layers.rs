//! Which part may know of which: read off the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The sources below a folder, without tests.
fn sources(below: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" && name != "testing" {
                walk(&path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                // Unit tests stand at a file's end.
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                found.push((path, code));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(below), &mut found);
    assert!(!found.is_empty(), "{below} has no sources");
    found
}

/// Lines of code that name one of the words, without comments.
fn naming(below: &str, words: &[&str], except: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, code) in sources(below) {
        let shown = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        if except.iter().any(|allowed| shown.starts_with(allowed)) {
            continue;
        }
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if words.iter().any(|word| line.contains(word)) {
                lines.push(format!("{shown}: {}", line.trim()));
            }
        }
    }
    lines
}

#[test]
fn only_the_engine_names_the_runtimes() {
    // What runs on tokio by itself: the etcd thread, the operator's tool, the look at the stores before the start.
    let own_runtime = ["src/engine", "src/store/etcd", "src/cli", "src/preflight.rs", "src/store/postgres/connect.rs"];
    let words = ["glommio", "tokio::net", "tokio::time", "tokio::spawn", "tokio::runtime"];
    assert_eq!(naming("src", &words, &own_runtime), Vec::<String>::new());
}

#[test]
fn only_engine_and_supervisor_are_unsafe() {
    let words = ["unsafe {", "unsafe fn", "unsafe impl"];
    for below in ["src", "agent/src", "bench/src"] {
        assert_eq!(naming(below, &words, &["src/engine"]), Vec::<String>::new());
    }
}

#[test]
fn the_registry_knows_no_http() {
    let words = ["crate::http", "hyper", "StatusCode", "crate::api"];
    assert_eq!(naming("src/registry", &words, &[]), Vec::<String>::new());
}

#[test]
fn the_api_knows_no_sql() {
    assert_eq!(naming("src/api", &["SELECT ", "UPDATE ", "INSERT ", "tokio_postgres"], &[]), Vec::<String>::new());
}

#[test]
fn workers_hold_no_transaction_open() {
    let words = ["BEGIN", "COMMIT", ".transaction("];
    let tools = ["src/store/postgres/migrate.rs", "src/cli"];
    assert_eq!(naming("src", &words, &tools), Vec::<String>::new());
}
