use super::*;
use crate::{
    config::{HostPort, Secret},
    store::postgres::connect::ConnectError,
    testing::free_port,
};

fn refusal(change: impl FnOnce(&mut Connections)) -> (ConnectError, String) {
    let mut at = Database::empty().at;
    change(&mut at);
    let error = run(connect(&at, "test")).err().unwrap();
    let text = error.to_string();
    (error, text)
}

#[test]
fn nobody_there_is_told_with_the_address() {
    let port = free_port();
    let (error, text) = refusal(|at| at.db_addr = HostPort { host: "127.0.0.1".into(), port });
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(text.starts_with(&format!("cannot reach PostgreSQL at 127.0.0.1:{port}: ")), "{text}");
}

#[test]
fn a_wrong_password_is_told_with_the_user_and_without_the_password() {
    let (error, text) = refusal(|at| at.db_password = Some(Secret::new("not-the-one")));
    assert!(matches!(error, ConnectError::WrongPassword { .. }), "{error:?}");
    assert!(text.contains("\"postgres\"") && !text.contains("not-the-one"), "{text}");
    assert!(!format!("{error:?}").contains("not-the-one"));
}

#[test]
fn a_missing_password_is_told_apart_from_a_wrong_one() {
    let (error, _) = refusal(|at| at.db_password = None);
    assert!(matches!(error, ConnectError::NoPassword { .. }), "{error:?}");
}

#[test]
fn a_missing_database_is_told_by_name() {
    let (error, text) = refusal(|at| at.db_name = "nowhere".into());
    assert!(matches!(error, ConnectError::NoDatabase { .. }), "{error:?}");
    assert!(text.contains("\"nowhere\""), "{text}");
}

#[test]
fn a_port_that_takes_connections_but_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = silent.local_addr().unwrap().port();
    let (error, text) = refusal(|at| at.db_addr = HostPort { host: "127.0.0.1".into(), port });
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(text.ends_with("it does not answer in time"), "{text}");
}
