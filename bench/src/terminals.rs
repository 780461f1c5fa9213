//! Viewers of terminals in which nothing happens: what each costs is what it holds while it waits.

use std::net::SocketAddr;

use jiff::Timestamp;

use crate::{
    error::Error,
    load::Connection,
    sign::{Request, V4},
    workload::Session,
};

/// What every simulated terminal shows to who comes, and how it comes to a viewer, in base64.
pub const SHOWN: (&[u8], &[u8]) = (b"ready", b"\"cmVhZHk=\"");

/// Opens the terminal of each session; each has shown something once this returns, so that its way to the kernel is
/// there.
///
/// # Errors
/// One does not open, or shows nothing.
pub async fn open(api: SocketAddr, sessions: &[Session]) -> Result<Vec<Connection>, Error> {
    let mut open = Vec::with_capacity(sessions.len());
    for Session { key, name } in sessions {
        let request = Request::get(&format!("/v4/stream/kernel/{name}/pty"), V4);
        let request = upgrade(request.to_bytes(&api.to_string(), Some(key), false, Timestamp::now()));
        let mut connection = Connection::open(api).await.map_err(Error::failed)?;
        let answer = connection.ask(&request).await.map_err(Error::failed)?;
        if answer.status != 101 {
            return Err(Error::failed(format!("the terminal of {name}: {answer:?}")));
        }
        connection.forget(answer.len);
        connection.until(SHOWN.1).await.map_err(|error| Error::failed(format!("the terminal of {name}: {error}")))?;
        open.push(connection);
    }
    Ok(open)
}

/// The same request, for a WebSocket (RFC 6455, whose example's key this is).
fn upgrade(mut request: Vec<u8>) -> Vec<u8> {
    request.truncate(request.len().saturating_sub(2));
    request.extend_from_slice(
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upgrade_is_part_of_the_head() {
        let bytes = upgrade(Request::get("/v4", V4).to_bytes("h:1", None, false, Timestamp::UNIX_EPOCH));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("GET /v4 HTTP/1.1\r\nHost: h:1\r\nConnection: Upgrade\r\n"), "{text}");
        assert_eq!((text.find("\r\n\r\n").unwrap() + 4, text.matches("\r\n\r\n").count()), (text.len(), 1));
    }
}
