//! A load balancer, as small as they get: GitHub knows one address, and several processes stand behind it. Each request goes to
//! the next one in turn; if that one refuses the connection or says nothing for a while, to the one after it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a process may say nothing before another one is asked.
const SILENCE: Duration = Duration::from_secs(3);

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Figures {
    pub answered: AtomicUsize,
    /// Connections that were refused: nobody listens there now.
    pub refused: AtomicUsize,
    /// Requests that were sent and not answered: the process died over them, or stands still.
    pub unanswered: AtomicUsize,
}

pub struct Balancer {
    pub port: u16,
    pub figures: Arc<Figures>,
}

impl Balancer {
    /// Starts one in front of these ports.
    pub fn start(backends: Vec<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let figures = Arc::new(Figures::default());
        let shared = figures.clone();
        std::thread::spawn(move || {
            for (turn, client) in listener.incoming().flatten().enumerate() {
                let (backends, figures) = (backends.clone(), shared.clone());
                std::thread::spawn(move || pass_on(client, turn, &backends, &figures));
            }
        });
        Self { port, figures }
    }
}

fn pass_on(mut client: TcpStream, turn: usize, backends: &[u16], figures: &Figures) {
    let Some(request) = read_request(&mut client) else { return };
    for step in 0..backends.len() {
        let port = backends[(turn + step) % backends.len()];
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let Ok(mut backend) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
            figures.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let mut answer = Vec::new();
        let _ = backend.set_read_timeout(Some(SILENCE));
        let _ = backend.write_all(&request).and_then(|()| backend.read_to_end(&mut answer));
        if answer.is_empty() {
            figures.unanswered.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        figures.answered.fetch_add(1, Ordering::Relaxed);
        let _ = client.write_all(&answer);
        return;
    }
    let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
}

/// One request, changed so that the connection ends with its answer.
fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    client.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let (mut bytes, mut part) = (Vec::new(), [0; 8_192]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let total = end + 4 + length.unwrap_or(0);
            if bytes.len() >= total {
                bytes.splice(end..end, *b"\r\nconnection: close");
                return Some(bytes);
            }
        }
        match client.read(&mut part) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&part[..count]),
            _ => return None,
        }
    }
}
