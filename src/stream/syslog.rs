//! Syslog, <https://www.rfc-editor.org/rfc/rfc5424>: over TCP with counted octets (RFC 6587), over UDP (RFC 5426), or to a socket of
//! this machine. The message is the event as JSON.
//!
//! Syslog has no acknowledgement. Over TCP a batch is one connection, which is closed by both sides before the batch counts as taken:
//! what the receiver's machine did not get is sent again. Over UDP nobody knows.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::{Sink, StreamError, line};
use crate::ledger::{Event, Gravity};

/// How long a connection, or handing over a batch, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the receiver is given to close its side.
const CLOSING: Duration = Duration::from_secs(3);
/// The longest message, in bytes: that of a datagram, with room for the headers.
const LONGEST_DATAGRAM: usize = 60_000;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// Host and port.
    Tcp(String),
    /// Host and port.
    Udp(String),
    /// A socket for datagrams, such as `/dev/log`.
    Unix(PathBuf),
}

impl std::str::FromStr for Address {
    type Err = StreamError;

    fn from_str(text: &str) -> Result<Self, StreamError> {
        let has_port = |rest: &str| {
            rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match text.split_once("://") {
            Some(("tcp", rest)) if has_port(rest) => Ok(Self::Tcp(rest.to_owned())),
            Some(("udp", rest)) if has_port(rest) => Ok(Self::Udp(rest.to_owned())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            _ => Err(StreamError::new("`address` has to be tcp://HOST:PORT, udp://HOST:PORT or unix:///PATH")),
        }
    }
}

/// A receiver of syslog.
#[derive(Debug)]
pub(super) struct Syslog {
    address: Address,
    facility: u8,
    host: String,
}

impl Syslog {
    pub fn new(address: Address, facility: u8) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
        Self { address, facility, host: if host.is_empty() { "-".to_owned() } else { host } }
    }

    fn message(&self, event: &Event, longest: usize) -> String {
        let severity = match event.kind.gravity() {
            Gravity::Alarming => 3,
            Gravity::Notable => 4,
            Gravity::Ordinary => 6,
        };
        let head = format!(
            "<{}>1 {} {} daypass {} {} - ",
            u16::from(self.facility) * 8 + severity,
            event.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            self.host,
            std::process::id(),
            event.kind,
        );
        let mut text = line(event);
        if head.len() + text.len() > longest {
            // Whoever wants the rest finds it in the ledger, by the id.
            text = line(&Event { details: serde_json::json!({ "left_out": "too long" }), ..event.clone() });
        }
        head + &text
    }

    async fn tcp(&self, address: &str, events: &[Event]) -> std::io::Result<()> {
        let mut text = Vec::new();
        for event in events {
            let message = self.message(event, usize::MAX);
            text.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
        }
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&text).await?;
        stream.shutdown().await?;
        let mut rest = [0; 256];
        // The end comes after all that was sent has arrived; a receiver that keeps its side open is left to it.
        while let Ok(read) = tokio::time::timeout(CLOSING, stream.read(&mut rest)).await {
            if read? == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn udp(&self, address: &str, events: &[Event]) -> std::io::Result<()> {
        let target = tokio::net::lookup_host(address).await?.next();
        let target = target.ok_or_else(|| std::io::Error::other("its name has no address"))?;
        let socket = UdpSocket::bind(if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).await?;
        // Connected, so that a port nobody listens on is noticed at the second message.
        socket.connect(target).await?;
        for event in events {
            socket.send(self.message(event, LONGEST_DATAGRAM).as_bytes()).await?;
        }
        Ok(())
    }

    #[cfg(unix)]
    async fn unix(&self, path: &std::path::Path, events: &[Event]) -> std::io::Result<()> {
        let socket = tokio::net::UnixDatagram::unbound()?;
        socket.connect(path)?;
        for event in events {
            socket.send(self.message(event, LONGEST_DATAGRAM).as_bytes()).await?;
        }
        Ok(())
    }

    #[cfg(not(unix))]
    async fn unix(&self, _path: &std::path::Path, _events: &[Event]) -> std::io::Result<()> {
        Err(std::io::Error::other("there are no such sockets on this system"))
    }
}

#[async_trait]
impl Sink for Syslog {
    async fn send(&self, events: &[Event], _now: DateTime<Utc>) -> Result<(), StreamError> {
        let sent = async {
            match &self.address {
                Address::Tcp(address) => self.tcp(address, events).await,
                Address::Udp(address) => self.udp(address, events).await,
                Address::Unix(path) => self.unix(path, events).await,
            }
        };
        let sent = tokio::time::timeout(PATIENCE, sent).await;
        sent.map_err(|_| StreamError::new("it does not take what it is sent"))?.map_err(StreamError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::EventKind;

    #[test]
    fn a_message_is_as_the_rfc_has_it() {
        let at = "2026-11-30T10:00:00.123Z".parse().unwrap();
        let details = serde_json::json!({ "reason": "two\nlines and a \u{7f}" });
        let event = Event::new(&"acme/access".parse().unwrap(), EventKind::Refused, "x", "1", at, details);
        let syslog = Syslog { address: "udp://localhost:514".parse().unwrap(), facility: 13, host: "web-1".to_owned() };
        let message = syslog.message(&event, 10_000);
        let (head, json) = message.split_once(" - ").unwrap();
        assert_eq!(head, format!("<107>1 2026-11-30T10:00:00.123Z web-1 daypass {} refused", std::process::id()));
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
        assert!(!message.contains('\n'));
        let short = syslog.message(&event, 200);
        assert!(short.contains("left_out") && short.contains(&event.id), "{short}");
    }

    #[test]
    fn addresses_have_one_of_three_forms() {
        for good in ["tcp://logs.example.com:601", "udp://[::1]:514", "unix:///dev/log"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in ["logs.example.com:601", "tcp://logs", "tcp://:1", "unix://log", "tls://x:1", "udp://x:99999"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
