use futures_util::future::join_all;

use super::*;

const KIB: usize = 1024;

/// Files and KiB as they are on the volume; temporary files are gone a moment later.
fn on_disk(folder: &std::path::Path) -> (usize, usize) {
    let (mut files, mut kib) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with(path::RESERVED) {
            continue;
        }
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            let below = on_disk(&entry.path());
            (files, kib) = (files + below.0, kib + below.1);
        } else {
            (files, kib) = (files + 1, kib + (meta.len() as usize).div_ceil(KIB));
        }
    }
    (files, kib)
}

#[test]
fn limits_hold_with_uploads_of_several_workers_at_once() {
    run(|w| async move {
        let path = w.folder("data").await;
        w.sql("UPDATE vfolders SET max_files = 10, max_size = 1000");
        let workers = join_all((0..4).map(|_| w.worker())).await;
        let one = async |worker: &Rc<Folders>, n: usize| {
            let name = format!("d{}/f{n}", n % 3);
            put(worker, "OWNER", "data", &[(name.as_str(), &vec![7; 60 * KIB])]).await
        };
        let all = join_all((0..40).map(|n| one(&workers[n % 4], n))).await;
        assert_eq!(all.iter().filter(|it| it.is_ok()).count(), 10);
        let full = |it: &Result<usize, Error>| matches!(it, Ok(1) | Err(Error::QuotaExceeded(Limit::Files)));
        assert!(all.iter().all(full), "{all:?}");
        assert_eq!((on_disk(&path), w.counts("data").await), ((10, 600), "10|600|0".into()));

        w.sql("UPDATE vfolders SET max_files = 100");
        let all = join_all((40..60).map(|n| one(&workers[n % 4], n))).await;
        assert_eq!(all.iter().filter(|it| it.is_ok()).count(), 6);
        assert!(all.iter().all(|it| matches!(it, Ok(1) | Err(Error::QuotaExceeded(Limit::Size)))), "{all:?}");
        assert_eq!((on_disk(&path), w.counts("data").await), ((16, 960), "16|960|0".into()));
    });
}

#[test]
fn replacing_the_same_files_from_several_workers_keeps_the_counts_exact_and_the_limit() {
    run(|w| async move {
        let path = w.folder("data").await;
        w.sql("UPDATE vfolders SET max_files = 3, max_size = 100");
        let workers = join_all((0..3).map(|_| w.worker())).await;
        let one = async |worker: &Rc<Folders>, n: usize| {
            for m in 0..12 {
                let (name, size) = (format!("f{}", (n + m) % 3), [1, 90, 30, 60][(n + m) % 4] * KIB);
                match put(worker, "OWNER", "data", &[(name.as_str(), &vec![7; size])]).await {
                    Ok(_) | Err(Error::QuotaExceeded(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                assert!(on_disk_visible(&w, "data").await <= 100);
                if m % 4 == 0 {
                    match worker.delete_files("OWNER", "data", vec![p(&name)], false).await {
                        Ok(()) | Err(Error::Files(fs::FsError::NotFound(_))) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        };
        join_all((0..6).map(|n| one(&workers[n % 3], n))).await;
        let (files, kib) = on_disk(&path);
        assert!(files <= 3 && kib <= 100);
        assert_eq!(w.counts("data").await, format!("{files}|{kib}|0"));
    });
}

/// KiB of a folder as its row has them.
async fn on_disk_visible(w: &World, name: &str) -> i64 {
    let id = w.folders.find("OWNER", name, Permission::ReadOnly).await.unwrap().id;
    crate::store::postgres::vfolders::quota(&w.folders.postgres, id).await.unwrap().unwrap().cur_size
}

#[test]
fn a_full_folder_takes_what_makes_it_no_fuller() {
    run(|w| async move {
        let path = w.folder("data").await;
        w.sql("UPDATE vfolders SET max_files = 1, max_size = 100");
        put(&w.folders, "OWNER", "data", &[("f", &vec![1; 100 * KIB])]).await.unwrap();
        put(&w.folders, "OWNER", "data", &[("f", &vec![2; 100 * KIB])]).await.unwrap();
        put(&w.folders, "OWNER", "data", &[("f", &vec![3; 99 * KIB])]).await.unwrap();
        let error = put(&w.folders, "OWNER", "data", &[("f", &vec![4; 101 * KIB])]).await.unwrap_err();
        assert!(matches!(error, Error::QuotaExceeded(Limit::Size)), "{error}");
        let error = put(&w.folders, "OWNER", "data", &[("g", b"")]).await.unwrap_err();
        assert!(matches!(error, Error::QuotaExceeded(Limit::Files)), "{error}");
        assert_eq!((on_disk(&path), w.counts("data").await), ((1, 99), "1|99|0".into()));
        w.folders.delete_files("OWNER", "data", vec![p("f")], false).await.unwrap();
        assert_eq!((on_disk(&path), w.counts("data").await), ((0, 0), "0|0|0".into()));
        w.sql("UPDATE vfolders SET max_files = NULL, max_size = NULL");
        put(&w.folders, "OWNER", "data", &[("f", &vec![4; 500 * KIB]), ("g", b"")]).await.unwrap();
        assert_eq!(w.counts("data").await, "2|500|0");
    });
}

#[test]
fn an_upload_over_the_limit_is_ended_before_its_end_and_leaves_nothing() {
    run(|w| async move {
        let path = w.folder("data").await;
        w.sql("UPDATE vfolders SET max_size = 1000");
        let upload = w.folders.upload("OWNER", "data").await.unwrap();
        let mut file = upload.begin(p("f")).await.unwrap();
        let mut sent = 0;
        let error = loop {
            match file.write(&vec![0; 100 * KIB]).await {
                Ok(next) => (file, sent) = (next, sent + 100),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::QuotaExceeded(Limit::Size)) && sent < 1500, "{error} after {sent} KiB");
        drop(upload);
        until_empty(&path).await;
        assert_eq!(w.counts("data").await, "0|0|0");
    });
}

#[test]
fn an_upload_is_there_with_all_its_files_or_none() {
    run(|w| async move {
        let path = w.folder("data").await;
        put(&w.folders, "OWNER", "data", &[("old", b"old"), ("dir/x", b"")]).await.unwrap();
        let files: [(&str, &[u8]); 3] = [("old", b"new"), ("fresh", b"x"), ("dir", b"in the way")];
        assert!(put(&w.folders, "OWNER", "data", &files).await.is_err());
        // The way is blocked only after the first two were begun.
        let mut upload = w.folders.upload("OWNER", "data").await.unwrap();
        for name in ["old", "fresh", "late"] {
            let file = upload.begin(p(name)).await.unwrap().write(b"new").await.unwrap();
            upload.finish(file).await.unwrap();
        }
        std::fs::create_dir(path.join("late")).unwrap();
        let error = upload.commit().await.unwrap_err();
        assert!(matches!(error, Error::Files(fs::FsError::IsADirectory(_))), "{error}");
        assert_eq!(get(&w.folders, "OWNER", "data", "old").await.unwrap(), b"old");
        assert_eq!((on_disk(&path), w.counts("data").await), ((2, 1), "2|1|0".into()));
    });
}

#[test]
fn what_sessions_write_is_counted_when_somebody_looks_or_the_leader_tidies() {
    run(|w| async move {
        let path = w.folder("data").await;
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        std::fs::write(path.join("a/b/c"), vec![0; 3000]).unwrap();
        assert_eq!(w.folders.info("OWNER", "data").await.unwrap().usage.files, 1);
        assert_eq!(w.counts("data").await, "1|3|0");
        std::fs::write(path.join("d"), "").unwrap();
        w.folder("other").await;
        let mut after = None;
        let mut rounds = 0;
        while let Some(last) = w.folders.tidy(after, 1).await.unwrap() {
            (after, rounds) = (Some(last), rounds + 1);
        }
        assert_eq!((rounds, w.counts("data").await), (2, "2|3|0".into()));
    });
}

#[test]
fn a_count_that_somebody_writes_into_is_thrown_away() {
    use crate::store::postgres::vfolders::{self, Moment};
    run(|w| async move {
        w.folder("data").await;
        let id = w.folders.list("OWNER").await.unwrap()[0].id;
        let postgres = &w.folders.postgres;
        let seen = async || vfolders::quota(postgres, id).await.unwrap().unwrap();
        let before = seen().await;
        vfolders::count(postgres, id, 5, 50, Moment::Begin).await.unwrap();
        let during = seen().await;
        assert!(!vfolders::recount(postgres, id, &before, 0, 0).await.unwrap(), "it began meanwhile");
        assert!(!vfolders::recount(postgres, id, &during, 0, 0).await.unwrap(), "it is not done");
        vfolders::count(postgres, id, 0, 0, Moment::End).await.unwrap();
        assert_eq!(w.counts("data").await, "5|50|0");
        assert!(vfolders::recount(postgres, id, &seen().await, 6, 60).await.unwrap());
        vfolders::count(postgres, id, 1, 1, Moment::Begin).await.unwrap();
        w.sql("UPDATE vfolders SET writers_since = now() - interval '2 hours'");
        assert!(vfolders::recount(postgres, id, &seen().await, 6, 60).await.unwrap(), "its process died");
        assert_eq!(w.counts("data").await, "6|60|0");
    });
}

#[test]
fn counting_while_others_write_never_leaves_the_counts_off() {
    run(|w| async move {
        let path = w.folder("data").await;
        let other = w.worker().await;
        let write = async {
            for n in 0..30 {
                let (one, two) = (format!("a/{}", n % 7), format!("b/{}", n % 5));
                put(&w.folders, "OWNER", "data", &[(&one, &vec![0; n * 500]), (&two, b"x")]).await.unwrap();
                if n % 6 == 5 {
                    w.folders.delete_files("OWNER", "data", vec![p("a")], true).await.unwrap();
                }
            }
        };
        let look = async {
            for _ in 0..60 {
                other.info("OWNER", "data").await.unwrap();
            }
        };
        futures_util::join!(write, look);
        let (files, kib) = on_disk(&path);
        assert_eq!(w.counts("data").await, format!("{files}|{kib}|0"));
    });
}
