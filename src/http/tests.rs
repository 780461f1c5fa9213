//! What clients get from a server whose services misbehave, on both engines, over real sockets.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    time::Duration,
};

use super::*;
use crate::engine::{self, Engine, Listener, block_on};

const BOTH: [Engine; 2] = [Engine::IoUring, Engine::Epoll];

/// Serves a client that blocks, on both engines, until it has its answers.
fn on_both<S: Service, T: Send + 'static>(make: fn() -> S, client: fn(SocketAddr) -> T) -> Vec<T> {
    on_both_within(Limits::default(), make, client)
}

/// The same with other limits.
fn on_both_within<S: Service, T: Send + 'static>(
    limits: Limits,
    make: fn() -> S,
    client: fn(SocketAddr) -> T,
) -> Vec<T> {
    let on = |engine| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let run = move || async move {
            let drain = Drain::new();
            let serving = Serving { limits, tls: None, drain: drain.clone(), drain_time: Duration::ZERO };
            let listener = Listener::from_fd(listener.into()).unwrap();
            let answers = async {
                let answers = engine::offload(move || client(addr)).await;
                drain.begin();
                answers
            };
            futures_util::future::join(serve(listener, Rc::new(make()), serving), answers).await.1
        };
        block_on(engine, run).unwrap()
    };
    BOTH.into_iter().map(on).collect()
}

/// A connection of a client.
struct Client(BufReader<TcpStream>);

/// An answer: its status, its head in lower case, its body.
struct Seen {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        // Only so that a test which fails does so.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn get(&mut self, path: &str) -> Seen {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        self.read()
    }

    fn read(&mut self) -> Seen {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "the connection ended: {head:?}");
        }
        let head = head.to_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let mut body = Vec::new();
        match field("content-length: ") {
            Some(length) => {
                body.resize(length.parse().unwrap(), 0);
                self.0.read_exact(&mut body).unwrap();
            }
            None => self.read_chunks(&mut body),
        }
        Seen { status: head[9..12].parse().unwrap(), head, body }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) {
        loop {
            let mut size = String::new();
            self.0.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk).unwrap();
            assert_eq!(chunk.split_off(size), b"\r\n");
            if size == 0 {
                return;
            }
            body.append(&mut chunk);
        }
    }

    /// What is left until the server ends the connection.
    fn rest(mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(rest)
    }
}

fn served(answer: impl Into<Answer>) -> Served {
    Served { answer: answer.into(), route: 0, access_key: None }
}

/// Reads nothing and refuses.
struct Refuses;

impl Service for Refuses {
    async fn call(&self, _request: Request) -> Served {
        served(Problem::from(Kind::AuthFailed))
    }
}

/// Panics at once, in a task and on another thread, or answers.
struct Panics;

impl Service for Panics {
    async fn call(&self, request: Request) -> Served {
        match request.path() {
            "/at-once" => panic!("at once"),
            "/later" => {
                engine::yield_now().await;
                panic!("later");
            }
            "/elsewhere" => engine::offload(|| panic!("elsewhere")).await,
            "/aside" => engine::spawn(async { panic!("aside") }),
            _ => {}
        }
        served(Answer::empty(http::StatusCode::NO_CONTENT))
    }
}

#[test]
fn a_panic_ends_one_request_with_its_id_and_not_the_worker() {
    let answers = on_both(
        || Panics,
        |addr| {
            let mut client = Client::connect(addr);
            ["/at-once", "/later", "/elsewhere", "/aside", "/"].map(|path| client.get(path))
        },
    );
    for answers in answers {
        assert_eq!(answers.each_ref().map(|seen| seen.status), [500, 500, 500, 204, 204]);
        for failed in &answers[..3] {
            let document: serde_json::Value = serde_json::from_slice(&failed.body).unwrap();
            assert_eq!(document["type"], "https://api.backend.ai/probs/internal-server-error");
            let id = failed.head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
            assert_eq!(document["title"], format!("Internal server error. (request {id})"));
        }
    }
}

/// What hyper says to a request that it cannot parse.
const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n";

/// Streams a body of some pieces, as a file that is downloaded.
struct Streams;

impl Service for Streams {
    async fn call(&self, _request: Request) -> Served {
        let (sender, body) = chunks();
        engine::spawn(async move {
            for piece in [BARE, "\r\n", "more", BARE] {
                sender.send(Ok(piece.into())).await.unwrap();
            }
        });
        let content_type = http::HeaderValue::from_static("application/octet-stream");
        served(Answer::stream(http::StatusCode::OK, content_type, body))
    }
}

#[test]
fn a_file_that_looks_like_an_answer_is_not_touched_and_the_next_bad_request_is_told() {
    let seen = on_both(
        || Streams,
        |addr| {
            let mut client = Client::connect(addr);
            let files = [client.get("/"), client.get("/")];
            client.send(b"GET / HTTP/9.9\r\n\r\n").unwrap();
            (files.map(|file| String::from_utf8(file.body).unwrap()), client.read())
        },
    );
    for (files, told) in seen {
        let whole = format!("{BARE}\r\nmore{BARE}");
        assert_eq!(files, [whole.clone(), whole]);
        let document: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!((told.status, document["title"].as_str()), (400, Some("Bad request.")));
    }
}

const POST_1_GIB: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n";

#[test]
fn who_is_refused_while_sending_reads_why_and_may_go_on() {
    let statuses = on_both(
        || Refuses,
        |addr| {
            let mut client = Client::connect(addr);
            let post = |framing: &str| format!("POST / HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n").into_bytes();
            let big = vec![b'x'; 32 << 20];
            client.send(&post(&format!("content-length: {}", big.len()))).unwrap();
            client.send(&big).unwrap();
            let first = client.read();
            client.send(&post("transfer-encoding: chunked")).unwrap();
            for piece in big.chunks(1 << 20) {
                client.send(b"100000\r\n").unwrap();
                client.send(piece).unwrap();
                client.send(b"\r\n").unwrap();
            }
            client.send(b"0\r\n\r\n").unwrap();
            [first.status, client.read().status, client.get("/").status]
        },
    );
    assert_eq!(statuses, [[401; 3]; 2]);
}

#[test]
fn what_nobody_wants_is_not_read_for_ever() {
    let sent = on_both(
        || Refuses,
        |addr| {
            let mut client = Client::connect(addr);
            client.send(POST_1_GIB).unwrap();
            let piece = vec![b'x'; 1 << 20];
            (0..1024).take_while(|_| client.send(&piece).is_ok()).count()
        },
    );
    assert!(sent.iter().all(|mebibytes| (60..200).contains(mebibytes)), "{sent:?}");
}

#[test]
fn who_waits_to_be_asked_is_not_asked_for_what_nobody_wants() {
    let heads = on_both(
        || Refuses,
        |addr| {
            let mut client = Client::connect(addr);
            client.send(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n").unwrap();
            (client.read().status, client.rest().unwrap())
        },
    );
    assert_eq!(heads, [(401, vec![]), (401, vec![])]);
}

/// Says what it was asked, or a lot, or how many connections are open.
#[derive(Default)]
struct Echoes {
    open: Cell<usize>,
}

/// More than sockets hold.
const A_LOT: usize = 32 << 20;

impl Service for Echoes {
    async fn call(&self, mut request: Request) -> Served {
        let text = match request.path().to_owned().as_str() {
            "/a-lot" => "x".repeat(A_LOT),
            "/open" => self.open.get().to_string(),
            path => format!("{path} {}", String::from_utf8_lossy(&request.read_body(1000).await.unwrap())),
        };
        served(Answer::json(http::StatusCode::OK, &serde_json::Value::from(text)))
    }

    fn open(&self, connections: usize, _come: bool) {
        self.open.set(connections);
    }
}

/// Whoever waits is parked at once.
fn parking() -> Limits {
    Limits { park_after: Duration::ZERO, ..Limits::default() }
}

const TWO: &[u8] = b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nPOST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab";

#[test]
fn a_parked_connection_goes_on_wherever_the_next_request_is_cut() {
    let bodies = on_both_within(parking(), Echoes::default, |addr| {
        let mut client = Client::connect(addr);
        let cuts = (1..TWO.len()).map(|cut| {
            client.send(&TWO[..cut]).unwrap();
            client.send(&TWO[cut..]).unwrap();
            [client.read().body, client.read().body].concat()
        });
        cuts.collect::<Vec<_>>()
    });
    for bodies in bodies.concat() {
        assert_eq!(String::from_utf8(bodies).unwrap(), "\"/1 \"\"/2 ab\"");
    }
}

#[test]
fn heads_are_waited_for_only_so_long_parked_or_not() {
    for park_after in [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(600)] {
        let limits = Limits { park_after, head_time: Duration::from_secs(1), ..Limits::default() };
        let seen = on_both_within(limits, Echoes::default, |addr| {
            let silent = Client::connect(addr);
            let mut fresh = Client::connect(addr);
            fresh.send(b"GET / HT").unwrap();
            let mut used = Client::connect(addr);
            used.get("/");
            used.send(b"GET / HT").unwrap();
            let told = [fresh.read(), used.read()].map(|seen| (seen.status, seen.head.contains("connection: close")));
            (silent.rest().unwrap(), told)
        });
        assert_eq!(seen, [(vec![], [(408, true); 2]), (vec![], [(408, true); 2])], "{park_after:?}");
    }
}

#[test]
fn who_takes_an_answer_slowly_gets_all_of_it() {
    let limits = Limits { head_time: Duration::from_secs(1), ..parking() };
    let lengths = on_both_within(limits, Echoes::default, |addr| {
        let [mut client, mut sender] = [(); 2].map(|()| Client::connect(addr));
        client.send(b"GET /a-lot HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        // A body that nobody reads ends after its answer: hyper waits for the next head then, whatever is unwritten.
        sender.send(b"POST /a-lot HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n").unwrap();
        // Ended when heads have been waited for longer than they may take.
        Client::connect(addr).rest().unwrap();
        sender.send(b"ab").unwrap();
        Client::connect(addr).rest().unwrap();
        [&mut client, &mut sender].map(|client| [client.read().body.len(), client.get("/").body.len()])
    });
    assert_eq!(lengths, [[[A_LOT + 2, 4]; 2]; 2]);
}

#[test]
fn who_takes_nothing_of_an_answer_is_not_waited_for_for_ever() {
    let limits = Limits { stall_time: Duration::from_millis(50), ..Limits::default() };
    let left = on_both_within(limits, Echoes::default, |addr| {
        let mut client = Client::connect(addr);
        client.send(b"GET /a-lot HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut other = Client::connect(addr);
        while other.get("/open").body != b"\"2\"" {}
        while other.get("/open").body != b"\"1\"" {}
        client.rest().map_or(0, |rest| rest.len())
    });
    assert!(left.iter().all(|left| *left < A_LOT), "{left:?}");
}
