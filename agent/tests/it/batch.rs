//! Commands in a kernel's folder.

use backendai::wire::value::get;

use crate::harness::{World, console, map, pairs, status, text};

#[test]
fn defaults_skip_what_is_not_there_and_run_main() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let main = b"import sys\nprint('batch main', sys.argv)\n".to_vec();
    client.call("upload_file", vec![kernel.as_str().into(), "main.py".into(), main.into()]).unwrap();
    let built = client.execute(&kernel, "r", "batch", "", map([("build", "*".into()), ("exec", "*".into())])).unwrap();
    assert_eq!(status(&built), "build-finished");
    let notice = "python-kernel: skipping build phase due to missing \"setup.py\" file\n";
    assert_eq!(console(&built), pairs(&[("stderr", notice)]));
    let ran = client.execute(&kernel, "r", "continue", "", map([])).unwrap();
    let (console, last) = client.finish(&kernel, "r", ran);
    assert_eq!(console, pairs(&[("stdout", "batch main ['main.py']\n")]));
    assert_eq!((status(&last), get(&last, "exitCode")), ("finished", Some(&0.into())));
}

#[test]
fn steps_run_in_turn_and_the_exit_code_is_the_last_ones() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let options = map([
        ("clean", "echo cleaning".into()),
        ("build", "echo building; false".into()),
        ("exec", "sleep 3; echo done; echo err >&2; exit 3".into()),
    ]);
    let cleaned = client.execute(&kernel, "r", "batch", "", options).unwrap();
    assert_eq!((status(&cleaned), text(&console(&cleaned), "stdout")), ("clean-finished", "cleaning\n".into()));
    let built = client.execute(&kernel, "r", "continue", "", map([])).unwrap();
    assert_eq!((status(&built), text(&console(&built), "stdout")), ("build-finished", "building\n".into()));
    let slow = client.execute(&kernel, "r", "continue", "", map([])).unwrap();
    assert_eq!(status(&slow), "continued");
    let (console, last) = client.finish(&kernel, "r", slow);
    assert_eq!(console, pairs(&[("stdout", "done\n"), ("stderr", "err\n")]));
    assert_eq!(get(&last, "exitCode"), Some(&3.into()));
}

#[test]
fn an_empty_step_is_skipped_and_a_running_one_interrupted() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let built = client.execute(&kernel, "r", "batch", "", map([("exec", "echo on; sleep 1000".into())])).unwrap();
    assert_eq!((status(&built), console(&built)), ("build-finished", vec![]));
    let running = client.execute(&kernel, "r", "continue", "", map([])).unwrap();
    assert_eq!(status(&running), "continued");
    client.call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
    let (console, last) = client.finish(&kernel, "r", running);
    assert_eq!((status(&last), get(&last, "exitCode")), ("finished", Some(&130.into())));
    assert!(text(&console, "stderr").contains("Interrupted!\n"));
}
