//! What honest clients do.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, time::Duration};

use super::*;

#[test]
fn a_file_goes_up_and_comes_down_in_pieces() {
    let v = Volume::new();
    let content: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let mut incoming = v.folder.begin_upload(p("a/b/c.bin")).unwrap();
    for piece in content.chunks(7919) {
        incoming.write(piece).unwrap();
    }
    assert!(v.names(None).unwrap().is_empty(), "an unfinished upload is seen");
    let mut staged = incoming.finish().unwrap();
    assert_eq!(staged.usage(), usage(1, 293));
    staged.place().unwrap();
    assert_eq!(staged.end(), usage(0, 0));
    let opened = v.folder.open_file(&p("a/b/c.bin")).unwrap();
    assert_eq!(opened.size(), 300_000);
    let mut read = Vec::new();
    while read.len() < content.len() {
        let piece = opened.read(read.len() as u64, 65_536).unwrap();
        assert!(!piece.is_empty() && piece.len() <= 65_536);
        read.extend(piece);
    }
    assert_eq!(read, content);
    assert!(opened.read(300_000, 65_536).unwrap().is_empty());
    assert_eq!(v.all_names(), ["a"]);
}

#[test]
fn what_is_dropped_before_its_place_leaves_nothing() {
    let v = Volume::new();
    let mut incoming = v.folder.begin_upload(p("deep/down/x")).unwrap();
    incoming.write(b"half").unwrap();
    assert_eq!(v.all_names().len(), 1);
    drop(incoming);
    assert!(v.all_names().is_empty());
    drop(v.folder.begin_upload(p("deep/down/x")).unwrap().finish().unwrap());
    assert!(v.all_names().is_empty(), "not even the directories were made");
}

/// A file of three bytes that is whole but not at its place.
fn staged(v: &Volume, path: &str) -> Staged {
    let mut incoming = v.folder.begin_upload(p(path)).unwrap();
    incoming.write(b"new").unwrap();
    incoming.finish().unwrap()
}

#[test]
fn a_file_that_is_replaced_is_counted_off_and_can_come_back() {
    let v = Volume::new();
    v.upload("f", &"x".repeat(5000)).unwrap();
    let mut file = staged(&v, "f");
    file.place().unwrap();
    assert_eq!(v.download("f").unwrap(), "new");
    file.take_back();
    assert_eq!(file.end(), usage(1, 1), "the new one");
    assert_eq!((v.download("f").unwrap().len(), v.all_names()), (5000, vec!["f".into()]));
    let mut file = staged(&v, "f");
    file.place().unwrap();
    assert_eq!(file.end(), usage(1, 5), "the old one");
    assert_eq!((v.download("f").unwrap(), v.count(), v.all_names()), ("new".into(), usage(1, 1), vec!["f".into()]));
}

#[test]
fn room_is_made_and_given_back() {
    let v = Volume::new();
    v.upload("f", &"x".repeat(5000)).unwrap();
    let mut file = staged(&v, "f");
    assert_eq!(file.make_room().unwrap(), usage(1, 5));
    assert!(v.names(None).unwrap().is_empty());
    file.place().unwrap();
    file.take_back();
    assert_eq!((v.download("f").unwrap().len(), file.end()), (5000, usage(1, 1)));
    let mut file = staged(&v, "f");
    file.make_room().unwrap();
    file.place().unwrap();
    assert_eq!((file.end(), v.download("f").unwrap()), (usage(1, 5), "new".into()));
    assert_eq!(staged(&v, "none/such").make_room().unwrap(), usage(0, 0));
    assert_eq!(v.all_names(), ["f"]);
}

#[test]
fn a_new_file_can_be_taken_back() {
    let v = Volume::new();
    let mut file = staged(&v, "f");
    file.place().unwrap();
    file.take_back();
    assert_eq!(file.end(), usage(1, 1));
    assert!(v.all_names().is_empty());
}

#[test]
fn what_others_put_in_its_place_is_not_taken_back() {
    let v = Volume::new();
    for before in [false, true] {
        if before {
            v.upload("f", &"x".repeat(5000)).unwrap();
        }
        let (mut ours, old) = (staged(&v, "f"), usage(i64::from(before), if before { 5 } else { 0 }));
        ours.place().unwrap();
        assert_eq!(v.upload("f", "theirs").unwrap(), usage(0, 0), "for ours");
        ours.take_back();
        assert_eq!((v.download("f").unwrap(), ours.end()), ("theirs".into(), old));
        // Nor does what was removed come back.
        let mut ours = staged(&v, "f");
        ours.place().unwrap();
        assert_eq!(v.remove("f").unwrap(), usage(1, 1));
        ours.take_back();
        assert_eq!((ours.end(), v.all_names().len()), (usage(1, 1), 0), "theirs of before");
    }
}

#[test]
fn a_volume_that_cannot_exchange_names_replaces_all_the_same() {
    let v = Volume::new();
    for (size, expected) in [(5000, usage(0, 0)), (3, usage(1, 5))] {
        let mut incoming = v.folder.begin_upload(p("d/f")).unwrap();
        incoming.write(&vec![b'x'; size]).unwrap();
        let mut file = incoming.finish().unwrap();
        file.place_by(false).unwrap();
        assert_eq!(file.end(), expected);
    }
    assert_eq!((v.download("d/f").unwrap(), v.all_names()), ("xxx".into(), vec!["d".into()]));
}

#[test]
fn directories_are_made_with_their_parents_and_again() {
    let v = Volume::new();
    v.folder.make_directory(&p("a/b/c")).unwrap();
    v.folder.make_directory(&p("a/b/c")).unwrap();
    v.upload("a/file", "x").unwrap();
    assert!(matches!(v.folder.make_directory(&p("a/file")), Err(FsError::NotADirectory(_))));
    assert!(matches!(v.folder.make_directory(&p("a/file/d")), Err(FsError::NotADirectory(_))));
    assert!(matches!(v.upload("a/b", "x"), Err(FsError::IsADirectory(_))));
    assert!(matches!(v.upload("a/file/x", "x"), Err(FsError::NotADirectory(_))));
    assert_eq!(v.count(), usage(1, 1));
}

#[test]
fn a_listing_tells_what_the_original_told() {
    let v = Volume::new();
    v.upload("b.txt", "12345").unwrap();
    v.folder.make_directory(&p("a")).unwrap();
    fs::write(v.at("").join(OsStr::from_bytes(b"odd\xff")), "").unwrap();
    fs::set_permissions(v.at("b.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500_000_000_250);
    File::open(v.at("b.txt")).unwrap().set_times(fs::FileTimes::new().set_modified(time)).unwrap();
    let entries = v.folder.list(None).unwrap();
    assert_eq!(entries.iter().map(|it| it.filename.as_str()).collect::<Vec<_>>(), ["a", "b.txt", "odd\u{fffd}"]);
    let file = &entries[1];
    assert_eq!((file.mode.as_str(), file.size, file.mtime), ("-rw-r-----", 5, 1_500_000_000.25));
    let keys: Vec<_> = serde_json::to_value(file).unwrap().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["mode", "size", "ctime", "mtime", "atime", "filename"]);
    assert!(entries[0].mode.starts_with('d'));
    assert!(v.names(Some("a")).unwrap().is_empty());
    assert!(matches!(v.names(Some("none")), Err(FsError::NotFound(_))));
    assert!(matches!(v.names(Some("b.txt")), Err(FsError::NotADirectory(_))));
}

#[test]
fn modes_are_written_as_ls_does() {
    let table = [
        (0o100_644, "-rw-r--r--"),
        (0o040_755, "drwxr-xr-x"),
        (0o041_777, "drwxrwxrwt"),
        (0o120_777, "lrwxrwxrwx"),
        (0o104_755, "-rwsr-xr-x"),
        (0o106_644, "-rwSr-Sr--"),
        (0o101_000, "---------T"),
        (0o010_600, "prw-------"),
        (0o140_700, "srwx------"),
        (0o020_620, "crw--w----"),
        (0o060_660, "brw-rw----"),
        (0, "?---------"),
    ];
    for (mode, expected) in table {
        assert_eq!(file_mode(mode), expected);
    }
}

#[test]
fn a_tree_is_removed_and_counted_whatever_its_shape() {
    let v = Volume::new();
    for n in 0..5 {
        for m in 0..5 {
            v.upload(&format!("t/{n}/{m}/file"), &"x".repeat(2000)).unwrap();
            v.folder.make_directory(&p(&format!("t/{n}/{m}/empty/empty"))).unwrap();
        }
    }
    v.upload("stays", "x").unwrap();
    link("t", v.at("t/loop"));
    assert_eq!(v.count(), usage(27, 51));
    assert_eq!(v.folder.find(&p("t")).unwrap(), Found::Directory);
    let removal = v.folder.take(&p("t")).unwrap();
    assert!(matches!(v.folder.find(&p("t")), Err(FsError::NotFound(_))), "gone at once");
    assert_eq!(finish(removal), usage(26, 50));
    assert_eq!((v.all_names(), v.count()), (vec!["stays".into()], usage(1, 1)));
}

#[test]
fn a_tree_deeper_than_any_path_is_removed() {
    let v = Volume::new();
    let name = "d".repeat(200);
    let mut at = File::open(v.at("")).unwrap();
    for _ in 0..100 {
        mkdirat(&at, name.as_str(), DIRECTORY_MODE).unwrap();
        at = beneath::open_plain(at.as_fd(), name.as_str(), OFlag::O_DIRECTORY).unwrap().into();
    }
    fs::write(v.at("top"), "").unwrap();
    assert_eq!(v.count(), usage(1, 0));
    finish(v.folder.take(&p(&name)).unwrap());
    assert_eq!(v.all_names(), ["top"]);
}

#[test]
fn a_whole_folder_is_taken_away_at_once_and_left_overs_are_found() {
    let v = Volume::new();
    v.upload("a/b", "x").unwrap();
    let removal = Folder::take_away(&v.volume(), v.id).unwrap().unwrap();
    assert!(matches!(Folder::open(&v.volume(), v.id), Err(FsError::Volume(..))));
    assert!(Folder::take_away(&v.volume(), v.id).unwrap().is_none());
    drop(removal); // as if killed
    let left = Folder::left_over(&v.volume()).unwrap();
    assert_eq!(left.into_iter().map(finish).collect::<Vec<_>>(), [usage(1, 1)]);
    assert!(fs::read_dir(v.volume()).unwrap().next().is_none());
}

#[test]
fn what_killed_processes_left_is_cleared_away_after_a_day_and_not_counted_before() {
    let v = Volume::new();
    v.upload("kept", "x").unwrap();
    std::mem::forget(v.folder.begin_upload(p("lost")).unwrap());
    v.upload("tree/file", "x").unwrap();
    drop(v.folder.take(&p("tree")).unwrap());
    assert_eq!((v.count(), v.all_names().len()), (usage(1, 1), 3));
    let walk_at = |hours: u64| {
        let mut walk = v.folder.walk(SystemTime::now() + Duration::from_secs(3600 * hours));
        while !walk.step(2).unwrap() {}
        (walk.counted(), v.all_names().len())
    };
    assert_eq!(walk_at(23), (usage(1, 1), 3));
    assert_eq!(walk_at(25), (usage(1, 1), 1));
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_told() {
    let v = Volume::new();
    v.upload("f", "0123456789").unwrap();
    let opened = v.folder.open_file(&p("f")).unwrap();
    fs::write(v.at("f"), "01234").unwrap();
    assert_eq!(opened.read(0, 5).unwrap(), b"01234");
    assert!(matches!(opened.read(5, 5), Err(FsError::Shrunk(_))));
    fs::write(v.at("f"), "0123456789abcdef").unwrap();
    assert_eq!(opened.read(5, 64).unwrap(), b"56789", "no more than was promised");
}

#[test]
fn a_volume_that_is_not_there_is_told_by_its_path() {
    let v = Volume::new();
    let error = Folder::open(&v.dir.path().join("nowhere"), v.id).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(matches!(Folder::open(&v.volume(), Uuid::new_v4()), Err(FsError::Volume(..))));
    assert!(matches!(Folder::create(&v.dir.path().join("no/parent"), v.id), Err(FsError::Volume(..))));
}
