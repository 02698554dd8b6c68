//! The listener: TLS, TCP, the cap on connections, the orderly end.

use crate::bench::Bench;
use axum_server::Handle;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::Duration,
};
use strongroom_server::{config::LimitsConfig, http, tls};

pub(crate) type Connection = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) client: Arc<rustls::ClientConfig>,
    pub(crate) handle: Handle<SocketAddr>,
    pub(crate) served: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn listening(bench: &Bench, connections: usize) -> Listening {
    listening_within(bench, LimitsConfig { connections, ..LimitsConfig::default() })
}

pub(crate) fn listening_within(bench: &Bench, limits: LimitsConfig) -> Listening {
    #[expect(clippy::disallowed_methods, reason = "the client judges the certificate by the real clock")]
    let now = time::OffsetDateTime::now_utc();
    let made = tls::make_certificates(vec!["127.0.0.1".to_owned()], now).unwrap();
    let (certificate, key) = (bench.directory.path().join("c"), bench.directory.path().join("k"));
    std::fs::write(&certificate, &made.certificate).unwrap();
    std::fs::write(&key, made.key.as_bytes()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.ca.as_bytes()).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(tls::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Handle::new();
    let (router, config, stop) =
        (bench.router.clone(), tls::server_config(&certificate, &key).unwrap(), handle.clone());
    let served = tokio::spawn(async move { http::serve(listener, router, config, &limits, stop).await });
    Listening { address, client: Arc::new(client), handle, served }
}

/// A connection after its handshake, and an answered request; `None` if the vault closed it.
fn ask(address: SocketAddr, client: Arc<rustls::ClientConfig>) -> Option<(String, Connection)> {
    let request = |stream: &mut Connection| stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: vault\r\n\r\n").ok();
    talk(address, client, request, "\"alive\"")
}

/// The answer to what `request` sends, up to the text `until`.
pub(crate) fn talk(
    address: SocketAddr,
    client: Arc<rustls::ClientConfig>,
    request: impl Fn(&mut Connection) -> Option<()>,
    until: &str,
) -> Option<(String, Connection)> {
    talk_over(TcpStream::connect(address).unwrap(), client, request, until)
}

/// The same over a connection that was made already.
pub(crate) fn talk_over(
    mut tcp: TcpStream,
    client: Arc<rustls::ClientConfig>,
    request: impl Fn(&mut Connection) -> Option<()>,
    until: &str,
) -> Option<(String, Connection)> {
    let mut tls = rustls::ClientConnection::new(client, "127.0.0.1".try_into().unwrap()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).ok()?;
    }
    assert_eq!(tls.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = tls.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
    assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768));
    let mut stream = rustls::StreamOwned::new(tls, tcp);
    request(&mut stream)?;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(until) {
        let read = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        text.extend_from_slice(&buffer[..read]);
    }
    Some((String::from_utf8_lossy(&text).into_owned(), stream))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_served_over_hybrid_tls_up_to_the_cap_and_the_end_is_orderly() {
    let bench = Bench::new().await;
    let Listening { address, client, handle, served } = listening(&bench, 1);
    let second = Arc::clone(&client);
    let (answer, refused) = tokio::task::spawn_blocking(move || {
        let (answer, kept) = ask(address, client).unwrap();
        let refused = ask(address, second).is_none();
        drop(kept);
        (answer, refused)
    })
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
    assert!(refused, "a connection over the cap is closed");
    handle.graceful_shutdown(Some(Duration::from_secs(5)));
    served.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_too_much_reads_why_it_was_refused() {
    const MUCH: usize = 7 << 20;
    let bench = Bench::new().await;
    let Listening { address, client, handle, served } = listening(&bench, 4);
    let post = |path: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: vault\r\ncontent-type: application/json\r\n{more}\r\n")
    };
    let announced = post("/v1/releases", &format!("content-length: {MUCH}\r\n"));
    let chunked = post("/v1/releases", "transfer-encoding: chunked\r\n");
    // The same for a refusal that comes before anybody would have read a body.
    let stranger = post("/v1/policies", &format!("content-length: {MUCH}\r\n"));
    let answers = tokio::task::spawn_blocking(move || {
        let body = vec![b' '; MUCH];
        let ask = |head: &str, chunked: bool, code: &str| {
            let request = |stream: &mut Connection| {
                stream.write_all(head.as_bytes()).ok()?;
                if chunked {
                    stream.write_all(format!("{MUCH:x}\r\n").as_bytes()).ok()?;
                }
                stream.write_all(&body).ok()?;
                if chunked { stream.write_all(b"\r\n0\r\n\r\n").ok() } else { Some(()) }
            };
            talk(address, Arc::clone(&client), request, code).map(|(answer, _)| answer)
        };
        [
            ask(&announced, false, "too_large"),
            ask(&chunked, true, "too_large"),
            ask(&stranger, false, "\"unauthenticated\""),
        ]
    })
    .await
    .unwrap();
    for (answer, status) in answers.into_iter().zip(["413", "413", "401"]) {
        let answer = answer.expect("the refusal arrives");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    handle.graceful_shutdown(Some(Duration::from_secs(5)));
    served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_once_whom_it_is_for() {
    let bench = Bench::new().await;
    let Listening { address, client, handle, served } = listening(&bench, 4);
    let answers = tokio::task::spawn_blocking(move || {
        ["host: vault\r\n", "", "host: vault\r\nhost: other\r\n"].map(|host| {
            let request = |stream: &mut Connection| {
                stream.write_all(format!("GET /healthz HTTP/1.1\r\n{host}\r\n").as_bytes()).ok()
            };
            talk(address, Arc::clone(&client), request, "}").map(|(answer, _)| answer).unwrap_or_default()
        })
    })
    .await
    .unwrap();
    for (answer, status) in answers.iter().zip(["200", "400", "400"]) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert!(answers[1].contains("\"host\""), "{}", answers[1]);
    handle.graceful_shutdown(Some(Duration::from_secs(5)));
    served.await.unwrap().unwrap();
}
