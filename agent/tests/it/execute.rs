//! Code in Python kernels.

use backendai::wire::value::get;
use rmpv::Value;

use crate::harness::{Client, World, console, map, pairs, status, text, wait_until};

#[test]
fn the_namespace_stays_and_the_last_expression_is_shown() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let first = client.query(&kernel, "print('hello')");
    assert_eq!(status(&first), "finished");
    assert_eq!(console(&first), pairs(&[("stdout", "hello\n")]));
    assert_eq!(get(&first, "exitCode"), Some(&Value::Nil));
    assert_eq!(client.stdout(&kernel, "x = 41"), "");
    assert_eq!(client.stdout(&kernel, "x += 1\nx"), "42\n");
    assert_eq!(client.stdout(&kernel, "_ + 1"), "43\n");
    assert_eq!(client.stdout(&kernel, "print('한글 😀', '\\ud800')"), "한글 😀 \\ud800\n");
    assert_eq!(
        client.stdout(&kernel, "import os; print(os.environ['FOO'], os.getcwd() == os.environ['HOME'])"),
        "bar True\n"
    );
    assert_eq!(
        client.stdout(&kernel, "import pickle\nclass C: pass\ntype(pickle.loads(pickle.dumps(C()))) is C"),
        "True\n"
    );
    assert_eq!(client.stdout(&kernel, "from __future__ import barry_as_FLUFL"), "");
    assert_eq!(client.stdout(&kernel, "1 <> 2"), "True\n", "what was imported from the future stays");
}

#[test]
fn both_streams_children_and_threads_come_in_order() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let code = "import os, sys, subprocess, threading\n\
        print('out1')\nprint('err1', file=sys.stderr)\nprint('out2')\n\
        subprocess.run(['echo', 'child'])\nprint('out3')\nos.system('echo oops >&2')\n\
        t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n\
        sys.stdout.buffer.write('é\\n'.encode())\nNone";
    let (console, _) = client.run(&kernel, code);
    let expected = [
        ("stdout", "out1\n"),
        ("stderr", "err1\n"),
        ("stdout", "out2\nchild\nout3\n"),
        ("stderr", "oops\n"),
        ("stdout", "thread\né\n"),
    ];
    assert_eq!(console, pairs(&expected));
}

#[test]
fn tracebacks_show_the_users_code_alone() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let stderr = |client: &mut Client, code: &str| text(&client.run(&kernel, code).0, "stderr");
    assert_eq!(
        stderr(&mut client, "1/0"),
        "Traceback (most recent call last):\n  File \"<input>\", line 1, in <module>\nZeroDivisionError: division by zero\n"
    );
    let syntax = stderr(&mut client, "a b c");
    assert!(
        syntax.starts_with("Traceback (most recent call last):\n  File \"<input>\", line 1\n    a b c\n"),
        "{syntax}"
    );
    assert!(syntax.contains("SyntaxError: invalid syntax"), "{syntax}");
    let deep = stderr(&mut client, "def f():\n  try: 1/0\n  except ZeroDivisionError: raise KeyError('k')\nf()");
    assert!(
        deep.contains("During handling") && deep.ends_with("KeyError: 'k'\n") && !deep.contains("runner.py"),
        "{deep}"
    );
    let recursion = stderr(&mut client, "def g(): g()\ng()");
    assert!(recursion.contains("RecursionError") && !recursion.contains("runner.py"), "{recursion}");
    assert_eq!(client.stdout(&kernel, "print('still here')"), "still here\n");
}

#[test]
fn long_runs_are_continued_and_interrupted() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let code = "import time\nfor i in range(1000):\n  print(i); time.sleep(0.3)";
    let first = client.execute(&kernel, "long", "query", code, map([])).unwrap();
    assert_eq!(status(&first), "continued");
    assert!(text(&console(&first), "stdout").starts_with("0\n1\n2\n"));
    assert_eq!(get(&first, "options"), Some(&Value::Nil));
    client
        .send("execute", vec![2.into(), kernel.as_str().into(), "long".into(), "continue".into(), "".into(), map([])]);
    world.client().call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
    let (_, answer) = client.receive();
    let (console, last) = client.finish(&kernel, "long", answer.unwrap());
    assert_eq!(status(&last), "finished");
    assert_eq!(text(&console, "stderr"), "Interrupted!\n");
    assert_eq!(client.stdout(&kernel, "i >= 6"), "True\n");
    world.client().call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
    assert_eq!(client.stdout(&kernel, "'idle interrupts do nothing'"), "'idle interrupts do nothing'\n");
}

#[test]
fn a_run_waits_for_input_and_passwords() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let code = "name = input('name? ')\nimport getpass, sys\np = getpass.getpass()\nprint('hi', name, len(p), sys.stdin.readline())";
    let first = client.execute(&kernel, "ask", "query", code, map([])).unwrap();
    assert_eq!(status(&first), "waiting-input");
    assert_eq!(console(&first), pairs(&[("stdout", "name? ")]));
    assert_eq!(get(&first, "options"), Some(&map([("is_password", false.into())])));
    let second = client.execute(&kernel, "ask", "input", "Lee", map([])).unwrap();
    assert_eq!(console(&second), pairs(&[("stdout", "Password: ")]));
    assert_eq!(get(&second, "options"), Some(&map([("is_password", true.into())])));
    let third = client.execute(&kernel, "ask", "query", "secret", map([])).unwrap();
    assert_eq!(status(&third), "waiting-input", "repeating `query` brings the input");
    let last = client.execute(&kernel, "ask", "input", "line", map([])).unwrap();
    assert_eq!(console(&last), pairs(&[("stdout", "hi Lee 6 line\n\n")]));
}

#[test]
fn an_interrupt_ends_the_wait_for_input() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let interrupted = |client: &mut Client, run: &str, code: &str| {
        let waiting = client.execute(&kernel, run, "query", code, map([])).unwrap();
        assert_eq!(status(&waiting), "waiting-input");
        client.call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
        let mut last = waiting;
        wait_until("the end of the wait for input", || {
            last = client.execute(&kernel, run, "continue", "", map([])).unwrap();
            let waits = status(&last) == "waiting-input";
            assert!(!waits || console(&last).is_empty(), "what comes after the wait is not told as if it went on");
            !waits
        });
        client.finish(&kernel, run, last)
    };
    let (console, last) = interrupted(&mut client, "gone", "input()");
    assert_eq!((text(&console, "stderr").as_str(), status(&last)), ("Interrupted!\n", "finished"));
    let caught =
        "import time\ntry:\n  input()\nexcept KeyboardInterrupt:\n  print('caught', flush=True)\n  time.sleep(3)";
    let (console, last) = interrupted(&mut client, "caught", caught);
    assert_eq!((text(&console, "stdout").as_str(), status(&last)), ("caught\n", "finished"));
}

#[test]
fn rich_output_is_html_and_media() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let code = "class H:\n  def _repr_html_(self): return '<b>x</b>'\n\
        class S:\n  def _repr_svg_(self): return '<svg/>'\n\
        class P:\n  def _repr_png_(self): return b'\\x89PNG'\n\
        class B:\n  def _repr_html_(self): raise ValueError\n  def __repr__(self): return 'plain'\n\
        display(H(), S(), P(), B())\nprint('end')\nH";
    let (console, _) = client.run(&kernel, code);
    assert_eq!(console[0], ("html".to_owned(), "<b>x</b>".to_owned()));
    assert_eq!(console[1], ("media".to_owned(), "image/svg+xml <svg/>".to_owned()));
    assert_eq!(console[2], ("media".to_owned(), "image/png iVBORw==".to_owned()));
    assert_eq!(console[3], ("stdout".to_owned(), "plain\nend\n<class '__main__.H'>\n".to_owned()));
}

#[test]
fn words_are_completed() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    client.run(&kernel, "import os\nprincess = 1");
    let mut complete = |line: &str, col: i64| {
        let options = map([("line", line.into()), ("row", 0.into()), ("col", col.into()), ("post", "".into())]);
        let answer = client.call("get_completions", vec![kernel.as_str().into(), line.into(), options]).unwrap();
        assert_eq!(status(&answer), "finished");
        let words = get(&answer, "completions").unwrap().as_array().unwrap().clone();
        words.into_iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete("pri", 3), ["princess", "print"]);
    assert_eq!(
        complete("x = os.getp + 1", 11),
        ["os.getpgid", "os.getpgrp", "os.getpid", "os.getppid", "os.getpriority"]
    );
    assert!(complete("nosuch.a", 8).is_empty());
    let answer = client.execute(&kernel, "c", "complete", "princ", map([])).unwrap();
    assert_eq!(get(&answer, "completions").unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_flood_comes_whole_and_in_bounded_pieces() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let run = client.new_run();
    let mut answer =
        client.execute(&kernel, &run, "query", "for i in range(300000): print('line', i)", map([])).unwrap();
    let mut all = String::new();
    loop {
        let piece = text(&console(&answer), "stdout");
        assert!(piece.len() <= 1 << 20);
        all.push_str(&piece);
        if status(&answer) == "finished" {
            break;
        }
        answer = client.execute(&kernel, &run, "continue", "", map([])).unwrap();
    }
    assert_eq!(all.lines().count(), 300_000);
    assert!(all.ends_with("line 299999\n"));
    let endless = client.execute(&kernel, "endless", "query", "while True: print('y' * 1000)", map([])).unwrap();
    assert_eq!(status(&endless), "continued");
    client.call("interrupt_kernel", vec![kernel.as_str().into()]).unwrap();
    let (console, _) = client.finish(&kernel, "endless", endless);
    assert_eq!(text(&console, "stderr"), "Interrupted!\n");
    assert_eq!(client.stdout(&kernel, "len('y' * 300000)"), "300000\n");
}

#[test]
fn a_second_run_waits_its_turn() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let args = |run: &str, code: &str| {
        vec![2.into(), kernel.as_str().into(), run.into(), "query".into(), code.into(), map([])]
    };
    let first = client.send("execute", args("a", "import time\nfor i in range(2): print('A', i); time.sleep(0.5)"));
    let second = client.send("execute", args("b", "print('B')"));
    let answers = [client.receive(), client.receive()];
    assert_eq!(answers.each_ref().map(|(id, _)| *id), [first, second]);
    let outputs = answers.map(|(_, answer)| text(&console(&answer.unwrap()), "stdout"));
    assert_eq!(outputs, ["A 0\nA 1\n", "B\n"]);
}

#[test]
fn exits_and_forks_do_not_end_the_kernel() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let (_, left) = client.run(&kernel, "import sys\nsys.exit(3)");
    assert_eq!((status(&left), get(&left, "exitCode")), ("finished", Some(&3.into())));
    let (console, left) = client.run(&kernel, "sys.exit('reason')");
    assert_eq!((text(&console, "stderr"), get(&left, "exitCode")), ("reason\n".into(), Some(&1.into())));
    let fork =
        "import os\npid = os.fork()\nif pid == 0: print('in the child')\nelse: os.waitpid(pid, 0); print('parent')";
    assert_eq!(client.stdout(&kernel, fork), "in the child\nparent\n");
    let pool = "import multiprocessing\nwith multiprocessing.Pool(2) as p: print(p.map(abs, [-1, 2]))";
    assert_eq!(client.stdout(&kernel, pool), "[1, 2]\n");
}

#[test]
fn a_kernel_that_ends_itself_ends_the_run_with_130() {
    let mut world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let (console, last) = client.run(&kernel, "print('bye'); import os; os._exit(7)");
    assert_eq!(text(&console, "stdout"), "bye\n");
    assert_eq!((status(&last), get(&last, "exitCode")), ("finished", Some(&130.into())));
    assert_eq!(world.events.end_of(&kernel), "self-terminated");
    let error = client.execute(&kernel, "r", "query", "1", map([])).unwrap_err();
    assert_eq!(error.kind, "builtins.RuntimeError");
}

#[test]
fn memory_is_bounded_and_its_end_is_an_exception() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let (console, _) = client.run(&kernel, "x = bytearray(2 << 30)");
    assert!(text(&console, "stderr").ends_with("MemoryError\n"), "{console:?}");
    assert_eq!(client.stdout(&kernel, "len(bytearray(64 << 20))"), "67108864\n");
}

#[test]
fn the_first_version_of_the_api_has_four_lists() {
    let world = World::start();
    let mut client = world.client();
    let kernel = client.create();
    let args = vec![1.into(), kernel.as_str().into(), "r".into(), "query".into(), "print('v1')".into(), map([])];
    let answer = client.call("execute", args).unwrap();
    assert_eq!(get(&answer, "stdout"), Some(&"v1\n".into()));
    assert_eq!(get(&answer, "media"), Some(&Value::Array(vec![])));
    assert_eq!(get(&answer, "console"), None);
}
