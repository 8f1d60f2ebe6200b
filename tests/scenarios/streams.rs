//! Events go elsewhere, too: to real receivers on loopback, each event at least once and in order, whatever is down meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use chrono::{DateTime, TimeDelta, Utc};
use daypass::engine::streams::Stream;
use daypass::ledger::Event;
use daypass::policy::name::StreamName;
use daypass::signature;
use daypass::stream::settings::{StreamSettings, build};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use prost::Message;
use secrecy::SecretString;
use tokio::io::AsyncReadExt;

use crate::life::ORDERS;
use crate::support::world::World;

/// A stream of this world, configured as in `daypass.yaml`.
async fn stream(world: &World, settings: &str) -> Stream {
    let settings: StreamSettings = serde_yaml::from_str(settings).unwrap();
    let settings = BTreeMap::from([("siem".parse::<StreamName>().unwrap(), settings)]);
    world.engine().streams(build(&settings).unwrap()).await.unwrap().pop().unwrap()
}

/// Passes on all there is.
async fn pass_on_all(stream: &Stream) {
    while stream.pass_on().await.unwrap() {}
}

/// The ids of the events that are on record since the stream began, in order.
async fn on_record(world: &World, since: usize) -> Vec<String> {
    let all = world.engine().store().events_after(0, 10_000).await.unwrap();
    all.into_iter().skip(since).map(|(_, event)| event.unwrap().id).collect()
}

async fn count(world: &World) -> usize {
    on_record(world, 0).await.len()
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

/// What came in one request.
type Got = (HeaderMap, Vec<u8>);

/// An HTTP receiver that can be told to fail.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    answer: Arc<Mutex<StatusCode>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    async fn listen() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(StatusCode::OK)),
            got: Arc::default(),
        };
        async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: axum::body::Bytes) -> StatusCode {
            let answer = *receiver.answer.lock().unwrap();
            // One that says no may have taken it all the same.
            receiver.got.lock().unwrap().push((headers, body.to_vec()));
            answer
        }
        let router = axum::Router::new().route("/in", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn answers(&self, status: StatusCode) {
        *self.answer.lock().unwrap() = status;
    }

    fn take(&self) -> Vec<Got> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

fn webhook_events(got: &[Got], now: DateTime<Utc>) -> Vec<Event> {
    let secret = [SecretString::from("hush")];
    let events = got.iter().flat_map(|(headers, body)| {
        let signed = headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
        assert_eq!(signature::check(&secret, signed, body, now), Ok(()));
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["stream"], "siem");
        serde_json::from_value::<Vec<Event>>(body["events"].clone()).unwrap()
    });
    events.collect()
}

#[tokio::test]
async fn a_webhook_gets_every_event_signed_in_order_over_outage_and_restart() {
    let world = World::new().await;
    let receiver = Receiver::listen().await;
    let settings = format!("webhook: {{ url: 'http://{}/in', secret: hush }}", receiver.address);
    let siem = stream(&world, &settings).await;
    let since = count(&world).await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    pass_on_all(&siem).await;
    let first = webhook_events(&receiver.take(), world.now());
    assert_eq!(ids(&first), on_record(&world, since).await);
    assert_eq!(first[0].kind.as_str(), "requested");

    receiver.answers(StatusCode::INTERNAL_SERVER_ERROR);
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "nobody waits for the receiver");
    let error = siem.pass_on().await.unwrap_err().to_string();
    assert_eq!(error, "it answers 500");
    let refused = webhook_events(&receiver.take(), world.now());
    let metrics = world.engine().metrics().await.unwrap();
    assert!(!metrics.contains("daypass_stream_events_waiting{stream=\"siem\"} 0"), "{metrics}");
    drop(siem);

    world.restart().await;
    world.wait(TimeDelta::minutes(130)).await;
    receiver.answers(StatusCode::OK);
    let siem = stream(&world, &settings).await;
    // Whoever held it died without a word; its hold is over by now.
    pass_on_all(&siem).await;
    let rest = webhook_events(&receiver.take(), world.now());
    assert_eq!(ids(&rest)[..refused.len()], ids(&refused), "what was refused comes again, and first");
    let all: Vec<String> = ids(&first).into_iter().chain(ids(&rest)).collect();
    assert_eq!(all, on_record(&world, since).await);
    assert!(world.engine().metrics().await.unwrap().contains("daypass_stream_events_waiting{stream=\"siem\"} 0"));
    pass_on_all(&siem).await;
    assert!(receiver.take().is_empty(), "what was taken is not sent again");
}

#[tokio::test]
async fn of_two_processes_one_sends_and_the_other_goes_on_when_it_is_gone() {
    let world = World::new().await;
    let receiver = Receiver::listen().await;
    let settings = format!("webhook: {{ url: 'http://{}/in', secret: hush }}", receiver.address);
    let (one, other) = (stream(&world, &settings).await, stream(&world, &settings).await);
    one.pass_on().await.unwrap();
    world.alice().asks("alice-orders", ORDERS).await;
    assert!(!other.pass_on().await.unwrap());
    assert!(receiver.take().is_empty(), "the other one holds it");
    world.advance(TimeDelta::minutes(1));
    pass_on_all(&other).await;
    assert!(!receiver.take().is_empty());
}

#[tokio::test]
async fn a_stream_that_runs_stops_when_it_is_asked_to_and_leaves_it_to_the_next() {
    let world = World::new().await;
    let receiver = Receiver::listen().await;
    let settings = format!("webhook: {{ url: 'http://{}/in', secret: hush }}", receiver.address);
    let siem = stream(&world, &settings).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move { siem.run(async { drop(stopped.await) }).await });
    world.alice().asks("alice-orders", ORDERS).await;
    for _ in 0..600 {
        if !receiver.got.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!receiver.take().is_empty());
    stop.send(()).unwrap();
    running.await.unwrap();
    let next = stream(&world, &settings).await;
    world.bob().asks("bob-orders", ORDERS).await;
    pass_on_all(&next).await;
    assert!(!receiver.take().is_empty(), "nobody has to wait for the hold of the one before");
}

#[tokio::test]
async fn a_file_gets_lines_whatever_moves_it_away_or_tears_it() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("events.jsonl"), dir.path().join("events.jsonl.1"));
    let archive = stream(&world, &format!("file: {{ path: '{}' }}", path.display())).await;
    let since = count(&world).await;
    world.alice().asks("alice-orders", ORDERS).await;
    pass_on_all(&archive).await;
    let before = count(&world).await;
    std::fs::rename(&path, &old).unwrap();
    std::fs::write(&path, "{\"torn\": by a cra").unwrap();
    world.bob().asks("bob-orders", ORDERS).await;
    pass_on_all(&archive).await;
    let read = |path| std::fs::read_to_string(path).unwrap();
    let events = |text: &str| -> Vec<String> {
        text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().id).collect()
    };
    assert_eq!(events(&read(&old)), on_record(&world, since).await[..before - since]);
    let now = read(&path);
    let (torn, rest) = now.split_once('\n').unwrap();
    assert_eq!(torn, "{\"torn\": by a cra");
    assert_eq!(events(rest), on_record(&world, before).await);
    std::fs::remove_dir_all(dir.path()).unwrap();
    world.carol().asks("carol-orders", ORDERS).await;
    let error = archive.pass_on().await.unwrap_err().to_string();
    assert!(error.contains("events.jsonl"), "{error}");
}

/// Messages of a connection, each with its length before it.
fn counted(mut text: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while !text.is_empty() {
        let space = text.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&text[..space]).unwrap().parse().unwrap();
        messages.push(String::from_utf8(text[space + 1..=space + length].to_vec()).unwrap());
        text = &text[space + 1 + length..];
    }
    messages
}

fn syslog_ids(messages: &[String]) -> Vec<String> {
    let id = |message: &String| {
        let (head, json) = message.split_once(" - ").unwrap();
        assert!(head.starts_with('<') && head.contains(">1 2026-11-30T1"), "{head}");
        serde_json::from_str::<Event>(json).unwrap().id
    };
    messages.iter().map(id).collect()
}

#[tokio::test]
async fn syslog_over_tcp_waits_for_a_receiver_that_is_down() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let logs = stream(&world, &format!("syslog: {{ address: 'tcp://{address}', facility: local0 }}")).await;
    let since = count(&world).await;
    world.alice().asks("alice-orders", ORDERS).await;
    assert!(logs.pass_on().await.is_err(), "nobody listens");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let received = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        connection.read_to_end(&mut text).await.unwrap();
        text
    });
    pass_on_all(&logs).await;
    let messages = counted(&received.await.unwrap());
    assert_eq!(syslog_ids(&messages), on_record(&world, since).await);
    assert!(messages[0].starts_with("<134>1 "), "local0, information: {}", messages[0]);
}

#[tokio::test]
async fn syslog_that_breaks_off_is_sent_again() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let logs = stream(&world, &format!("syslog: {{ address: 'tcp://{address}' }}")).await;
    world.alice().asks("alice-orders", ORDERS).await;
    let reset = tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        // Gone without having read anything: the other side is told by a reset.
        connection.readable().await.unwrap();
        drop(connection);
    });
    assert!(logs.pass_on().await.is_err(), "what was written was not read");
    reset.await.unwrap();
}

#[tokio::test]
async fn syslog_goes_to_datagrams_and_to_the_socket_of_the_machine() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let unix = tokio::net::UnixDatagram::bind(&path).unwrap();
    let by_udp = stream(&world, &format!("syslog: {{ address: 'udp://{}' }}", udp.local_addr().unwrap())).await;
    let since = count(&world).await;
    world.alice().asks("alice-orders", ORDERS).await;
    pass_on_all(&by_udp).await;
    let expected = on_record(&world, since).await;
    let (mut buffer, mut messages) = (vec![0; 65_536], Vec::new());
    for _ in &expected {
        let length = udp.recv(&mut buffer).await.unwrap();
        messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    assert_eq!(syslog_ids(&messages), expected);

    world.advance(TimeDelta::minutes(1));
    let since = count(&world).await;
    let by_unix = stream(&world, &format!("syslog: {{ address: 'unix://{}' }}", path.display())).await;
    world.bob().asks("bob-orders", ORDERS).await;
    pass_on_all(&by_unix).await;
    let (expected, mut messages) = (on_record(&world, since).await, Vec::new());
    for _ in &expected {
        let length = unix.recv(&mut buffer).await.unwrap();
        messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    assert_eq!(syslog_ids(&messages), expected);
}

#[tokio::test]
async fn an_opentelemetry_collector_gets_log_records() {
    let world = World::new().await;
    let receiver = Receiver::listen().await;
    let settings = format!("otlp: {{ url: 'http://{}/in', headers: {{ x-key: hush }} }}", receiver.address);
    let otel = stream(&world, &settings).await;
    let since = count(&world).await;
    world.alice().asks("alice-orders", ORDERS).await;
    receiver.answers(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(otel.pass_on().await.unwrap_err().to_string(), "it answers 429");
    receiver.take();
    receiver.answers(StatusCode::OK);
    pass_on_all(&otel).await;
    let got = receiver.take();
    assert_eq!(
        (&got[0].0["content-type"], &got[0].0["x-key"]),
        (&"application/x-protobuf".parse().unwrap(), &"hush".parse().unwrap())
    );
    let request = ExportLogsServiceRequest::decode(&got[0].1[..]).unwrap();
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    let id = |record: &opentelemetry_proto::tonic::logs::v1::LogRecord| {
        let Some(AnyValue::StringValue(body)) = record.body.clone().unwrap().value else { panic!("a text") };
        serde_json::from_str::<Event>(&body).unwrap().id
    };
    assert_eq!(records.iter().map(id).collect::<Vec<_>>(), on_record(&world, since).await);
    assert_eq!((records[0].event_name.as_str(), records[0].severity_text.as_str()), ("daypass.requested", "INFO"));
}
