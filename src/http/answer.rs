//! What a handler answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::body::AnswerBody;

/// A response before the server adds what every response has.
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: AnswerBody,
}

impl Answer {
    /// A JSON document.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        // Only a map with keys that are not text can fail; our answers have none.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Answer::bytes(status, HeaderValue::from_static("application/json; charset=utf-8"), body.into())
    }

    /// A body of any type.
    pub fn bytes(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(header::CONTENT_TYPE, content_type);
        Answer { status, headers, body: AnswerBody::Whole(body) }
    }

    /// A body that a producer goes on making; see [`super::chunks`].
    pub fn stream(status: StatusCode, content_type: HeaderValue, body: AnswerBody) -> Self {
        Answer { body, ..Answer::bytes(status, content_type, Bytes::new()) }
    }

    /// 101: from here on the connection speaks another protocol.
    pub fn switching(protocol: HeaderValue) -> Self {
        let mut answer = Answer::empty(StatusCode::SWITCHING_PROTOCOLS);
        answer.headers.clear();
        answer.set(header::UPGRADE, protocol);
        answer.set(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer
    }

    /// Nothing but a status; clients of 2017 read `Content-Type` and `Content-Length` of a 204 too.
    pub fn empty(status: StatusCode) -> Self {
        Answer::bytes(status, HeaderValue::from_static("application/octet-stream"), Bytes::new())
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Bytes of the body, as far as they are known.
    pub fn known_len(&self) -> usize {
        match &self.body {
            AnswerBody::Whole(bytes) => bytes.len(),
            AnswerBody::Nothing | AnswerBody::Chunks(_) => 0,
        }
    }

    /// Sets a header, in place of what it was.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    /// The response as hyper takes it.
    pub fn into_response(mut self) -> http::Response<AnswerBody> {
        if let (AnswerBody::Whole(bytes), false) = (&self.body, self.status.is_informational()) {
            self.headers.insert(header::CONTENT_LENGTH, (bytes.len() as u64).into());
        }
        if self.status == StatusCode::NO_CONTENT {
            self.body = AnswerBody::Nothing;
        }
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
