use super::*;

/// Peak resident memory of this process in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_file_goes_up_and_down_on_both_engines() {
    for engine in [Engine::IoUring, Engine::Epoll] {
        run_on(engine, |w| async move {
            w.folder("data").await;
            let content: Vec<u8> = (0..1_500_000u32).map(|n| (n % 249) as u8).collect();
            assert_eq!(put(&w.folders, "OWNER", "data", &[("a/b", &content), ("c", b"")]).await.unwrap(), 2);
            assert!(get(&w.folders, "OWNER", "data", "a/b").await.unwrap() == content);
            let both = w.folders.download("OWNER", "data", vec![p("c"), p("a/b")]).await.unwrap();
            assert_eq!(
                (both.total(), both.files()[1].size(), both.files()[0].path().as_str()),
                (1_500_000, 1_500_000, "c")
            );
            let listed = w.folders.files("OWNER", "data", Some(p("a"))).await.unwrap();
            assert_eq!((listed.len(), listed[0].size), (1, 1_500_000));
        });
    }
}

#[test]
fn an_upload_that_is_broken_off_leaves_nothing() {
    run(|w| async move {
        let path = w.folder("data").await;
        let mut upload = w.folders.upload("OWNER", "data").await.unwrap();
        let whole = upload.begin(p("deep/whole")).await.unwrap().write(b"x").await.unwrap();
        upload.finish(whole).await.unwrap();
        let half = upload.begin(p("half")).await.unwrap().write(&vec![0; 300_000]).await.unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2);
        drop((upload, half));
        until_empty(&path).await;
        assert_eq!(w.counts("data").await, "0|0|0");
    });
}

#[test]
fn a_commit_whose_request_goes_away_ends_all_the_same() {
    run(|w| async move {
        w.folder("data").await;
        let mut upload = w.folders.upload("OWNER", "data").await.unwrap();
        let file = upload.begin(p("f")).await.unwrap().write(b"x").await.unwrap();
        upload.finish(file).await.unwrap();
        let mut commit = Box::pin(upload.commit());
        assert!(futures_util::poll!(&mut commit).is_pending());
        drop(commit);
        let there = async {
            while w.counts("data").await != "1|1|0" {
                engine::sleep(Duration::from_millis(5)).await;
            }
        };
        engine::timeout(Duration::from_secs(30), there).await.expect("half done");
        assert_eq!(get(&w.folders, "OWNER", "data", "f").await.unwrap(), b"x");
    });
}

#[test]
fn files_are_removed_all_or_none_and_directories_only_if_asked() {
    run(|w| async move {
        w.folder("data").await;
        put(&w.folders, "OWNER", "data", &[("a", b"x"), ("d/b", b"x"), ("d/c", b"x")]).await.unwrap();
        let remove = async |paths: &[&str], recursive: bool| {
            let paths = paths.iter().copied().map(p).collect();
            w.folders.delete_files("OWNER", "data", paths, recursive).await
        };
        assert!(matches!(remove(&["a", "d"], false).await, Err(Error::Files(fs::FsError::IsADirectory(_)))));
        assert!(matches!(remove(&["a", "none"], true).await, Err(Error::Files(fs::FsError::NotFound(_)))));
        assert_eq!(w.counts("data").await, "3|3|0");
        remove(&["a", "d", "d/b", "a"], true).await.unwrap();
        assert_eq!(w.counts("data").await, "0|0|0");
        assert!(w.folders.files("OWNER", "data", None).await.unwrap().is_empty());
    });
}

#[test]
fn too_many_files_at_once_are_told() {
    run(|w| async move {
        w.folder("data").await;
        let paths = (0..=MAX_DOWNLOAD_FILES).map(|n| p(&n.to_string())).collect();
        let error = w.folders.download("OWNER", "data", paths).await.unwrap_err();
        assert!(matches!(error, Error::TooManyFiles(MAX_DOWNLOAD_FILES)) && error.is_clients());
    });
}

/// 2 GiB up and down cost at most 8 MiB of memory. In a process of its own, where nothing else runs:
/// `cargo test -p backendai --lib -- --ignored --exact vfolder::tests::transfer::two_gib_cost_little_memory`
#[test]
#[ignore = "writes 2 GiB, and counts the memory of the whole process"]
fn two_gib_cost_little_memory() {
    run(|w| async move {
        w.folder("data").await;
        w.sql("UPDATE vfolders SET max_size = 4194304");
        put(&w.folders, "OWNER", "data", &[("warm", &vec![1; 1 << 20])]).await.unwrap();
        get(&w.folders, "OWNER", "data", "warm").await.unwrap();
        let before = peak();
        let mut upload = w.folders.upload("OWNER", "data").await.unwrap();
        let mut file = upload.begin(p("big")).await.unwrap();
        let piece = vec![3; 64 << 10];
        for _ in 0..32 << 10 {
            file = file.write(&piece).await.unwrap();
        }
        upload.finish(file).await.unwrap();
        upload.commit().await.unwrap();
        let download = w.folders.download("OWNER", "data", vec![p("big")]).await.unwrap();
        let mut read = 0;
        loop {
            let piece = download.files()[0].read(read).await.unwrap();
            if piece.is_empty() {
                break;
            }
            read += piece.len() as u64;
        }
        assert_eq!(read, 2 << 30);
        let more = peak() - before;
        println!("{more} KiB more at the peak");
        assert!(more <= 8 << 10, "{more} KiB");
    });
}
