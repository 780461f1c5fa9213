//! Our ZMTP against libzmq, through pyzmq.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use rmpv::Value;

use super::{events, *};
use crate::{
    agents::{AgentPool, CallError, Link},
    engine::{Listener, Stream},
    wire::{
        event::EventKind,
        rpc::{Answer, RemoteError, Request},
        zmtp::{Event, Limits, Session, SocketType, Subscriptions},
    },
};

/// A Python process; ended when dropped.
struct Peer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(args: &[&str]) -> Peer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/zmtp_peer.py");
        let mut command = Command::new(python());
        let mut child = command.arg(script).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Peer { child, output }
    }

    /// The next line, which begins with this word, without it.
    fn line(&mut self, word: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().strip_prefix(word).unwrap_or_else(|| panic!("the peer says {line:?}")).trim_start().to_owned()
    }

    fn ports(&mut self) -> Vec<SocketAddr> {
        let line = self.line("port");
        line.split(' ').map(|port| SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))).collect()
    }

    /// Waits for its end.
    async fn ends_well(&mut self) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > LONG => panic!("the peer does not end"),
                None => engine::sleep(Duration::from_millis(5)).await,
            }
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python of the peers' environment, which is made when it is first needed.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        // target/debug/deps/<this test>
        let test = std::env::current_exe().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/venv.sh");
        let made =
            Command::new(script).arg(test.ancestors().nth(3).unwrap()).stderr(Stdio::inherit()).output().unwrap();
        assert!(made.status.success(), "the peers' Python environment could not be made");
        String::from_utf8(made.stdout).unwrap().trim().into()
    })
}

#[test]
fn an_agent_on_libzmq_answers() {
    on_both(|| async {
        let mut peer = Peer::start(&["router"]);
        let (addr, pool) = (format!("tcp://{}", peer.ports()[0]), AgentPool::new());
        let call = |method, args| pool.call(&addr, method, args, LONG);
        let value =
            Value::Map(vec![("é".into(), Value::Array(vec![Value::Nil, 1.5.into(), Value::Binary(vec![0, 255])]))]);
        assert_eq!(call("echo", vec![value.clone()]).await, Ok(value));
        let error = call("raise", vec!["boom".into()]).await.unwrap_err();
        assert_eq!(error.exception().unwrap(), "RuntimeError('boom')");
        assert!(call("reboot", vec![]).await.unwrap_err().is_method_not_found());

        let megabytes = 30 << 20;
        assert_eq!(call("size", vec![Value::Binary(vec![7; megabytes])]).await, Ok(megabytes.into()));
        assert_eq!(call("give", vec![megabytes.into()]).await, Ok(Value::Binary(vec![b'x'; megabytes])));
    });
}

#[test]
fn pings_of_libzmq_are_answered_while_nobody_calls() {
    on_both(|| async {
        let mut peer = Peer::start(&["pinging_router"]);
        let (addr, pool) = (format!("tcp://{}", peer.ports()[0]), AgentPool::new());
        let before = pool.call(&addr, "who", vec![], LONG).await.unwrap();
        // It pings every 50 ms and gives up after 1 s without an answer.
        engine::sleep(Duration::from_millis(2500)).await;
        assert_eq!(pool.call(&addr, "who", vec![], LONG).await, Ok(before));
    });
}

#[test]
fn an_agent_that_is_killed_loses_its_calls() {
    on_both(|| async {
        let mut peer = Peer::start(&["router"]);
        let (addr, pool) = (format!("tcp://{}", peer.ports()[0]), AgentPool::new());
        assert_eq!(pool.call(&addr, "echo", vec![1.into()], LONG).await, Ok(1.into()));
        let big = Value::Binary(vec![0; 30 << 20]);
        let call = pool.call(&addr, "echo", vec![big], LONG);
        let end = async {
            engine::yield_now().await;
            peer.child.kill().unwrap();
        };
        assert_eq!(futures_util::join!(call, end).0, Err(CallError::Lost));
    });
}

#[test]
fn events_pushed_by_libzmq_arrive_whole_and_in_order() {
    on_both(|| async {
        let (fd, addr) = listening();
        let port = events::serve(fd, addr, "127.0.0.0/8");
        let mut peer = Peer::start(&["push", &format!("tcp://{addr}"), "i-py", "2000"]);
        peer.ends_well().await;
        until("all events are there", || port.seen.borrow().len() == 2003).await;
        let seen = port.seen.borrow();
        assert!(seen.iter().all(|event| event.agent == "i-py"));
        let EventKind::Heartbeat(heartbeat) = &seen[0].kind else { panic!("{:?}", seen[0]) };
        assert_eq!((heartbeat.mem_slots, heartbeat.cpu_slots, heartbeat.gpu_slots), (1024, 2.0, 0.5));
        assert_eq!(seen[1].kind, EventKind::Started);
        for (number, event) in seen[2..2002].iter().enumerate() {
            let EventKind::KernelTerminated { id, stats: Some(_), .. } = &event.kind else { panic!("{event:?}") };
            assert_eq!(*id, format!("kernel-{number}"));
        }
        assert_eq!(seen[2002].kind, EventKind::Terminated { reason: "shutdown".into() });
    });
}

#[test]
fn a_gateway_on_libzmq_is_answered() {
    on_both(|| async {
        let (fd, addr) = listening();
        let listener = Listener::from_fd(fd).unwrap();
        let mut peer = Peer::start(&["dealer", &format!("tcp://{addr}")]);
        let (stream, _) = listener.accept().await.unwrap();
        let mut link = Link::handshake(stream, Session::new(SocketType::Router, b"", Limits::RPC)).await.unwrap();
        while let Ok(event) = link.next().await {
            let Event::Message(frames) = event else { continue };
            let request = Request::parse(&frames).unwrap();
            let answer = match request.method.as_str() {
                "echo" => Ok(&request.args[0]),
                other => Err(RemoteError::method_not_found(other)),
            };
            link.send(&Answer::frames(&request.header, answer.as_ref().copied())).await.unwrap();
        }
        peer.ends_well().await;
    });
}

#[test]
fn a_terminal_of_a_kernel_on_libzmq_reads_and_writes() {
    on_both(|| async {
        let mut peer = Peer::start(&["kernel"]);
        let ports = peer.ports();
        let connect = |addr, socket| async move {
            let stream = Stream::connect_tcp(addr).await.unwrap();
            Link::handshake(stream, Session::new(socket, b"", Limits::RPC)).await.unwrap()
        };
        let mut stdin = connect(ports[0], SocketType::Pub).await;
        let mut stdout = connect(ports[1], SocketType::Sub).await;
        stdout.session().subscribe(b"");
        stdout.flush().await.unwrap();
        assert_eq!(stdin.next().await.unwrap(), Event::Subscribe(bytes::Bytes::new()));
        // A publisher drops what nobody subscribed to yet, so say it until it is heard.
        let heard = loop {
            stdin.send(&[b"ab"]).await.unwrap();
            if let Some(event) = engine::timeout(Duration::from_millis(50), stdout.next()).await {
                break event.unwrap();
            }
        };
        assert_eq!(heard, Event::Message(vec!["abab".into()]));
    });
}

#[test]
fn a_subscriber_on_libzmq_gets_what_it_wants() {
    on_both(|| async {
        let (fd, addr) = listening();
        let listener = Listener::from_fd(fd).unwrap();
        let mut peer = Peer::start(&["sub", &format!("tcp://{addr}"), "b"]);
        let (stream, _) = listener.accept().await.unwrap();
        let mut link = Link::handshake(stream, Session::new(SocketType::Pub, b"", Limits::RPC)).await.unwrap();
        let mut wanted = Subscriptions::default();
        match link.next().await.unwrap() {
            Event::Subscribe(prefix) => wanted.add(prefix),
            other => panic!("{other:?}"),
        }
        for text in ["a1", "b2", "b3"] {
            if wanted.wants(text.as_bytes()) {
                link.send(&[text]).await.unwrap();
            }
        }
        peer.ends_well().await;
        assert_eq!(peer.line("got"), "b2");
    });
}
