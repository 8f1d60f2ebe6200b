//! What GitHub can answer instead of what was asked for. No error carries a token.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

/// Why GitHub did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GithubError {
    /// 404: it does not exist, or the app may not see it.
    #[error("{what} was not found, or the app may not see it")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// 401: the credentials are wrong.
    #[error(
        "GitHub does not accept the app's credentials ({message}); check `github.app_id` and `github.private_key_file`"
    )]
    Unauthorized {
        /// GitHub's words.
        message: String,
    },
    /// 403: the app lacks a permission.
    #[error("the app may not do this ({message}); check its permissions and its installation")]
    Forbidden {
        /// GitHub's words.
        message: String,
    },
    /// 405 or 409: not in this state.
    #[error("{message}")]
    Conflict {
        /// GitHub's words.
        message: String,
        /// 405 or 409.
        status: u16,
    },
    /// 422, or an answer beyond a documented limit: it cannot be done as asked.
    #[error("{message}")]
    Invalid {
        /// GitHub's words.
        message: String,
    },
    /// 403 or 429 with a limit reached.
    #[error("GitHub's rate limit is reached")]
    RateLimited {
        /// How long GitHub wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// 5xx, no connection, no answer in time.
    #[error("GitHub cannot be reached or is in trouble: {message}")]
    Unavailable {
        /// What happened.
        message: String,
    },
    /// An answer that is not what GitHub documents.
    #[error("GitHub answered something unexpected: {message}")]
    Unexpected {
        /// What was wrong with it.
        message: String,
    },
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

impl GithubError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unavailable { .. })
    }

    /// Reads an answer that is no success. Documented at
    /// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
    pub(super) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], what: &str, now: i64) -> Self {
        let said: Body = serde_json::from_slice(body).unwrap_or_default();
        let details: Vec<String> = said.errors.iter().map(describe).filter(|text| !text.is_empty()).collect();
        let message = match (said.message.is_empty(), details.is_empty()) {
            (true, _) => status.to_string(),
            (false, true) => said.message,
            (false, false) => format!("{}: {}", said.message, details.join("; ")),
        };
        if let Some(wait) = wait_after(status, headers, now) {
            return Self::RateLimited { retry_after: Some(wait) };
        }
        match status.as_u16() {
            401 => Self::Unauthorized { message },
            403 => Self::Forbidden { message },
            404 | 410 => Self::NotFound { what: what.to_owned() },
            status @ (405 | 409) => Self::Conflict { message, status },
            400 | 422 => Self::Invalid { message },
            500.. => Self::Unavailable { message },
            _ => Self::Unexpected { message: format!("{status} for {what}: {message}") },
        }
    }
}

/// Limits are told anew every hour, in seconds.
const LONGEST_WAIT: i64 = 2 * 3_600;

/// How long GitHub wants to be left alone, if an answer says that a limit is reached; a minute if it does not say how long.
pub(super) fn wait_after(status: StatusCode, headers: &HeaderMap, now: i64) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let (retry_after, spent) = (number("retry-after"), number("x-ratelimit-remaining") == Some(0));
    let limited = match status.as_u16() {
        429 => true,
        403 => retry_after.is_some() || spent,
        _ => false,
    };
    let until_reset = || number("x-ratelimit-reset").filter(|_| spent).map(|reset| reset - now);
    let wait = retry_after.or_else(until_reset).unwrap_or(60);
    limited.then(|| Duration::from_secs(u64::try_from(wait.clamp(1, LONGEST_WAIT)).unwrap_or(60)))
}

fn describe(error: &serde_json::Value) -> String {
    match error {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(fields) => {
            let field = |name: &str| fields.get(name).and_then(|value| value.as_str()).unwrap_or_default();
            match field("message") {
                "" => format!("{} {}", field("field"), field("code")).trim().to_owned(),
                message => message.to_owned(),
            }
        }
        _ => String::new(),
    }
}
