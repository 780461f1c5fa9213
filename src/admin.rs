//! The operator's routes, on a listener of their own: health, readiness, metrics, workers, the API's description.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::{
    api,
    http::{Answer, Kind, Problem, Request, Served, Service},
    telemetry::{self, CountersMap},
};

/// Says of each store whether it answers.
pub type Health = Rc<dyn Fn() -> Vec<(&'static str, bool)>>;

/// The service of the operator's listener.
pub struct AdminService {
    health: Health,
    counters: CountersMap,
}

impl AdminService {
    /// Over this worker's health and all workers' counters.
    pub fn new(health: Health, counters: CountersMap) -> Self {
        AdminService { health, counters }
    }

    fn answer(&self, request: &Request) -> Result<Answer, Problem> {
        const ROUTES: [&str; 5] = ["/livez", "/readyz", "/metrics", "/workers", "/docs"];
        if !ROUTES.contains(&request.path()) {
            return Err(Kind::NotFound.into());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = Answer::from(Problem::from(Kind::MethodNotAllowed));
            refused.set(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(refused);
        }
        Ok(match request.path() {
            "/livez" => Answer::json(StatusCode::OK, &json!({"alive": true})),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(),
            "/docs" => documentation(),
            _ => Answer::json(StatusCode::OK, &telemetry::workers(self.counters)),
        })
    }

    /// Ready, or which stores are missing, by name.
    fn readiness(&self) -> Answer {
        let stores = (self.health)();
        let missing: Vec<_> = stores.iter().filter(|(_, up)| !up).map(|(name, _)| *name).collect();
        let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Answer::json(status, &json!({"ready": missing.is_empty(), "missing": missing}))
    }

    fn metrics(&self) -> Answer {
        let text = telemetry::render_metrics(self.counters, &api::labels());
        Answer::bytes(StatusCode::OK, HeaderValue::from_static("text/plain; version=0.0.4"), text.into())
    }
}

/// The description of the API, for people.
fn documentation() -> Answer {
    const TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
    let mut answer = Answer::bytes(StatusCode::OK, TYPE, Bytes::from_static(api::openapi::page().as_bytes()));
    let nothing_from_elsewhere = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    answer.set(header::CONTENT_SECURITY_POLICY, nothing_from_elsewhere);
    answer
}

impl Service for AdminService {
    async fn call(&self, request: Request) -> Served {
        let answer = self.answer(&request).unwrap_or_else(Answer::from);
        Served { answer, route: 0, access_key: None }
    }
}
