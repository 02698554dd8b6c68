//! Bodies of people whom nobody knows yet: how much of them the vault holds, and who is served meanwhile.

use crate::{
    bench::{Bench, request},
    listening::{Connection, Listening, listening_within, talk, talk_over},
};
use serde_json::json;
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use strongroom_protocol::limits;
use strongroom_server::config::{Config, LimitsConfig};
use tokio::net::TcpSocket;

const MIB: usize = 1 << 20;

fn config(all: usize, each: usize) -> Config {
    let mut config = Config::default();
    (config.limits.body_bytes, config.limits.body_bytes_per_address) = (all as u64, each as u64);
    config
}

/// A connection from this address of this machine.
async fn from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    let stream = socket.connect(address).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: vault\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
}

/// What a node sends for a key that it may have.
async fn asking(bench: &Bench) -> String {
    let (tpm, _) = bench.ready().await;
    let recipient = strongroom_envelope::RecipientKey::generate().unwrap();
    serde_json::to_string(&request(&tpm, &bench.ask(&recipient).await)).unwrap()
}

/// Sends the largest body but for its last byte, as far as anybody takes it, and stays.
fn send_slowly(address: SocketAddr, client: Arc<rustls::ClientConfig>) -> Option<Connection> {
    let mut tls = rustls::ClientConnection::new(client, "127.0.0.1".try_into().unwrap()).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).ok()?;
    }
    let mut stream = rustls::StreamOwned::new(tls, tcp);
    stream.write_all(post("/v1/releases", limits::BODY).as_bytes()).ok()?;
    // Nobody reads what there is no room for: then it is not sent either.
    stream.sock.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let part = vec![b' '; 64 << 10];
    for _ in 0..limits::BODY / part.len() - 1 {
        if stream.write_all(&part).is_err() {
            break;
        }
    }
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_slow_bodies_is_held_within_the_budget_and_others_are_served_meanwhile() {
    const FLOOD: usize = 16;
    let mut config = config(16 * MIB, 8 * MIB);
    // However slow this machine is, the flood stays.
    (config.limits.body_timeout_s, config.limits.body_bytes_per_second) = (600, 8 << 10);
    let bench = Bench::with(config).await;
    let body = asking(&bench).await;
    let Listening { address, client, handle, served } = listening_within(&bench, LimitsConfig::default());
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::task::spawn_blocking(move || send_slowly(address, client))
        })
        .collect();
    let mut slow = Vec::new();
    for one in flood {
        slow.push(one.await.unwrap().expect("it is connected"));
    }
    while bench.vault.bodies.held() < 8 * MIB {
        tokio::task::yield_now().await;
    }

    // Who sends little is served, from the flood's own address too; and evidence from another.
    let (ours, theirs) = (TcpStream::connect(address).unwrap(), from("127.0.0.2", address).await);
    let answers = tokio::task::spawn_blocking(move || {
        let said = |tcp, path: &str, body: &str, until: &str| {
            let text = format!("{}{body}", post(path, body.len()));
            let request = |stream: &mut Connection| stream.write_all(text.as_bytes()).ok();
            talk_over(tcp, Arc::clone(&client), request, until).map(|(answer, _)| answer).unwrap_or_default()
        };
        let purpose = json!({ "purpose": "possession" }).to_string();
        [said(ours, "/v1/challenges", &purpose, "nonce"), said(theirs, "/v1/releases", &body, "signature\":\"")]
    })
    .await
    .unwrap();
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(bench.vault.bodies.held(), 8 * MIB, "two of sixteen; and what was answered holds nothing");
    drop(slow);
    while bench.vault.bodies.held() > 0 {
        tokio::task::yield_now().await;
    }
    handle.graceful_shutdown(Some(Duration::from_secs(5)));
    served.await.unwrap().unwrap();
}

/// Many nodes at one time, of whose bodies two have room: they wait for each other, and none is sent away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_gets_through_one_after_the_other() {
    const NODES: usize = 24;
    let bench = Bench::with(config(8 * MIB, 8 * MIB)).await;
    let body = asking(&bench).await;
    // As large as bodies are: what stands after the request is white space.
    let body = Arc::new(body.clone() + &" ".repeat(limits::BODY - body.len()));
    let Listening { address, client, handle, served } = listening_within(&bench, LimitsConfig::default());
    let herd: Vec<_> = (0..NODES)
        .map(|_| {
            let (client, body) = (Arc::clone(&client), Arc::clone(&body));
            tokio::task::spawn_blocking(move || {
                let request = |stream: &mut Connection| {
                    stream.write_all(post("/v1/releases", body.len()).as_bytes()).ok()?;
                    stream.write_all(body.as_bytes()).ok()
                };
                talk(address, client, request, "}").map(|(answer, _)| answer).unwrap_or_default()
            })
        })
        .collect();
    for one in herd {
        let answer = one.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(bench.vault.bodies.held(), 0);
    handle.graceful_shutdown(Some(Duration::from_secs(5)));
    served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_its_connections_and_leaves_the_others_theirs() {
    let bench = Bench::new().await;
    let limits = LimitsConfig { connections: 3, connections_per_address: 2, ..LimitsConfig::default() };
    let Listening { address, client, handle, served } = listening_within(&bench, limits);
    let connect = async |source: &str| {
        let (tcp, client) = (from(source, address).await, Arc::clone(&client));
        let alive = move || {
            let ask = |stream: &mut Connection| stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: vault\r\n\r\n").ok();
            talk_over(tcp, client, ask, "\"alive\"").map(|(_, kept)| kept)
        };
        tokio::task::spawn_blocking(alive).await.unwrap()
    };
    let (first, second) = (connect("127.0.0.1").await, connect("127.0.0.1").await);
    assert!(first.is_some() && second.is_some());
    assert!(connect("127.0.0.1").await.is_none(), "a third of one address is closed");
    let other = connect("127.0.0.2").await;
    assert!(other.is_some(), "and there is room for another");
    assert!(connect("127.0.0.3").await.is_none(), "which was the last of all");
    drop((first, second, other));
    handle.graceful_shutdown(Some(Duration::from_secs(5)));
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_takes_little_is_not_read_beyond_it() {
    let bench = Bench::new().await;
    let padded = |length: usize| json!({ "purpose": "release", "padding": " ".repeat(length) });
    let code = async |length| {
        let reply = bench.public(axum::http::Method::POST, "/v1/challenges", &padded(length)).await;
        reply.problem().1
    };
    assert_eq!(code(1000).await, "malformed", "it was read, and has a field too many");
    assert_eq!(code(limits::POSSESSION_BODY).await, "too_large");
}
