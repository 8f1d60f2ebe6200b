//! The way to GitHub: octocrab over HTTPS, or over any in-process service, with one function that sends a request.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tower::ServiceExt;

use super::GithubError;
use super::usage::{Counter, Usage};

/// How long a call may take.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// The most that is read of an answer. The largest answers are trees (7 MB) and blobs.
const LARGEST_ANSWER: usize = 64 << 20;

/// A way to send requests to GitHub. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    octocrab: Octocrab,
    base_path: String,
    counter: Arc<Counter>,
}

/// An answer of GitHub.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Transport {
    /// Over HTTP(S) to the API at `api_url`: `https://api.github.com`, or `https://HOST/api/v3` of an Enterprise Server.
    pub fn http(api_url: &str) -> Result<Self, GithubError> {
        let uri = parse(api_url)?;
        let octocrab = Octocrab::builder()
            .base_uri(uri.clone())
            .and_then(|builder| builder.set_connect_timeout(Some(TIMEOUT)).set_read_timeout(Some(TIMEOUT)).build())
            .map_err(|error| GithubError::Unavailable { message: error.to_string() })?;
        Ok(Self::new(octocrab, &uri))
    }

    /// Into a router in this process: the embedded GitHub, without a socket.
    pub fn in_process(router: axum::Router, api_url: &str) -> Result<Self, GithubError> {
        let uri = parse(api_url)?;
        let service = router
            .map_request(|request: http::Request<octocrab::OctoBody>| request.map(axum::body::Body::new))
            .and_then(|response: http::Response<axum::body::Body>| async move {
                let (parts, body) = response.into_parts();
                // octocrab wants a body that can be shared between threads.
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                Ok::<_, Infallible>(http::Response::from_parts(parts, http_body_util::Full::new(body)))
            });
        let built = OctocrabBuilder::new_empty()
            .with_service(service)
            .with_layer(&BaseUriLayer::new(uri.clone()))
            .with_auth(AuthState::None)
            .build();
        match built {
            Ok(octocrab) => Ok(Self::new(octocrab, &uri)),
            Err(never) => match never {},
        }
    }

    fn new(octocrab: Octocrab, uri: &Uri) -> Self {
        Self { octocrab, base_path: uri.path().trim_end_matches('/').to_owned(), counter: Arc::default() }
    }

    /// What was asked so far.
    pub fn usage(&self) -> Usage {
        self.counter.read()
    }

    /// Sends one request to `path` (relative to the API's base, query included); with an ETag, GitHub answers 304 if nothing has
    /// changed.
    pub(super) async fn send<B: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        body: Option<&B>,
        etag: Option<&str>,
    ) -> Result<Answer, GithubError> {
        let unexpected = |message: String| GithubError::Unexpected { message };
        let mut builder = http::Request::builder()
            .method(&method)
            .uri(path)
            .header(http::header::USER_AGENT, concat!("daypass/", env!("CARGO_PKG_VERSION")))
            .header(http::header::ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .header(http::header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        if let Some(etag) = etag {
            builder = builder.header(http::header::IF_NONE_MATCH, etag);
        }
        let request =
            self.octocrab.build_request(builder, body).map_err(|_| unexpected(format!("no request: {path}")))?;
        let exchange = async {
            let response = self.octocrab.send(request).await.map_err(|error| root_cause(&error))?;
            let (parts, body) = response.into_parts();
            let body = http_body_util::Limited::new(body, LARGEST_ANSWER);
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>(Answer { status: parts.status, headers: parts.headers, body })
        };
        let answer = match tokio::time::timeout(TIMEOUT * 2, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => Err(GithubError::Unavailable { message }),
            Err(_) => Err(GithubError::Unavailable { message: "no answer in time".to_owned() }),
        };
        self.counter.count(&method, path, answer.as_ref().ok().map(|answer| answer.status));
        answer
    }

    /// The path, relative to the API's base, of the next page, from a `Link` header. The host it names is ignored: the token
    /// goes to no other than ours.
    pub(super) fn next_page(&self, headers: &HeaderMap) -> Option<String> {
        let link = headers.get(http::header::LINK)?.to_str().ok()?;
        let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
        let url = next.split_once('<')?.1.split_once('>')?.0;
        let uri: Uri = url.parse().ok()?;
        let path = uri.path_and_query()?.as_str();
        Some(path.strip_prefix(&self.base_path).unwrap_or(path).to_owned())
    }
}

fn parse(api_url: &str) -> Result<Uri, GithubError> {
    let uri: Uri = api_url
        .parse()
        .map_err(|_| GithubError::Unexpected { message: format!("`github.api_url` is no address: {api_url}") })?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("https" | "http"), Some(_)) => Ok(uri),
        _ => Err(GithubError::Unexpected { message: format!("`github.api_url` must begin with https://: {api_url}") }),
    }
}

/// The innermost error: octocrab's own says little more than "service error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    // A segment of dots would be resolved away on the road.
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        text => percent_encoding::utf8_percent_encode(text, PLAIN).to_string(),
    }
}
