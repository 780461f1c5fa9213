use futures_util::future::join_all;

use super::*;

#[test]
fn a_folder_is_made_listed_described_and_removed() {
    run(|w| async move {
        let id = w.folders.create("OWNER", &"data".parse().unwrap(), None).await.unwrap();
        let path = w.dir.path().join("vol").join(id.simple().to_string());
        assert!(path.is_dir());
        let listed = w.folders.list("OWNER").await.unwrap();
        let [folder] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!((folder.id, folder.name.as_str(), folder.host.as_str()), (id, "data", "vol"));
        assert_eq!((folder.is_owner, folder.permission), (true, Permission::WriteDelete));
        put(&w.folders, "OWNER", "data", &[("a", b"x"), ("d/b", b"y")]).await.unwrap();
        let info = w.folders.info("OWNER", "data").await.unwrap();
        assert_eq!((info.folder.id, info.usage.files, info.usage.kib), (id, 2, 2));
        assert!(info.folder.created_at.is_some());
        assert!(w.folders.list("THIRD").await.unwrap().is_empty());
        assert!(matches!(w.folders.info("THIRD", "data").await, Err(Error::NotFound)));
        assert!(matches!(w.folders.delete("THIRD", "data", true).await, Err(Error::NotFound)));
        w.folders.delete("OWNER", "data", false).await.unwrap();
        assert!(!path.exists());
        assert!(w.folders.list("OWNER").await.unwrap().is_empty());
        assert!(matches!(w.folders.delete("OWNER", "data", false).await, Err(Error::NotFound)));
    });
}

#[test]
fn of_many_that_make_one_name_at_once_one_wins_and_no_directory_is_left() {
    run(|w| async move {
        let workers = join_all((0..4).map(|_| w.worker())).await;
        let name: FolderName = "same".parse().unwrap();
        let all = join_all(workers.iter().flat_map(|it| (0..4).map(|_| it.create("OWNER", &name, None)))).await;
        assert_eq!(all.iter().filter(|it| it.is_ok()).count(), 1);
        assert!(all.iter().all(|it| matches!(it, Ok(_) | Err(Error::AlreadyExists))), "{all:?}");
        assert_eq!(w.sql("SELECT count(*) FROM vfolders"), "1");
        let visible = |entry: &std::fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
        let left = std::fs::read_dir(w.dir.path().join("vol")).unwrap().flatten().filter(visible).count();
        assert_eq!(left, 1);
        // Another key may use the name.
        w.folders.create("THIRD", &name, None).await.unwrap();
    });
}

#[test]
fn a_folder_is_made_on_a_volume_that_is_there_only() {
    run(|w| async move {
        let name: FolderName = "data".parse().unwrap();
        assert!(matches!(w.folders.create("OWNER", &name, Some("third")).await, Err(Error::BadHost(_))));
        assert!(matches!(w.folders.create("OWNER", &name, Some("..")).await, Err(Error::BadHost(_))));
        w.folders.create("OWNER", &name, Some("second")).await.unwrap();
        assert!(w.dir.path().join("second").is_dir());
        w.sql("UPDATE keypairs SET is_active = false WHERE access_key = 'THIRD'");
        assert!(matches!(w.folders.create("THIRD", &name, None).await, Err(Error::KeyInactive)));
    });
}

#[test]
fn a_folder_that_a_live_session_has_stays_unless_forced() {
    run(|w| async move {
        w.folder("data").await;
        let id = w.folders.list("OWNER").await.unwrap()[0].id;
        let kernel = uuid::Uuid::new_v4();
        w.sql(&format!(
            "INSERT INTO kernels (id, sess_id, agent_addr, access_key, mem_slot, cpu_slot, gpu_slot, repl_in_port, \
             repl_out_port, stdin_port, stdout_port, status) \
             VALUES ('{kernel}', 's', 'a', 'OWNER', 1, 1, 0, 0, 0, 0, 0, 'RUNNING')"
        ));
        let postgres = &w.folders.postgres;
        use crate::store::postgres::vfolders;
        assert_eq!(vfolders::attach(postgres, kernel, &[id, uuid::Uuid::new_v4()]).await.unwrap(), 1);
        assert_eq!(vfolders::attach(postgres, kernel, &[id]).await.unwrap(), 1, "again is fine");
        assert_eq!(w.sql("SELECT last_used IS NOT NULL FROM vfolders"), "t");
        assert!(matches!(w.folders.delete("OWNER", "data", false).await, Err(Error::InUse)));
        vfolders::detach(postgres, kernel).await.unwrap();
        vfolders::attach(postgres, kernel, &[id]).await.unwrap();
        w.sql("UPDATE kernels SET status = 'TERMINATED'");
        w.folders.delete("OWNER", "data", false).await.unwrap();
        w.folder("more").await;
        let id = w.folders.list("OWNER").await.unwrap()[0].id;
        w.sql("UPDATE kernels SET status = 'PREPARING'");
        vfolders::attach(postgres, kernel, &[id]).await.unwrap();
        assert!(matches!(w.folders.delete("OWNER", "more", false).await, Err(Error::InUse)));
        w.folders.delete("OWNER", "more", true).await.unwrap();
        assert_eq!(vfolders::attach(postgres, kernel, &[id]).await.unwrap(), 0, "it is gone");
    });
}

#[test]
fn a_volume_that_is_away_keeps_its_folders() {
    run(|w| async move {
        w.folder("data").await;
        let (volume, aside) = (w.dir.path().join("vol"), w.dir.path().join("aside"));
        std::fs::rename(&volume, &aside).unwrap();
        let error = w.folders.delete("OWNER", "data", false).await.unwrap_err();
        assert!(!error.is_clients(), "{error}");
        assert!(matches!(w.folders.files("OWNER", "data", None).await, Err(Error::Files(fs::FsError::Volume(..)))));
        std::fs::rename(&aside, &volume).unwrap();
        w.folders.delete("OWNER", "data", false).await.unwrap();
    });
}

#[test]
fn sessions_mount_what_their_key_has_and_read_only_what_it_may_only_read() {
    use crate::store::postgres::vfolders::mounts;
    run(|w| async move {
        w.folder("own").await;
        w.folder("read").await;
        w.folder("write").await;
        w.let_in("read", Permission::ReadOnly, "2", "GUEST").await;
        w.let_in("write", Permission::ReadWrite, "2", "GUEST").await;
        let names = ["own", "read", "write"].map(str::to_owned);
        let of = async |key: &str| {
            let all = mounts(&w.folders.postgres, key, &names).await.unwrap();
            all.into_iter().map(|it| (it.name, it.read_only)).collect::<Vec<_>>()
        };
        let named = |all: &[(&str, bool)]| all.iter().map(|(name, ro)| ((*name).to_owned(), *ro)).collect::<Vec<_>>();
        assert_eq!(of("OWNER").await, named(&[("own", false), ("read", false), ("write", false)]));
        assert_eq!(of("GUEST").await, named(&[("read", true), ("write", false)]));
        assert_eq!(of("GUEST2").await, named(&[]));
    });
}
