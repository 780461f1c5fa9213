use std::os::unix::fs::symlink;

use super::*;

fn folder() -> (tempfile::TempDir, WorkFolder) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("work")).unwrap();
    std::fs::write(root.path().join("secret"), "s").unwrap();
    let work = WorkFolder::open(&root.path().join("work")).unwrap();
    (root, work)
}

#[test]
fn uploads_make_their_folders_and_replace_what_was_there() {
    let (root, work) = folder();
    work.upload("a/b/c.txt", b"longer").unwrap();
    work.upload("a/b/c.txt", b"x").unwrap();
    assert_eq!(std::fs::read(root.path().join("work/a/b/c.txt")).unwrap(), b"x");
}

#[test]
fn names_that_are_no_plain_relative_paths_are_refused() {
    let (root, work) = folder();
    for name in ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "", "a\0b"] {
        assert_eq!(work.upload(name, b"x").unwrap_err().kind, "builtins.AssertionError", "{name:?}");
        assert!(work.archive(name).is_err() && work.list(name).is_err(), "{name:?}");
    }
    assert!(!root.path().join("evil.txt").exists());
}

#[test]
fn links_do_not_lead_out_in_any_direction() {
    let (root, work) = folder();
    let inside = root.path().join("work");
    symlink("..", inside.join("up")).unwrap();
    symlink(root.path(), inside.join("abs")).unwrap();
    symlink("../secret", inside.join("file")).unwrap();
    for name in ["up/evil", "abs/evil", "file", "up/work/x/evil"] {
        work.upload(name, b"evil").unwrap_err();
        assert!(work.archive(name).is_err(), "{name}");
    }
    assert!(work.list("up").is_err());
    assert_eq!(std::fs::read(root.path().join("secret")).unwrap(), b"s");
    assert!(!root.path().join("evil").exists());
}

#[test]
fn links_within_the_folder_work() {
    let (root, work) = folder();
    std::fs::create_dir(root.path().join("work/data")).unwrap();
    symlink("data", root.path().join("work/link")).unwrap();
    work.upload("link/x", b"1").unwrap();
    assert_eq!(std::fs::read(root.path().join("work/data/x")).unwrap(), b"1");
}

#[test]
fn a_fifo_does_not_hold_the_agent() {
    let (root, work) = folder();
    nix::unistd::mkfifo(&root.path().join("work/fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    work.upload("fifo", b"x").unwrap_err();
    work.archive(".").unwrap();
}

#[test]
fn archives_are_what_tar_unpacks() {
    let (root, work) = folder();
    work.upload("d/sub/one.txt", b"one").unwrap();
    work.upload("d/two.bin", &[7; 1000]).unwrap();
    let long = format!("d/{}/{}", "n".repeat(120), "m".repeat(120));
    work.upload(&long, b"deep").unwrap();
    symlink("../../secret", root.path().join("work/d/out")).unwrap();
    std::fs::write(root.path().join("a.tar"), work.archive("d").unwrap()).unwrap();
    std::fs::create_dir(root.path().join("out")).unwrap();
    let status =
        std::process::Command::new("tar").args(["-xf", "../a.tar"]).current_dir(root.path().join("out")).status();
    assert!(status.unwrap().success());
    assert_eq!(std::fs::read(root.path().join("out/d/sub/one.txt")).unwrap(), b"one");
    assert_eq!(std::fs::read(root.path().join("out/d/two.bin")).unwrap(), [7; 1000]);
    assert_eq!(std::fs::read(root.path().join("out").join(long)).unwrap(), b"deep");
    assert!(!root.path().join("out/d/out").exists());
}

#[test]
fn listings_name_every_entry_with_its_mode() {
    let (_root, work) = folder();
    work.upload("a.txt", b"123").unwrap();
    work.upload("d/x", b"").unwrap();
    let (files, path) = work.list(".").unwrap();
    let files: Vec<serde_json::Value> = serde_json::from_str(&files).unwrap();
    assert!(path.ends_with("/work"));
    assert_eq!(files[0]["filename"], "a.txt");
    assert_eq!((&files[0]["size"], files[0]["mode"].as_str().unwrap()), (&3.into(), "-rw-r--r--"));
    assert!(files[1]["mode"].as_str().unwrap().starts_with('d'));
    assert_eq!(work.list("nothing").unwrap_err().kind, "builtins.FileNotFoundError");
}
