//! The one table of routes: routing, 405s, metrics labels and access rules come from it.

use std::{future::Future, pin::Pin};

use http::Method;

use super::{Call, auth, folders, graphql, kernel, kernel_files, openapi, stream, ticket, upload, version};
use crate::{
    auth::ApiVersion,
    http::{Answer, Kind, Problem},
    telemetry::RouteLabel,
};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Whoever signs with an active key.
    Key,
    /// The same, or whoever brings a ticket that such a one was issued.
    Ticket,
}

/// What a request counts besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Nothing.
    Request,
    /// One query of the session in the path.
    Session,
    /// The same, and the handler wants to know how the run in the body stands.
    Run,
}

/// What a handler gives.
pub type Handled = Pin<Box<dyn Future<Output = Result<Answer, Problem>>>>;

/// A row of the table.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path below a version's prefix, with `{name}` for a part that is a parameter.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What it counts.
    pub counts: Counts,
    /// What answers it.
    pub handler: fn(Call) -> Handled,
}

macro_rules! routes {
    ($($method:ident $path:literal $access:ident $counts:ident => $handler:path;)*) => {
        /// All routes.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            access: Access::$access,
            counts: Counts::$counts,
            handler: |call| Box::pin($handler(call)),
        },)*];
    };
}

routes! {
    GET "/" Open Request => version::show;
    GET "/openapi.json" Open Request => openapi::show;
    GET "/authorize" Key Request => auth::authorize;
    POST "/authorize" Key Request => auth::authorize;
    GET "/auth" Key Request => auth::authorize;
    POST "/auth" Key Request => auth::authorize;
    GET "/auth/test" Key Request => auth::authorize;
    POST "/auth/test" Key Request => auth::authorize;
    POST "/auth/ticket" Key Request => ticket::issue;
    POST "/kernel/create" Key Request => kernel::create;
    POST "/kernel" Key Request => kernel::create;
    GET "/kernel/{id}" Key Session => kernel::info;
    DELETE "/kernel/{id}" Key Session => kernel::destroy;
    POST "/kernel/{id}" Key Run => kernel::execute;
    PATCH "/kernel/{id}" Key Session => kernel::restart;
    POST "/kernel/{id}/interrupt" Key Session => kernel::interrupt;
    POST "/kernel/{id}/complete" Key Session => kernel::complete;
    GET "/kernel/{id}/logs" Key Session => kernel::logs;
    GET "/kernel/{id}/files" Key Session => kernel_files::list;
    GET "/kernel/{id}/download" Key Session => kernel_files::download;
    POST "/kernel/{id}/upload" Key Session => upload::upload;
    POST "/folders" Key Request => folders::create;
    GET "/folders" Key Request => folders::list;
    GET "/folders/invitations/list" Key Request => folders::invitations;
    POST "/folders/invitations/accept" Key Request => folders::accept;
    DELETE "/folders/invitations/delete" Key Request => folders::refuse;
    GET "/folders/{name}" Key Request => folders::info;
    DELETE "/folders/{name}" Key Request => folders::delete;
    POST "/folders/{name}/upload" Key Request => folders::upload;
    POST "/folders/{name}/mkdir" Key Request => folders::mkdir;
    GET "/folders/{name}/files" Key Request => folders::files;
    GET "/folders/{name}/download" Key Request => folders::download;
    DELETE "/folders/{name}/delete_files" Key Request => folders::delete_files;
    POST "/folders/{name}/invite" Key Request => folders::invite;
    POST "/admin/graphql" Key Request => graphql::execute;
    POST "/folder/create" Key Request => version::not_implemented;
    GET "/folder/{id}" Key Request => version::not_implemented;
    DELETE "/folder/{id}" Key Request => version::not_implemented;
    GET "/stream/kernel/{id}/pty" Ticket Session => stream::pty;
    GET "/stream/kernel/{id}/execute" Ticket Session => stream::execute;
    GET "/stream/kernel/{id}/events" Ticket Request => stream::events;
}

/// The index that telemetry has for requests that met no route.
pub const NO_ROUTE: usize = ROUTES.len();

/// Labels of `/metrics`, by index.
pub fn labels() -> Vec<RouteLabel<'static>> {
    let known = ROUTES.iter().map(|route| RouteLabel { method: route.method.as_str(), path: route.path });
    known.chain([RouteLabel { method: "*", path: "*" }]).collect()
}

/// Where a request goes.
#[derive(Debug)]
pub struct Match {
    /// The row of the table, as an index.
    pub index: usize,
    /// The path's parameter, as sent: percent-decoded by whoever parses it.
    pub param: Option<String>,
}

impl Match {
    /// The row of the table.
    pub fn route(&self) -> Option<&'static Route> {
        ROUTES.get(self.index)
    }
}

/// Where a request is not served.
#[derive(Debug)]
pub enum Unrouted {
    /// There is no such path, or no such version.
    Problem(Problem),
    /// There is such a path, with these methods.
    Methods(Vec<&'static Method>),
}

/// Finds a request's route.
///
/// # Errors
/// There is none.
pub fn find(method: &Method, path: &str) -> Result<Match, Unrouted> {
    let (_, rest) = split_version(path).map_err(Unrouted::Problem)?;
    let parts = split(rest);
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut methods = Vec::new();
    for (index, route) in ROUTES.iter().enumerate() {
        let Some(param) = fits(route.path, &parts) else { continue };
        if route.method == *wanted {
            return Ok(Match { index, param: param.map(str::to_owned) });
        }
        if !methods.contains(&&route.method) {
            methods.push(&route.method);
        }
    }
    if methods.is_empty() { Err(Unrouted::Problem(Kind::NotFound.into())) } else { Err(Unrouted::Methods(methods)) }
}

/// The version that a path names.
pub fn version(path: &str) -> Option<ApiVersion> {
    split_version(path).ok()?.0
}

/// The version of a `/v3/…` and the rest of the path.
fn split_version(path: &str) -> Result<(Option<ApiVersion>, &str), Problem> {
    let trimmed = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = trimmed.split_once('/').unwrap_or((trimmed, ""));
    let Some(digits) = first.strip_prefix('v').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    else {
        return Ok((None, trimmed));
    };
    let version = digits.parse().ok().and_then(ApiVersion::of_major);
    match version {
        Some(version) => Ok((Some(version), rest)),
        None => Err(Kind::BadRequest.because("Unsupported API major version.")),
    }
}

/// The parts of a path without its first slash; one slash at its end does not count.
fn split(path: &str) -> Vec<&str> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

/// Whether the parts are those of a row's path, and its parameter.
fn fits<'a>(pattern: &str, parts: &[&'a str]) -> Option<Option<&'a str>> {
    let mut param = None;
    let mut parts = parts.iter();
    for wanted in pattern.split('/').filter(|part| !part.is_empty()) {
        let part = *parts.next()?;
        if wanted.starts_with('{') {
            if part.is_empty() {
                return None;
            }
            param = Some(part);
        } else if wanted != part {
            return None;
        }
    }
    parts.next().is_none().then_some(param)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> (&'static str, Option<String>, Option<u16>) {
        let found = find(&method, path).unwrap();
        (found.route().unwrap().path, found.param, version(path).map(ApiVersion::major))
    }

    #[test]
    fn every_route_is_found_with_and_without_each_prefix() {
        for route in ROUTES {
            let path = route.path.replace("{id}", "x1").replace("{name}", "x1");
            for prefix in ["", "/v1", "/v2", "/v3", "/v4"] {
                let (pattern, param, version) = found(route.method.clone(), &format!("{prefix}{path}"));
                assert_eq!(pattern, route.path);
                assert_eq!(param.is_some(), route.path.contains('{'));
                assert_eq!(version.is_some(), !prefix.is_empty());
            }
        }
    }

    #[test]
    fn a_slash_at_the_end_is_optional_and_a_prefix_alone_is_the_root() {
        assert_eq!(found(Method::POST, "/v3/kernel/").0, "/kernel");
        assert_eq!(found(Method::GET, "/v4"), ("/", None, Some(4)));
        assert_eq!(found(Method::GET, "/"), ("/", None, None));
        assert_eq!(found(Method::HEAD, "/v2/").0, "/");
    }

    #[test]
    fn what_has_no_route_says_why() {
        let status = |path: &str| match find(&Method::PUT, path) {
            Err(Unrouted::Problem(problem)) => problem.kind().status().as_u16(),
            Err(Unrouted::Methods(methods)) => 405 + u16::from(methods.is_empty()),
            Ok(_) => 200,
        };
        assert_eq!(status("/v9/kernel/x"), 400);
        assert_eq!(status("/v99999999999/kernel/x"), 400);
        assert_eq!(status("/vx/kernel/x"), 404);
        assert_eq!(status("/kernel//"), 404);
        assert_eq!(status("//"), 404);
        assert_eq!(status("/nothing"), 404);
        assert_eq!(status("/kernel/x"), 405);
        assert_eq!(status("/"), 405);
    }
}
