use super::*;

fn out(text: &str) -> Record {
    Record { kind: "stdout".into(), text: text.into(), mime: None }
}

fn query(runs: &mut Runs, run: &str) {
    runs.begin(run.into(), Work::Query(format!("code of {run}")));
}

fn batch(runs: &mut Runs, run: &str) {
    let step = |name| Step { name, command: format!("{name} it") };
    runs.begin(run.into(), Work::Batch([step("clean"), step("build"), step("exec")].into()));
}

#[test]
fn a_second_run_waits_for_the_first_and_both_keep_their_output() {
    let mut runs = Runs::default();
    query(&mut runs, "a");
    query(&mut runs, "b");
    assert_eq!(runs.take_jobs(), [ToRunner::Query { run: "a".into(), code: "code of a".into() }]);
    runs.on_output(out("1\n"));
    assert_eq!(runs.poll("b"), None);
    assert_eq!(runs.continued("b").console, []);
    runs.on_done("a", None, vec!["x".into()]);
    assert_eq!(runs.take_jobs(), [ToRunner::Query { run: "b".into(), code: "code of b".into() }]);
    runs.on_output(out("2\n"));
    runs.on_done("b", None, vec![]);
    assert_eq!(runs.poll("b").unwrap().console, [out("2\n")]);
    let first = runs.poll("a").unwrap();
    assert_eq!((first.status, first.console, first.files), ("finished", vec![out("1\n")], vec!["x".to_owned()]));
}

#[test]
fn an_answer_that_got_lost_can_be_asked_for_again() {
    let mut runs = Runs::default();
    query(&mut runs, "a");
    runs.on_done("a", Some(3), vec![]);
    assert_eq!(runs.poll("a").unwrap().exit, Some(3));
    assert_eq!(runs.poll("a").unwrap().exit, Some(3));
    assert!(!runs.knows("b"));
}

#[test]
fn batch_steps_wait_for_continue_which_counts_only_once_their_end_was_told() {
    let mut runs = Runs::default();
    batch(&mut runs, "r");
    assert_eq!(runs.take_jobs().len(), 1);
    runs.on_done("r", Some(0), vec![]);
    runs.go_on("r");
    assert!(runs.take_jobs().is_empty());
    assert_eq!(runs.poll("r").unwrap().status, "clean-finished");
    runs.go_on("r");
    assert_eq!(runs.take_jobs().len(), 1);
    runs.on_done("r", Some(1), vec![]);
    let built = runs.poll("r").unwrap();
    assert_eq!((built.status, built.exit), ("build-finished", Some(1)));
    runs.go_on("r");
    assert_eq!(runs.take_jobs(), [ToRunner::Step { run: "r".into(), step: "exec".into(), command: "exec it".into() }]);
    runs.on_done("r", Some(7), vec![]);
    let done = runs.poll("r").unwrap();
    assert_eq!((done.status, done.exit), ("finished", Some(7)));
}

#[test]
fn a_batch_left_between_its_steps_gives_way() {
    let mut runs = Runs::default();
    batch(&mut runs, "r");
    runs.on_done("r", Some(0), vec![]);
    query(&mut runs, "q");
    assert_eq!(runs.take_jobs().len(), 2);
    assert_eq!(runs.poll("r").unwrap().status, "finished");
}

#[test]
fn input_goes_only_to_the_run_that_waits_for_it() {
    let mut runs = Runs::default();
    query(&mut runs, "a");
    runs.take_jobs();
    runs.input("a", "early".into());
    assert!(runs.take_jobs().is_empty());
    runs.on_waiting("a", true);
    runs.input("b", "other".into());
    assert!(runs.take_jobs().is_empty());
    assert_eq!(runs.poll("a").unwrap().password, Some(true));
    runs.input("a", "text".into());
    assert_eq!(runs.take_jobs(), [ToRunner::Input { d: "text".into() }]);
    assert_eq!(runs.poll("a"), None);
}

#[test]
fn an_interrupted_wait_for_input_is_no_longer_one() {
    let mut runs = Runs::default();
    query(&mut runs, "a");
    runs.on_waiting("a", false);
    runs.on_waited("b");
    assert!(runs.is_waiting("a"), "another run's wait is not this one's");
    runs.on_waited("a");
    assert_eq!(runs.poll("a"), None);
    runs.on_done("a", None, vec![]);
    assert_eq!(runs.poll("a").unwrap().status, "finished");
}

#[test]
fn a_dead_kernel_ends_all_its_runs_with_130() {
    let mut runs = Runs::default();
    query(&mut runs, "a");
    query(&mut runs, "b");
    runs.on_output(out("bye\n"));
    runs.on_death();
    query(&mut runs, "c");
    let first = runs.poll("a").unwrap();
    assert_eq!((first.exit, first.console), (Some(130), vec![out("bye\n")]));
    assert_eq!(runs.poll("b").unwrap().exit, Some(130));
    assert_eq!(runs.poll("c").unwrap().exit, Some(130));
}

#[test]
fn a_flood_comes_in_pieces_and_the_end_after_it() {
    let mut runs = Runs::default();
    query(&mut runs, "a");
    let chunk = "y".repeat(64 << 10);
    for _ in 0..24 {
        runs.on_output(out(&chunk));
    }
    runs.on_done("a", None, vec![]);
    let first = runs.poll("a").unwrap();
    assert_eq!(first.status, "continued");
    let second = runs.poll("a").unwrap();
    assert_eq!(second.status, "finished");
    let size = |outcome: &Outcome| outcome.console.iter().map(|record| record.text.len()).sum::<usize>();
    assert!(size(&first) <= ANSWER_LIMIT);
    assert_eq!(size(&first) + size(&second), 24 * (64 << 10));
}
