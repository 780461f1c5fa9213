//! Private servers for tests: real PostgreSQL, etcd and Redis, each in a folder and on a port of its own.
//!
//! A test against a stand-in proves little about what a store does under a race, so tests start the real
//! program. Every server runs under a small guard process (`guard.sh`) that ends it, by its process id, and
//! removes its folder as soon as the test program is gone, however that ended: by returning, by a panic, or
//! by a kill. That also lets one server be shared by all tests of a program ([`Postgres::shared`]).
//!
//! This is compiled into the library because both unit and end-to-end tests use it; nothing else does. What
//! goes wrong here is a broken test machine, so it panics and says what is missing.
#![allow(clippy::expect_used, clippy::panic)]

mod etcd;
mod guard;
mod port;
mod postgres;
mod redis;

pub use etcd::Etcd;
pub use guard::{Guarded, find_program};
pub use port::free_port;
pub use postgres::Postgres;
pub use redis::Redis;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    #[test]
    fn redis_and_etcd_answer_on_their_ports() {
        let (redis, etcd) = (Redis::start(), Etcd::start());
        let ask = |port: u16, text: &str| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert_eq!(ask(redis.port, "PING\r\nQUIT\r\n"), "+PONG\r\n+OK\r\n");
        assert!(ask(etcd.port, "GET /version HTTP/1.0\r\n\r\n").contains("etcdserver"));
    }
}
