//! A session that swaps things while the gateway works on them.

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::*;

const ROUNDS: usize = 400;

/// Exchanges two names as fast as it goes while `work` runs; how often it did.
fn while_swapping(one: &Path, two: &Path, work: impl FnOnce()) -> u64 {
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if renameat2(AT_FDCWD, one, AT_FDCWD, two, RenameFlags::RENAME_EXCHANGE).is_ok() {
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    swaps.into_inner()
}

#[test]
fn a_directory_that_turns_into_a_link_outside_never_leads_there() {
    let v = Volume::new();
    fs::create_dir(v.at("d")).unwrap();
    fs::write(v.at("d/secret"), "inside").unwrap();
    link(v.outside(), v.at("evil"));
    let (inside, refused) = (Cell::new(0), Cell::new(0));
    let more = |count: &Cell<u32>| count.set(count.get() + 1);
    let note = |result: Result<(), FsError>| match result {
        Ok(()) => more(&inside),
        Err(FsError::Outside(_) | FsError::NotFound(_) | FsError::NotADirectory(_)) => more(&refused),
        Err(error) => panic!("{error:?}"),
    };
    let swaps = while_swapping(&v.at("d"), &v.at("evil"), || {
        for n in 0.. {
            if n > ROUNDS && ((inside.get() > 0 && refused.get() > 0) || n > 100_000) {
                break;
            }
            note(v.download("d/secret").map(|text| assert_ne!(text, SECRET)));
            note(v.upload("d/secret", "inside").map(drop));
            note(v.upload(&format!("d/new{n}"), "x").map(drop));
            note(v.remove(&format!("d/new{n}")).map(drop));
            note(v.remove("d/secret").map(drop));
            note(v.folder.make_directory(&p(&format!("d/dir{n}/deep"))));
            note(v.remove(&format!("d/dir{n}")).map(drop));
            note(v.names(Some("d")).map(|names| assert!(!names.contains(&"outside".to_owned()))));
        }
    });
    v.assert_outside_is_whole();
    assert!(swaps > 0 && inside.get() > 0 && refused.get() > 0, "{swaps} swaps, {inside:?} and {refused:?}");
}

#[test]
fn a_file_that_turns_into_a_link_outside_is_never_read_or_written_through() {
    let v = Volume::new();
    fs::write(v.at("f"), "inside").unwrap();
    link("../../outside/secret", v.at("evil"));
    let (mut read, mut refused) = (0, 0);
    let swaps = while_swapping(&v.at("f"), &v.at("evil"), || {
        for round in 0.. {
            if round > ROUNDS && ((read > 0 && refused > 0) || round > 1_000_000) {
                break;
            }
            match v.download("f") {
                Ok(text) => {
                    assert_eq!(text, "inside");
                    read += 1;
                }
                Err(FsError::Outside(_)) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    assert!(swaps > 0 && read > 0 && refused > 0, "{swaps} swaps, {read} read, {refused} refused");
    while_swapping(&v.at("f"), &v.at("evil"), || {
        for _ in 0..ROUNDS {
            v.upload("f", "inside").unwrap();
        }
    });
    v.assert_outside_is_whole();
}

#[test]
fn a_tree_is_removed_without_what_links_in_it_lead_to() {
    let v = Volume::new();
    for n in 0..100 {
        fs::create_dir_all(v.at(&format!("t{n}/d"))).unwrap();
        fs::write(v.at(&format!("t{n}/d/f")), "x").unwrap();
        link(v.outside(), v.at(&format!("t{n}/evil")));
        // The session has the tree open, and swaps below whatever name it has now.
        let tree = File::open(v.at(&format!("t{n}"))).unwrap();
        let proc = AsRawFd::as_raw_fd(&tree);
        let below = |name: &str| PathBuf::from(format!("/proc/self/fd/{proc}/{name}"));
        while_swapping(&below("d"), &below("evil"), || {
            v.remove(&format!("t{n}")).unwrap();
        });
    }
    v.assert_outside_is_whole();
    assert!(v.all_names().is_empty());
}

#[test]
fn uploads_of_one_name_are_counted_exactly() {
    let v = Volume::new();
    let upload = |n: usize| {
        let mut total = Usage::default();
        for m in 0..ROUNDS / 4 {
            total = total.plus(v.upload("same", &"x".repeat((n * 7 + m) % 50 * 1024)).unwrap());
            if m % 3 == 0 {
                total = match v.remove("same") {
                    Ok(removed) => total.minus(removed),
                    Err(FsError::NotFound(_)) => total,
                    Err(error) => panic!("{error:?}"),
                };
            }
        }
        total
    };
    let upload = &upload;
    let total = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || upload(n))).collect();
        threads.into_iter().fold(Usage::default(), |sum, it| sum.plus(it.join().unwrap()))
    });
    assert_eq!(v.count(), total);
    assert!(v.all_names().len() <= 1);
}
