//! A TLS terminator between a client and its vault: whoever holds the client's CA, or sits in a
//! load balancer, can be one. It reads every request and answer, and changes what it likes.

use crate::{
    ports::listen,
    wire::{self, Reply},
};
use anyhow::{Context as _, ensure};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::PrivateKeyDer;
use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use strongroom_protocol::join::JoinFile;
use ureq::Agent;

/// A request as the intruder saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// What the intruder can do with a request: hand it on, once or more.
pub struct Upstream {
    agent: Agent,
    url: String,
}

impl Upstream {
    /// Hands a request on to the vault.
    pub fn forward(&self, seen: &Seen) -> anyhow::Result<Reply> {
        let kept = |(name, _): &&(String, String)| !matches!(name.as_str(), "host" | "content-length" | "connection");
        let headers: Vec<_> = seen.headers.iter().filter(kept).cloned().collect();
        wire::send(&self.agent, &seen.method, &format!("{}{}", self.url, seen.path), &headers, seen.body.clone())
    }
}

type Tamper = Box<dyn FnMut(&Seen, &Upstream) -> anyhow::Result<Reply> + Send>;

/// An intruder. It stops to listen when it is dropped.
pub struct Intruder {
    port: u16,
    ca: String,
    vault: JoinFile,
    stopped: Arc<AtomicBool>,
    tamper: Arc<Mutex<Tamper>>,
}

impl Intruder {
    /// Takes a place before the vault of a join file, and hands everything on unchanged at first.
    pub fn before(vault: &JoinFile) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| anyhow::anyhow!("{e}"))?;
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der)?;
        let (listener, port) = listen();
        let upstream = Arc::new(Upstream { agent: wire::agent(vault)?, url: vault.url.clone() });
        let stopped = Arc::new(AtomicBool::new(false));
        let honest: Tamper = Box::new(|seen, upstream| upstream.forward(seen));
        let tamper = Arc::new(Mutex::new(honest));
        let (tls, ended, shared) = (Arc::new(tls), Arc::clone(&stopped), Arc::clone(&tamper));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (tls, tamper, upstream) = (Arc::clone(&tls), Arc::clone(&shared), Arc::clone(&upstream));
                // A client that goes away, as after a certificate that it does not believe, is none of its business.
                thread::spawn(move || answer(stream, tls, &tamper, &upstream));
            }
        });
        Ok(Self { port, ca: certificate.pem(), vault: vault.clone(), stopped, tamper })
    }

    /// What it does from now on with each request.
    pub fn tamper(&self, tamper: impl FnMut(&Seen, &Upstream) -> anyhow::Result<Reply> + Send + 'static) {
        *self.tamper.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(tamper);
    }

    /// From now on it hands everything on unchanged.
    pub fn behave(&self) {
        self.tamper(|seen, upstream| upstream.forward(seen));
    }

    /// A join file of a client that believes the intruder's CA, and pins the vault all the same.
    pub fn join_file(&self) -> JoinFile {
        JoinFile { url: format!("https://127.0.0.1:{}", self.port), tls_ca: self.ca.clone(), ..self.vault.clone() }
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Answers one request a connection.
fn answer(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    tamper: &Mutex<Tamper>,
    upstream: &Upstream,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(tls)?, stream));
    let seen = read(&mut stream)?;
    let reply = (tamper.lock().unwrap_or_else(PoisonError::into_inner))(&seen, upstream)?;
    let mut head = format!("HTTP/1.1 {} Told\r\n", reply.status);
    for (name, value) in &reply.headers {
        if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", reply.body.len());
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body)?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

fn read(stream: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>) -> anyhow::Result<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().context("no method")?.to_owned(), words.next().context("no path")?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line)? > 0, "the request broke off");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').context("a header without a colon")?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(Ok(0), |(_, v)| v.parse())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Seen { method, path, headers, body })
}
