//! Signed messages between programs that share a secret: `Daypass-Signature: t=1764496800,v1=HEX`, where HEX is the HMAC-SHA256 of
//! the time, a dot and the body. The time is in it, so that nobody can send an old message again much later.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The header that carries the signature.
pub const HEADER: &str = "daypass-signature";

/// How far the clocks of sender and receiver may be apart, the time under way included.
const SLACK: TimeDelta = TimeDelta::minutes(5);

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// There is no signature, or none of that form.
    #[error("the header Daypass-Signature is missing, or is not of the form t=SECONDS,v1=HEX")]
    Form,
    /// None of the secrets made it.
    #[error("the signature is wrong")]
    Wrong,
    /// It was made too long ago, or is from the future.
    #[error("the signature is older than five minutes, or from the future: sign each attempt anew, and set the clock")]
    Time,
}

/// The value of [`HEADER`] for a body that is sent at `at`.
pub fn sign(secret: &SecretString, at: DateTime<Utc>, body: &[u8]) -> String {
    let seconds = at.timestamp();
    let digest = keyed(secret, seconds, body).map(|mac| hex::encode(mac.finalize().into_bytes())).unwrap_or_default();
    format!("t={seconds},v1={digest}")
}

/// Whether one of the secrets signed the body, not long before `now`; compared in constant time.
pub fn check(secrets: &[SecretString], header: Option<&str>, body: &[u8], now: DateTime<Utc>) -> Result<(), Unsigned> {
    let (seconds, digest) = header.and_then(read).ok_or(Unsigned::Form)?;
    let is_right = |secret| keyed(secret, seconds, body).is_some_and(|mac| mac.verify_slice(&digest).is_ok());
    if !secrets.iter().any(is_right) {
        return Err(Unsigned::Wrong);
    }
    let at = DateTime::from_timestamp(seconds, 0).ok_or(Unsigned::Time)?;
    if (now - at).abs() > SLACK { Err(Unsigned::Time) } else { Ok(()) }
}

fn read(header: &str) -> Option<(i64, Vec<u8>)> {
    let (time, digest) = header.split_once(',')?;
    Some((time.strip_prefix("t=")?.parse().ok()?, hex::decode(digest.strip_prefix("v1=")?).ok()?))
}

fn keyed(secret: &SecretString, seconds: i64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_496_800 + seconds, 0).unwrap()
    }

    #[test]
    fn a_message_is_believed_for_five_minutes_if_one_of_the_secrets_signed_it() {
        let (old, new) = (SecretString::from("old"), SecretString::from("new"));
        let secrets = [new.clone(), old.clone()];
        for secret in [&old, &new] {
            let signature = sign(secret, at(0), b"{}");
            for seconds in [-299, 0, 300] {
                assert_eq!(check(&secrets, Some(&signature), b"{}", at(seconds)), Ok(()));
            }
            for seconds in [-301, 301, 1 << 40] {
                let now = DateTime::from_timestamp(1_764_496_800 + seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
                assert_eq!(check(&secrets, Some(&signature), b"{}", now), Err(Unsigned::Time));
            }
            assert_eq!(check(&secrets, Some(&signature), b"{ }", at(0)), Err(Unsigned::Wrong));
            let later = signature.replace("t=1764496800", "t=1764497800");
            assert_eq!(check(&secrets, Some(&later), b"{}", at(1_000)), Err(Unsigned::Wrong), "the time is signed too");
        }
        assert_eq!(check(&[], Some(&sign(&old, at(0), b"")), b"", at(0)), Err(Unsigned::Wrong));
        assert_eq!(check(&[new], Some(&sign(&old, at(0), b"")), b"", at(0)), Err(Unsigned::Wrong));
        for header in [None, Some(""), Some("t=1"), Some("t=x,v1=00"), Some("v1=00,t=1"), Some("t=1,v1=xyz")] {
            assert_eq!(check(&secrets, header, b"", at(0)), Err(Unsigned::Form));
        }
    }

    /// As anybody can make it: `printf '1764496800.{}' | openssl dgst -sha256 -hmac old`.
    #[test]
    fn it_is_what_openssl_makes_of_it() {
        let signature = sign(&SecretString::from("old"), at(0), b"{}");
        let digest = signature.strip_prefix("t=1764496800,v1=").unwrap();
        assert_eq!(digest, OPENSSL);
    }

    const OPENSSL: &str = "0c49ea8b193114f1001c542589b77e3ac3937be1d10b7870f7153c39e65390b8";
}
