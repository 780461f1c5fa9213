//! Files that go in and come out.

use backendai::wire::value::get;
use rmpv::Value;

use crate::harness::World;

#[test]
fn outputs_of_a_run_are_named_once() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let code = "import os\nos.makedirs('.output/sub', exist_ok=True)\nopen('.output/a.txt','w').write('A')\n\
        open('.output/sub/b.txt','w').write('B')\nopen('c.txt','w').write('C')\nos.symlink('/etc/passwd', '.output/link')";
    let names = |answer: &Value| {
        let files = get(answer, "files").unwrap().as_array().unwrap();
        files.iter().map(|file| get(file, "name").unwrap().as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&client.run(&kernel, code).1), ["a.txt", "sub/b.txt"]);
    assert!(names(&client.run(&kernel, "1").1).is_empty());
    assert_eq!(names(&client.run(&kernel, "open('.output/a.txt','w').write('longer')").1), ["a.txt"]);
}

#[test]
fn uploads_stay_in_the_kernels_folder_whatever_links_it_has() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    client.run(&kernel, "import os\nos.symlink('/tmp', 'out'); os.symlink('../..', 'up')");
    for name in ["../evil.txt", "/tmp/evil.txt", "a/../../evil", "out/evil.txt", "up/evil.txt", "a\0b"] {
        let result =
            client.call("upload_file", vec![kernel.as_str().into(), name.into(), Value::Binary(b"x".to_vec())]);
        assert_eq!(result.unwrap_err().kind, "builtins.AssertionError", "{name:?}");
    }
    assert!(!world.scratch().join("evil.txt").exists() && !world.scratch().join(&kernel).join("evil.txt").exists());
    client
        .call("upload_file", vec![kernel.as_str().into(), "sub/dir/x.txt".into(), Value::Binary(b"x".to_vec())])
        .unwrap();
    assert_eq!(client.stdout(&kernel, "open('sub/dir/x.txt').read()"), "'x'\n");
    let missing =
        client.call("upload_file", vec!["no-such-kernel".into(), "x".into(), Value::Binary(vec![])]).unwrap_err();
    assert_eq!(missing.kind, "builtins.FileNotFoundError");
}

#[test]
fn files_are_listed_and_fetched() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    client.run(&kernel, "open('c.txt','w').write('C' * 1000)");
    let listing = client.call("list_files", vec![kernel.as_str().into(), ".".into()]).unwrap();
    let files: serde_json::Value = serde_json::from_str(get(&listing, "files").unwrap().as_str().unwrap()).unwrap();
    assert!(files.as_array().unwrap().iter().any(|file| file["filename"] == "c.txt" && file["size"] == 1000));
    let tar = client.call("download_file", vec![kernel.as_str().into(), "c.txt".into()]).unwrap();
    let tar = tar.as_slice().unwrap();
    assert!(tar.starts_with(b"c.txt\0") && tar[512..].starts_with(&[b'C'; 1000]));
    let error = client.call("download_file", vec![kernel.as_str().into(), "../../secret".into()]).unwrap_err();
    assert_eq!(error.kind, "builtins.AssertionError");
}
