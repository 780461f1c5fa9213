//! A request as handlers see it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header, request::Parts};
use http_body_util::BodyExt;
use hyper::{body::Incoming, upgrade::OnUpgrade};

use super::{
    Kind, Problem, RequestBody, RequestId,
    unread::{Leftovers, Unread},
};
use crate::engine;

/// Longest time that a JSON body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// Head and, until it is read, body of a request.
#[derive(Debug)]
pub struct Request {
    parts: Parts,
    body: Option<Unread>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// The address of the client, which may have called by way of proxies.
    pub client: IpAddr,
    /// Its id, in the answer and in the log.
    pub id: RequestId,
}

impl Request {
    /// Puts together what the connection gave; what is not read of its body goes to `leftovers`.
    pub(super) fn new(
        request: http::Request<Incoming>,
        peer: SocketAddr,
        client: IpAddr,
        id: RequestId,
        leftovers: Leftovers,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let body = Unread::new(body, &parts.headers, leftovers);
        Request { parts, body: Some(body), peer, client, id }
    }

    /// The method that was really sent.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path as sent, without the query.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Path and query as sent.
    pub fn path_and_query(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", |both| both.as_str())
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// A header's value, if it is there and is text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The media type of the body without its parameters, as sent.
    pub fn media_type(&self) -> Option<&str> {
        self.header(header::CONTENT_TYPE).map(|value| value.split(';').next().unwrap_or_default().trim())
    }

    /// The body, at most `limit` bytes of it, to be read part by part.
    pub fn take_body(&mut self, limit: u64) -> RequestBody {
        RequestBody::new(self.body.take(), limit)
    }

    /// The connection itself, once a 101 has been answered; `None` if the client did not ask for that.
    pub fn take_upgrade(&mut self) -> Option<OnUpgrade> {
        self.parts.extensions.remove()
    }

    /// Reads the whole body; the second call gives nothing.
    ///
    /// # Errors
    /// 413 if it is longer than `limit` bytes, 408 if it takes too long, 400 if it is broken off or ill-framed.
    pub async fn read_body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let Some(body) = self.body.take() else { return Ok(Bytes::new()) };
        let (is_empty, at_least) = body.size();
        if is_empty {
            return Ok(Bytes::new());
        }
        if at_least > limit as u64 {
            return Err(too_large(limit));
        }
        match engine::timeout(BODY_TIME, collect(body, limit)).await {
            Some(read) => read,
            None => Err(Kind::RequestTimeout.into()),
        }
    }
}

fn too_large(limit: usize) -> Problem {
    Kind::BodyTooLarge.because(format!("at most {limit} bytes"))
}

async fn collect(mut unread: Unread, limit: usize) -> Result<Bytes, Problem> {
    let mut whole = BytesMut::new();
    while let Some(body) = unread.body()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| Kind::BadRequest.because("the body is broken"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if whole.is_empty() && unread.size().0 {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
