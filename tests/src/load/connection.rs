//! One TLS connection to a vault and HTTP/1.1 on it: as little as a client can get by with, so that
//! on a machine shared with the vault the vault is what is measured.

use anyhow::{Context as _, Result, bail};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Most bytes of an answer.
const ANSWER: usize = 1 << 20;
/// Longer than any answer under load takes: what hangs ends the run.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a vault is, and the CA that its certificate is of.
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Endpoint {
    /// `ca` is PEM, as it stands in a join file.
    pub fn new(address: SocketAddr, ca: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate?)?;
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Every connection is a node's first.
        tls.resumption = Resumption::disabled();
        Ok(Self { address, tls: Arc::new(tls) })
    }

    /// TLS towards it, for measuring handshakes in memory.
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// A new connection, its handshake done with the first request.
    pub fn connect(&self) -> Result<Connection> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::IpAddress(self.address.ip().into());
        Ok(Connection { stream: StreamOwned::new(ClientConnection::new(Arc::clone(&self.tls), name)?, socket) })
    }
}

/// An open connection.
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Connection {
    /// Sends JSON and reads JSON. Anything but 200 is an error with the problem in it.
    pub fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<T> {
        self.send("POST", path, headers, &serde_json::to_vec(body)?)
    }

    /// One request with a body that is JSON already.
    pub fn send<T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<T> {
        let mut request = Vec::with_capacity(body.len() + 512);
        write!(request, "{method} {path} HTTP/1.1\r\nhost: vault\r\ncontent-type: application/json\r\n")?;
        write!(request, "content-length: {}\r\n", body.len())?;
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n")?;
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.stream.write_all(&request)?;
        let (status, answer) = self.read_answer().with_context(|| format!("{method} {path}"))?;
        if status != 200 {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        }
        serde_json::from_slice(&answer).with_context(|| format!("{method} {path}: the answer"))
    }

    fn read_answer(&mut self) -> Result<(u16, Vec<u8>)> {
        let mut read = Vec::with_capacity(8 << 10);
        let mut part = [0; 8 << 10];
        loop {
            if let Some((status, head, length)) = parse_head(&read)?
                && read.len() >= head + length
            {
                return Ok((status, read.get(head..head + length).unwrap_or_default().to_vec()));
            }
            let more = self.stream.read(&mut part)?;
            if more == 0 || read.len() > ANSWER {
                bail!("the answer is cut off or too long after {} bytes", read.len());
            }
            read.extend_from_slice(part.get(..more).unwrap_or_default());
        }
    }
}

/// Status, bytes of the head, bytes of the body; nothing while the head is not whole.
fn parse_head(read: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(read.get(..end).unwrap_or_default())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).context("no status")?.parse()?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("an answer without content-length")?;
    Ok(Some((status, end + 4, length.1.trim().parse()?)))
}
