//! Generated pages that stand in the repository: a test fails when one is stale, `UPDATE_GOLDENS=1` renews it.

use std::path::Path;

/// Compares a page with what it is generated to now, or writes it where `UPDATE_GOLDENS` is set.
///
/// # Panics
/// The page is stale or missing. For tests.
pub fn check(path: &str, generated: &str) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&full, generated).unwrap();
    }
    let page = std::fs::read_to_string(&full).unwrap_or_default();
    assert!(page == generated, "{path} is stale: run the test again with UPDATE_GOLDENS=1, and look at the difference");
}
