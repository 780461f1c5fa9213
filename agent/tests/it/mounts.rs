//! Virtual folders: shown to kernels, some to be read only, and never left behind.

use backendai::wire::{event::EventKind, value::get};
use nix::sys::signal::Signal;
use rmpv::Value;

use crate::harness::{Client, World, config_with, lives, processes_of, wait_until};

/// What Python says where a file is to be written.
fn write(client: &mut Client, kernel: &str, path: &str) -> String {
    let code = format!(
        "try:\n    open({path:?}, 'w').write('x'); print('written')\nexcept OSError as e:\n    print(e.strerror)"
    );
    client.stdout(kernel, &code)
}

/// Lines about a kernel in the mounts of this process: its kernels have namespaces of their own.
fn mounts_of(kernel: &str) -> usize {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(|line| line.contains(kernel)).count()
}

#[test]
fn a_read_only_folder_is_read_and_not_written_also_after_a_restart() {
    let mut world = World::start();
    let beat = world.events.next(|kind| matches!(kind, EventKind::Heartbeat(_)));
    assert!(matches!(beat.kind, EventKind::Heartbeat(beat) if beat.read_only_mounts), "this machine allows it");
    let (read, source) = world.folder("read", Some("ro"));
    let (data, shared) = world.folder("data", None);
    let mut client = world.client();
    let config = config_with(&[&read, &data]);
    let kernel = client.create_with(config.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!(client.stdout(&kernel, "print(open('read/file').read(), open('data/file').read())"), "read data\n");
        for path in ["read/new", "read/file", source.join("file").to_str().unwrap()] {
            assert_eq!(write(&mut client, &kernel, path), "Read-only file system\n", "{path}");
        }
        let remount = "import subprocess\nfor options in ['remount,bind,rw', 'remount,rw']:\n    \
            subprocess.run(['mount', '-o', options, 'read'], stderr=-3)\nsubprocess.run(['umount', 'read'], stderr=-3)";
        client.run(&kernel, remount);
        assert_eq!(write(&mut client, &kernel, "read/new"), "Read-only file system\n", "its own program undid it");
        assert_eq!(write(&mut client, &kernel, "data/new"), "written\n");
        assert_eq!(write(&mut client, &kernel, "own"), "written\n");
        client.call("restart_kernel", vec![kernel.as_str().into(), config.clone()]).unwrap();
    }
    assert_eq!(mounts_of(&kernel), 0, "mounts are the kernel's alone");
    client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
    assert_eq!(std::fs::read(shared.join("new")).unwrap(), b"x");
    let left = std::fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(left, ["file"]);
    wait_until("the kernel's folder goes", || !world.scratch().join(&kernel).exists());
    assert_eq!((std::fs::read(source.join("file")).unwrap(), mounts_of(&kernel)), (b"read".to_vec(), 0));
}

#[test]
fn a_restart_gives_the_folders_that_it_names_and_without_a_word_those_there_were() {
    let world = World::start();
    let (read, _) = world.folder("aaa", Some("ro"));
    let (data, _) = world.folder("bbb", None);
    let (less, _) = world.folder("bbb", Some("ro"));
    let mut client = world.client();
    let kernel = client.create_with(config_with(&[&read, &data])).unwrap();
    let mut restart = |config: Value| client.call("restart_kernel", vec![kernel.as_str().into(), config]).map(drop);
    let without = |config: Value| match config {
        Value::Map(pairs) => Value::Map(pairs.into_iter().filter(|(key, _)| key.as_str() != Some("mounts")).collect()),
        other => other,
    };
    restart(without(config_with(&[]))).unwrap();
    let mut second = world.client();
    assert_eq!(write(&mut second, &kernel, "aaa/x"), "Read-only file system\n");
    assert_eq!(write(&mut second, &kernel, "bbb/x"), "written\n");
    restart(config_with(&[&less])).unwrap();
    assert_eq!(write(&mut second, &kernel, "bbb/x"), "Read-only file system\n");
    assert_eq!(second.stdout(&kernel, "import os; print(os.path.exists('aaa'))"), "False\n");
}

#[test]
fn files_of_a_mount_are_listed_fetched_and_uploaded_as_far_as_it_allows() {
    let world = World::start();
    let (read, source) = world.folder("read", Some("ro"));
    let (data, shared) = world.folder("data", None);
    std::fs::create_dir(source.join("sub")).unwrap();
    std::fs::write(source.join("sub/deep"), "deep").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", source.join("out")).unwrap();
    std::os::unix::fs::symlink("../..", source.join("up")).unwrap();
    let mut client = world.client();
    let kernel = client.create_with(config_with(&[&read, &data])).unwrap();
    let mut call = |method: &str, path: &str, more: Option<Value>| {
        let mut args = vec![Value::from(kernel.as_str()), path.into()];
        args.extend(more);
        client.call(method, args)
    };
    let names = |listing: &Value| {
        let files: serde_json::Value = serde_json::from_str(get(listing, "files").unwrap().as_str().unwrap()).unwrap();
        files.as_array().unwrap().iter().map(|it| it["filename"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let listing = call("list_files", "read", None).unwrap();
    assert_eq!(names(&listing), ["file", "out", "sub", "up"]);
    assert!(get(&listing, "abspath").unwrap().as_str().unwrap().ends_with("/work/read"));
    assert_eq!(names(&call("list_files", "./read/sub/", None).unwrap()), ["deep"]);
    assert!(names(&call("list_files", ".", None).unwrap()).contains(&"read".to_owned()));
    let tar = call("download_file", "read/sub/deep", None).unwrap();
    assert!(tar.as_slice().unwrap().starts_with(b"deep\0") && tar.as_slice().unwrap()[512..].starts_with(b"deep"));
    assert!(call("download_file", "read", None).unwrap().as_slice().unwrap().starts_with(b"read/"));
    for outside in ["read/out", "read/up", "read/up/local", "read/../data/file", "read/sub/../../data/file"] {
        assert_eq!(call("download_file", outside, None).unwrap_err().kind, "builtins.AssertionError", "{outside}");
    }
    let content = || Some(Value::Binary(b"sent".to_vec()));
    for path in ["read/new", "read/file", "read/a/b"] {
        let refused = call("upload_file", path, content()).unwrap_err();
        assert_eq!(refused.repr, "OSError(30, 'Read-only file system')", "{path}");
    }
    call("upload_file", "data/a/b", content()).unwrap();
    assert_eq!(std::fs::read(shared.join("a/b")).unwrap(), b"sent");
    assert!(!source.join("new").exists() && std::fs::read(source.join("file")).unwrap() == b"read");
}

#[test]
fn nothing_stays_mounted_after_the_agent_was_killed() {
    let mut world = World::start();
    let (read, source) = world.folder("read", Some("ro"));
    let mut client = world.client();
    let kernel = client.create_with(config_with(&[&read])).unwrap();
    let processes = processes_of(&kernel);
    assert!(!processes.is_empty());
    world.end_agent(Signal::SIGKILL);
    wait_until("the kernel ends with its agent", || !processes.iter().any(|pid| lives(*pid)));
    world.start_agent_again(&[]);
    wait_until("its folder goes", || !world.scratch().join(&kernel).exists());
    assert_eq!((std::fs::read(source.join("file")).unwrap(), mounts_of(&kernel)), (b"read".to_vec(), 0));
}

#[test]
fn a_kernel_that_outlives_the_agent_keeps_its_mounts() {
    let mut world = World::with(&["--keep-kernels"]);
    let (read, _) = world.folder("read", Some("ro"));
    let kernel = world.client().create_with(config_with(&[&read])).unwrap();
    world.end_agent(Signal::SIGKILL);
    world.start_agent_again(&["--keep-kernels"]);
    let mut client = world.client();
    wait_until("the kernel is taken over", || client.call("get_logs", vec![kernel.as_str().into()]).is_ok());
    assert_eq!(write(&mut client, &kernel, "read/new"), "Read-only file system\n");
    let tar = client.call("download_file", vec![kernel.as_str().into(), "read/file".into()]).unwrap();
    assert!(tar.as_slice().unwrap()[512..].starts_with(b"read"));
    client.call("destroy_kernel", vec![kernel.as_str().into()]).unwrap();
}
