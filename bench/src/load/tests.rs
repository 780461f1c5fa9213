//! The generator against servers that answer well, badly and not at all.

use tokio::net::TcpListener;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Serves each request of a connection the next of these answers; after the last the connection ends.
async fn server(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let mut request = [0; REQUEST.len()];
                for answer in answers {
                    if stream.read_exact(&mut request).await.is_err() {
                        return;
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

fn outcome(answers: &'static [&'static str], count: u64, keep_alive: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let shot = Shot { bytes: REQUEST.into(), expect: 200 };
        let target = server(answers).await;
        let plan = Plan { target, connections: 2, keep_alive, scripts: vec![[shot].into()], end: End::Count(count) };
        drive(plan).await.unwrap()
    })
}

#[test]
fn as_many_requests_as_wanted_are_sent_and_counted() {
    for keep_alive in [true, false] {
        let outcome = outcome(&[GOOD; 60], 50, keep_alive);
        assert_eq!((outcome.answered, outcome.errors.len()), (50, 0), "{outcome:?}");
        assert!(outcome.latencies.percentile(1.0) >= outcome.latencies.percentile(0.5));
    }
}

#[test]
fn an_announced_end_is_no_error_and_an_end_without_a_word_is() {
    const ANNOUNCED: &[&str] = &[GOOD, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"];
    assert_eq!(outcome(ANNOUNCED, 20, true).errors, BTreeMap::new());
    let outcome = outcome(&[GOOD], 20, true);
    // Which of the two it is, the kernel decides.
    let broken: u64 = outcome.errors.values().sum();
    assert!(broken > 0 && outcome.answered + broken == 20, "{outcome:?}");
}

#[test]
fn each_kind_of_error_has_its_name() {
    let errors = |answer: &'static [&'static str]| outcome(answer, 2, true).errors.into_keys().collect::<Vec<_>>();
    assert_eq!(errors(&["HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"; 4]), ["status 503"]);
    assert_eq!(errors(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"]), ["closed within an answer"]);
    assert_eq!(errors(&["nothing of HTTP\r\n\r\n"]), ["malformed answer"]);
}

#[test]
fn nobody_elses_machine_is_loaded() {
    let shot = Shot { bytes: REQUEST.into(), expect: 200 };
    let target = "192.0.2.1:80".parse().unwrap();
    let plan = Plan { target, connections: 1, keep_alive: true, scripts: vec![[shot].into()], end: End::Count(1) };
    assert!(run(plan).unwrap_err().to_string().contains("loopback"));
}
