//! What a session may have put into a folder to lead the gateway astray.

use std::os::unix::net::UnixListener;

use nix::unistd::mkfifo;

use super::*;

/// Every operation on a path that leads outside is refused, and nothing outside is touched.
fn assert_refused(v: &Volume, below: &str) {
    let outside = |result: Result<(), FsError>, what: &str| {
        assert!(matches!(result, Err(FsError::Outside(_))), "{what} {below}: {result:?}");
    };
    let secret = format!("{below}/secret");
    outside(v.download(&secret).map(drop), "download");
    outside(v.upload(&secret, "x").map(drop), "upload");
    outside(v.upload(&format!("{below}/new"), "x").map(drop), "upload new");
    outside(v.upload(&format!("{below}/new/deep"), "x").map(drop), "upload deep");
    outside(v.folder.make_directory(&p(&format!("{below}/new"))), "mkdir");
    outside(v.folder.find(&p(&secret)).map(drop), "find");
    outside(v.remove(&secret).map(drop), "remove");
    outside(v.names(Some(below)).map(drop), "list");
    v.assert_outside_is_whole();
}

#[test]
fn links_to_a_directory_outside_lead_nowhere() {
    let v = Volume::new();
    link(v.outside(), v.at("absolute"));
    link("../../outside", v.at("relative"));
    link("..", v.at("up"));
    link("/", v.at("slash"));
    link("/proc/self/root", v.at("magic"));
    link("relative", v.at("twice"));
    fs::create_dir(v.at("sub")).unwrap();
    link("../../../outside", v.at("sub/deep"));
    for below in ["absolute", "relative", "up/../outside", "sub/deep", "twice"] {
        match FolderPath::parse(below) {
            Ok(_) => assert_refused(&v, below),
            Err(error) => assert!(matches!(error, super::super::super::BadPath::Part(_))),
        }
    }
    for below in ["up", "slash", "magic"] {
        assert!(matches!(v.names(Some(below)), Err(FsError::Outside(_))), "{below}");
        assert!(matches!(v.upload(&format!("{below}/x"), "x"), Err(FsError::Outside(_))), "{below}");
    }
    assert!(!v.dir.path().join("x").exists() && !v.volume().join("x").exists());
}

#[test]
fn links_to_a_file_outside_are_neither_read_nor_written_through() {
    let v = Volume::new();
    link(v.outside().join("secret"), v.at("absolute"));
    link("../../outside/secret", v.at("relative"));
    link("../../outside/new", v.at("dangling"));
    for name in ["absolute", "relative", "dangling"] {
        assert!(matches!(v.download(name), Err(FsError::Outside(_))), "{name}");
        // An upload replaces the link itself, and so does its removal.
        v.upload(name, "mine").unwrap();
        assert_eq!(v.download(name).unwrap(), "mine");
    }
    v.assert_outside_is_whole();
    link("../../outside/secret", v.at("again"));
    assert_eq!(v.remove("again").unwrap(), usage(1, 0));
    link("../../outside", v.at("again"));
    assert_eq!(v.folder.find(&p("again")).unwrap(), Found::File);
    assert_eq!(v.remove("again").unwrap(), usage(1, 0));
    v.assert_outside_is_whole();
}

#[test]
fn removing_and_counting_do_not_follow_links() {
    let v = Volume::new();
    v.upload("t/file", "x").unwrap();
    link("../../outside", v.at("outside"));
    link("../../../outside", v.at("t/outside"));
    link("../../../../outside/secret", v.at("t/secret"));
    assert_eq!(v.count(), usage(4, 1));
    assert_eq!(v.remove("t").unwrap(), usage(3, 1));
    finish(Folder::take_away(&v.volume(), v.id).unwrap().unwrap());
    v.assert_outside_is_whole();
}

#[test]
fn links_that_stay_inside_work() {
    let v = Volume::new();
    v.upload("real/f", "here").unwrap();
    link("real", v.at("alias"));
    link("real/../real/f", v.at("file"));
    assert_eq!(v.download("alias/f").unwrap(), "here");
    assert_eq!(v.download("file").unwrap(), "here");
    v.upload("alias/g", "there").unwrap();
    assert_eq!(v.names(Some("alias")).unwrap(), ["f", "g"]);
    link("circle", v.at("circle"));
    assert!(matches!(v.download("circle"), Err(FsError::Outside(_))));
}

#[test]
fn the_folder_itself_may_not_be_a_link() {
    let v = Volume::new();
    let id = Uuid::new_v4();
    link(v.outside(), v.volume().join(id.simple().to_string()));
    assert!(matches!(Folder::open(&v.volume(), id), Err(FsError::Volume(..))));
    finish(Folder::take_away(&v.volume(), id).unwrap().unwrap());
    v.assert_outside_is_whole();
}

#[test]
fn what_is_no_file_is_not_opened() {
    let v = Volume::new();
    mkfifo(&v.at("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    let _socket = UnixListener::bind(v.at("socket")).unwrap();
    fs::create_dir(v.at("dir")).unwrap();
    // Neither waits for somebody to write into the FIFO.
    for name in ["fifo", "socket", "dir"] {
        assert!(matches!(v.download(name), Err(FsError::NotAFile(_))), "{name}");
    }
    v.upload("fifo", "x").unwrap();
    assert_eq!(v.download("fifo").unwrap(), "x");
}

#[test]
fn names_that_only_look_like_a_way_out_are_names() {
    let v = Volume::new();
    for name in ["%2e%2e", "..%2fx", "a\\..\\b", "...", "a\nb"] {
        v.upload(name, "x").unwrap();
        assert_eq!(v.download(name).unwrap(), "x");
    }
    assert_eq!(v.count(), usage(5, 5));
    v.assert_outside_is_whole();
}

#[test]
fn a_path_that_linux_finds_too_long_is_told() {
    let v = Volume::new();
    let long = vec!["x".repeat(200); 20].join("/");
    v.upload(&long, "x").unwrap();
    assert_eq!(v.download(&long).unwrap(), "x");
    assert_eq!(v.count(), usage(1, 1));
}

#[test]
fn a_file_that_a_session_holds_a_lease_on_does_not_hold_a_thread() {
    let v = Volume::new();
    v.upload("f", "x").unwrap();
    let mut holder = std::process::Command::new("python3")
        .args(["-c", LEASE, v.at("f").to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "held\n");
    assert!(matches!(v.download("f"), Err(FsError::Busy(_))));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(v.download("f").unwrap(), "x");
}

/// Takes a write lease on a file and keeps it, whoever asks for it, until its input ends.
const LEASE: &str = "
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], 'r+')
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
";
