//! What a Docker registry has: which tags, and the digest of each (Distribution API, version 2).
//!
//! An image `python` of ours is the repository `kernel-python` below the registry's path, as the original has it.
//! Calls block: they are made seldom, by administrators, on threads that may wait.

use std::time::Duration;

use serde::Deserialize;
use ureq::{Agent, Body, http::Response};

/// Longest time for one request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 4 << 20;
/// Pages of a list of tags that are read; registries give a hundred or a thousand tags a page.
const PAGES_MAX: usize = 100;
/// What stands before an image's name in its repository's.
const PREFIX: &str = "kernel-";
/// The kinds of manifests that there are: of one platform and of several, Docker's own and the standard's. The digest
/// that a registry names is of the first that it has.
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.image.manifest.v1+json";

/// A registry, and where our images are in it.
pub struct DockerRegistry {
    agent: Agent,
    /// `https://host:port`.
    origin: String,
    /// Nothing, or the path with a slash at its end: `lablup/`.
    path: String,
    /// For the repository that was asked for last.
    token: Option<String>,
}

/// Why a registry gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its address is none.
    #[error("{0:?} is no address of a registry: it looks like https://registry.example/path")]
    Address(String),
    /// It cannot be reached, or does not speak HTTP.
    #[error("{url}: {reason}")]
    Away {
        /// What was asked for.
        url: String,
        /// What the HTTP client said.
        reason: String,
    },
    /// It refuses.
    #[error("{url}: the registry answers {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Its status.
        status: u16,
    },
    /// Its answer makes no sense.
    #[error("{url}: {what}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        what: &'static str,
    },
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

// === impl DockerRegistry ===

impl DockerRegistry {
    /// The registry at an address: a scheme, a host, and the path below which our images are.
    ///
    /// # Errors
    /// It is no address.
    pub fn at(address: &str) -> Result<Self, RegistryError> {
        let wrong = || RegistryError::Address(address.to_owned());
        let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(scheme, "http" | "https") || host.is_empty() || path.contains(['?', '#']) {
            return Err(wrong());
        }
        let path = path.trim_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("{path}/") };
        let config = Agent::config_builder().timeout_global(Some(REQUEST_TIME)).http_status_as_error(false).build();
        Ok(DockerRegistry { agent: config.new_agent(), origin: format!("{scheme}://{host}"), path, token: None })
    }

    /// The tags of an image with their digests; `None` where there is no such repository.
    ///
    /// # Errors
    /// The registry is away, refuses, or makes no sense.
    pub fn tags(&mut self, image: &str) -> Result<Option<Vec<(String, String)>>, RegistryError> {
        let repository = format!("{}/v2/{}{PREFIX}{image}", self.origin, self.path);
        self.token = None;
        let Some(names) = self.tag_names(&repository)? else { return Ok(None) };
        let mut tags = Vec::new();
        for name in names {
            // One that was removed meanwhile has none.
            if let Some(digest) = self.digest(&repository, &name)? {
                tags.push((name, digest));
            }
        }
        Ok(Some(tags))
    }

    fn tag_names(&mut self, repository: &str) -> Result<Option<Vec<String>>, RegistryError> {
        let mut names = Vec::new();
        let mut url = format!("{repository}/tags/list");
        for _ in 0..PAGES_MAX {
            let Some(mut answer) = self.get(&url)? else { return Ok(None) };
            let next = next_page(&self.origin, header(&answer, "link"));
            let page: Tags = read(&url, &mut answer)?;
            names.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) => url = next,
                None => return Ok(Some(names)),
            }
        }
        Err(RegistryError::Malformed { url, what: "the list of tags does not end" })
    }

    fn digest(&mut self, repository: &str, tag: &str) -> Result<Option<String>, RegistryError> {
        let url = format!("{repository}/manifests/{tag}");
        let Some(answer) = self.get(&url)? else { return Ok(None) };
        let digest = header(&answer, "docker-content-digest").filter(|digest| digest.contains(':'));
        match digest {
            Some(digest) => Ok(Some(digest.to_owned())),
            None => Err(RegistryError::Malformed { url, what: "the manifest has no digest" }),
        }
    }

    /// An answer of 200, or `None` for 404. A registry that wants a token is asked for one, as for anybody.
    fn get(&mut self, url: &str) -> Result<Option<Response<Body>>, RegistryError> {
        let mut answer = self.send(url)?;
        if answer.status() == 401
            && let Some(challenge) = header(&answer, "www-authenticate").and_then(token_url)
        {
            self.token = Some(self.fetch_token(&challenge)?);
            answer = self.send(url)?;
        }
        match answer.status().as_u16() {
            200 => Ok(Some(answer)),
            404 => Ok(None),
            status => Err(RegistryError::Refused { url: url.to_owned(), status }),
        }
    }

    fn send(&self, url: &str) -> Result<Response<Body>, RegistryError> {
        let request = self.agent.get(url).header("Accept", MANIFESTS);
        let request = match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        request.call().map_err(|error| RegistryError::Away { url: url.to_owned(), reason: error.to_string() })
    }

    fn fetch_token(&self, url: &str) -> Result<String, RegistryError> {
        let away = |error: ureq::Error| RegistryError::Away { url: url.to_owned(), reason: error.to_string() };
        let mut answer = self.agent.get(url).call().map_err(away)?;
        let token: Token = read(url, &mut answer)?;
        let missing = RegistryError::Malformed { url: url.to_owned(), what: "the answer has no token" };
        token.token.or(token.access_token).ok_or(missing)
    }
}

fn header<'a>(answer: &'a Response<Body>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

fn read<T: serde::de::DeserializeOwned>(url: &str, answer: &mut Response<Body>) -> Result<T, RegistryError> {
    let bytes = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
    let bytes = bytes.map_err(|error| RegistryError::Away { url: url.to_owned(), reason: error.to_string() })?;
    let malformed = RegistryError::Malformed { url: url.to_owned(), what: "the answer is not what was asked for" };
    serde_json::from_slice(&bytes).map_err(|_| malformed)
}

/// The next page that a `Link` header names, which is always one of the same registry: `</v2/…>; rel="next"`.
fn next_page(origin: &str, link: Option<&str>) -> Option<String> {
    let (target, rest) = link?.strip_prefix('<')?.split_once('>')?;
    let path = target.strip_prefix(origin).unwrap_or(target);
    (rest.contains("next") && path.starts_with('/')).then(|| format!("{origin}{path}"))
}

/// Where a token is to be had, by a challenge like `Bearer realm="https://auth.example/token",service="s",scope="c"`.
fn token_url(challenge: &str) -> Option<String> {
    let parameters = challenge.strip_prefix("Bearer ")?;
    let value = |name: &str| {
        let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let realm = value("realm")?;
    let query = ["service", "scope"].into_iter().filter_map(|name| Some(format!("{name}={}", value(name)?)));
    Some(format!("{realm}?{}", query.collect::<Vec<_>>().join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_may_have_a_path() {
        let parts = |address| DockerRegistry::at(address).map(|it| (it.origin, it.path)).ok();
        let expected = |origin: &str, path: &str| Some((origin.to_owned(), path.to_owned()));
        assert_eq!(parts("https://registry.example/lablup"), expected("https://registry.example", "lablup/"));
        assert_eq!(parts("http://127.0.0.1:5000"), expected("http://127.0.0.1:5000", ""));
        assert_eq!(parts("http://127.0.0.1:5000/a/b/"), expected("http://127.0.0.1:5000", "a/b/"));
        for wrong in ["registry.example", "ftp://registry.example", "https://", "https:///lablup", "https://a/b?c"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pages_are_followed_within_the_registry_alone() {
        let next = |link| next_page("https://a", Some(link));
        assert_eq!(
            next("</v2/x/tags/list?n=1&last=b>; rel=\"next\"").as_deref(),
            Some("https://a/v2/x/tags/list?n=1&last=b")
        );
        assert_eq!(next("<https://a/v2/x>; rel=\"next\"").as_deref(), Some("https://a/v2/x"));
        assert_eq!(next("<https://elsewhere/v2/x>; rel=\"next\""), None);
        assert_eq!(next("</v2/x>; rel=\"prev\""), None);
        assert_eq!(next("nothing"), None);
    }

    #[test]
    fn a_challenge_says_where_a_token_is_to_be_had() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull""#;
        let expected = "https://auth.example/token?service=r.example&scope=repository:a/b:pull";
        assert_eq!(token_url(challenge).as_deref(), Some(expected));
        assert_eq!(token_url("Basic realm=\"x\""), None);
    }
}
