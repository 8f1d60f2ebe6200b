//! JSON over HTTPS, as targets speak it: bounded in every way, and with errors that say what to do. Answers are as hostile as
//! requests: a server that is taken over must not take Daypass with it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Credential, TargetError};

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Bytes an answer may have.
const LONGEST: usize = 8 << 20;
/// Characters of what a server says that people are shown.
const SHOWN: usize = 200;

/// How a server is connected to: `connection:` of a target.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connection {
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Allows `http://`. Credentials travel readable then.
    pub plain_text: bool,
}

/// How one proves who one is.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// `Authorization: Bearer …`
    Bearer(Credential),
    /// A header of its own with an optional word before: `PRIVATE-TOKEN`, `SSWS …`.
    Header(HeaderName, &'static str, Credential),
}

/// A server that speaks JSON.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    base: Url,
    proof: Option<Proof>,
    content: &'static str,
}

/// One question.
#[derive(Debug)]
pub(super) struct Question<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, &'a str)>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// An answer that was no error.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null if there is none.
    pub body: Value,
}

impl Answer {
    /// The parameter of the next page, from the `Link` header (RFC 8288).
    pub fn next(&self, parameter: &str) -> Option<String> {
        let links = self.headers.get_all(reqwest::header::LINK).iter().filter_map(|value| value.to_str().ok());
        let next = links.flat_map(|line| line.split(',')).find(|link| link.contains("rel=\"next\""))?;
        let address = next.split_once('<')?.1.split_once('>')?.0;
        let url = Url::parse(address).ok()?;
        url.query_pairs().find(|(key, _)| key == parameter).map(|(_, value)| value.into_owned())
    }
}

impl<'a> Question<'a> {
    /// Segments of the path are texts: whatever is in them stays in its place.
    pub fn new(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let path = path.into_iter().collect();
        Self { method, path, query: Vec::new(), headers: HeaderMap::new(), body: None }
    }

    /// Another parameter.
    pub fn with(mut self, key: &'a str, value: &'a str) -> Self {
        self.query.push((key, value));
        self
    }

    /// Another header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// What is sent.
    pub fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self
    }

    /// What is sent, byte by byte.
    pub fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }
}

impl Api {
    /// The server at `base`. Nothing is connected yet.
    pub fn new(base: &Url, proof: Option<Proof>, connection: &Connection) -> Result<Self, TargetError> {
        let plain = base.scheme() == "http";
        if !(base.scheme() == "https" || plain && connection.plain_text) || base.cannot_be_a_base() {
            return Err(TargetError::Permanent(format!(
                "`url` is a {}:// address; write https://, or allow it with `connection: {{ plain_text: true }}` and `http://`",
                base.scheme()
            )));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(TargetError::Permanent("`url` carries credentials; give them on their own".to_owned()));
        }
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .connect_timeout(PATIENCE / 2)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("daypass/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &connection.ca_file {
            let file = |error: &dyn std::fmt::Display| {
                TargetError::Permanent(format!("`connection.ca_file` {}: {error}", path.display()))
            };
            let text = std::fs::read(path).map_err(|error| file(&error))?;
            for certificate in reqwest::Certificate::from_pem_bundle(&text).map_err(|error| file(&error))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|error| TargetError::Permanent(error.without_url().to_string()))?;
        Ok(Self { client, base: base.clone(), proof, content: "application/json" })
    }

    /// The same with another media type of what is sent and wanted.
    pub fn speaking(self, content: &'static str) -> Self {
        Self { content, ..self }
    }

    /// The address of the server, for people.
    pub fn shown(&self) -> String {
        self.base.host_str().unwrap_or("the server").to_owned()
    }

    /// Asks, and takes any answer, errors included.
    pub async fn exchange(&self, question: Question<'_>) -> Result<Answer, TargetError> {
        let what = format!("{} /{}", question.method, question.path.join("/"));
        let mut request = self.client.request(question.method.clone(), self.address(&question)?);
        request = request.header(reqwest::header::ACCEPT, self.content).headers(question.headers);
        if let Some(body) = question.body {
            request = request.header(reqwest::header::CONTENT_TYPE, self.content).body(body);
        }
        let proof = match &self.proof {
            None => None,
            Some(Proof::Bearer(credential)) => {
                Some((reqwest::header::AUTHORIZATION, "Bearer ", credential.read().await?))
            }
            Some(Proof::Header(name, word, credential)) => Some((name.clone(), *word, credential.read().await?)),
        };
        if let Some((name, word, credential)) = &proof {
            request = request.header(name, sent(word, credential)?);
        }
        let mut response = request.send().await.map_err(|error| unreachable(&what, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&what, &error))? {
            if bytes.len() + chunk.len() > LONGEST {
                return Err(TargetError::Temporary(format!("{what}: the answer is longer than {} MiB", LONGEST >> 20)));
            }
            bytes.extend_from_slice(&chunk);
        }
        // A server that repeats what it was sent must not make us tell it to people.
        let told = proof.map(|(.., credential)| credential).filter(|credential| !credential.expose_secret().is_empty());
        if let Some(credential) = told
            && let Ok(text) = std::str::from_utf8(&bytes)
            && text.contains(credential.expose_secret())
        {
            bytes = text.replace(credential.expose_secret(), "***").into_bytes();
        }
        let body = match bytes.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&bytes),
        };
        match body {
            Ok(body) => Ok(Answer { status, headers, body }),
            // What a proxy says in HTML is told by its status.
            Err(_) if !status.is_success() => Ok(Answer { status, headers, body: Value::Null }),
            Err(_) => Err(TargetError::Temporary(format!("{what}: the answer is not JSON; is `url` right?"))),
        }
    }

    /// Asks; whatever is no success is an error.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, TargetError> {
        let what = format!("{} /{}", question.method, question.path.join("/"));
        let answer = self.exchange(question).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(refusal(&what, &answer)) }
    }

    /// Asks; nothing if that is not found.
    pub async fn find(&self, question: Question<'_>) -> Result<Option<Answer>, TargetError> {
        let what = format!("{} /{}", question.method, question.path.join("/"));
        let answer = self.exchange(question).await?;
        match answer.status {
            status if status.is_success() => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(&what, &answer)),
        }
    }

    fn address(&self, question: &Question<'_>) -> Result<Url, TargetError> {
        let mut url = self.base.clone();
        if let Some(strange) = question.path.iter().find(|segment| matches!(**segment, "." | ".." | "")) {
            return Err(TargetError::Permanent(format!("{strange:?} cannot be part of an address")));
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            // An address that is whole already stays as it is.
            if !question.path.is_empty() {
                segments.pop_if_empty().extend(&question.path);
            }
        }
        if !question.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&question.query);
        }
        Ok(url)
    }
}

fn sent(word: &str, credential: &SecretString) -> Result<HeaderValue, TargetError> {
    let mut value = HeaderValue::from_str(&format!("{word}{}", credential.expose_secret()))
        .map_err(|_| TargetError::Permanent("the credential has characters that cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreachable(what: &str, error: &reqwest::Error) -> TargetError {
    let why = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the connection broke"
    };
    // The text of the error would tell the address with what is in it.
    let cause = std::error::Error::source(error).map(|cause| format!(" ({})", shown(&cause.to_string())));
    TargetError::Temporary(format!("{what}: {why}{}", cause.unwrap_or_default()))
}

/// What an answer that is no success means.
pub(super) fn refusal(what: &str, answer: &Answer) -> TargetError {
    let status = answer.status;
    let said = said(&answer.body).map(|text| format!(": {}", shown(&text))).unwrap_or_default();
    let text = format!("{what} was answered with {status}{said}");
    match status {
        StatusCode::UNAUTHORIZED => TargetError::Permanent(format!("{text}; the credential is not accepted")),
        StatusCode::FORBIDDEN => TargetError::Permanent(format!("{text}; the credential lacks a right")),
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::PRECONDITION_FAILED
        | StatusCode::LOCKED
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => TargetError::Temporary(text),
        status if status.is_redirection() => {
            TargetError::Permanent(format!("{text}; redirects are not followed, correct `url`"))
        }
        status if status.is_server_error() => TargetError::Temporary(text),
        _ => TargetError::Permanent(text),
    }
}

/// Where servers put their sentence.
fn said(body: &Value) -> Option<String> {
    let at = ["/message", "/error/message", "/detail", "/errorSummary", "/error_description", "/error", "/errors/0"];
    let found = at.iter().find_map(|pointer| body.pointer(pointer))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// What a stranger says, short and on one line.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
}
