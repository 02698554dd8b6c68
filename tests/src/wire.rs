//! The protocol by hand, for those who do not play by its rules: raw requests and their answers.

use anyhow::{Context as _, bail, ensure};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use strongroom_collect::{Attester, Wanted};
use strongroom_envelope::{RecipientKey, ReleasePayload};
use strongroom_protocol::{
    Bytes, Fixed, LeaseId, Problem, Statement, VaultId,
    admin::VaultInfo,
    binding::{possession_message, release_info},
    challenge::{Challenge, ChallengeRequest, Nonce, Purpose},
    evidence::PcrSelection,
    join::JoinFile,
    lease::{POSSESSION_HEADER, Possession},
    release::{ReleaseRequest, ReleaseResponse},
    sha256,
    statement::{Access, Act, Kem, KeyRequest, Recipient, Scope},
};
use tokio::net::TcpSocket;
use ureq::{
    Agent,
    http::{Method, Request},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// Patience with one request.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long bytes of an unfinished request are offered before nobody takes them.
const TAKEN: Duration = Duration::from_millis(500);

/// Raw HTTPS to a vault.
#[derive(Debug, Clone)]
pub struct Wire {
    agent: Agent,
    tls: Arc<ClientConfig>,
    url: String,
    /// The vault, as it says.
    pub vault: VaultId,
    /// The PCRs that it wants to see.
    pub selection: PcrSelection,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// A request that does not end. Its connection ends when it is dropped.
pub struct Unfinished {
    _stream: StreamOwned<ClientConnection, TcpStream>,
}

/// A blocking connection from this address of this machine.
fn connect_from(source: IpAddr, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A TLS client that believes the CA of a join file and no other.
fn tls(join: &JoinFile) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(join.tls_ca.as_bytes()) {
        roots.add(der?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(config.with_protocol_versions(&[&TLS13])?.with_root_certificates(roots).with_no_client_auth())
}

/// An HTTPS client that believes the CA of a join file and no other.
pub fn agent(join: &JoinFile) -> anyhow::Result<Agent> {
    let roots = CertificateDer::pem_slice_iter(join.tls_ca.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let roots = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build();
    let config = Agent::config_builder().tls_config(tls).http_status_as_error(false).max_redirects(0).proxy(None);
    Ok(config.no_delay(true).timeout_global(Some(PATIENCE)).build().new_agent())
}

/// One request; an error only if there is no answer.
pub fn send(
    agent: &Agent,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> anyhow::Result<Reply> {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = if body.is_empty() {
        agent.run(request.body(())?)?
    } else {
        let request = agent.configure_request(request.body(body)?).allow_non_standard_methods(true).build();
        agent.run(request)?
    };
    let status = answer.status().as_u16();
    let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = answer.headers().iter().map(header).collect();
    let body = answer.into_body().into_with_config().limit(64 << 20).read_to_vec()?;
    Ok(Reply { status, headers, body })
}

impl Wire {
    /// Connects to the vault of a join file, without asking whether it is the pinned one.
    pub fn to(join: &JoinFile) -> anyhow::Result<Self> {
        let agent = agent(join)?;
        let info: VaultInfo = send(&agent, "GET", &format!("{}/v1/vault", join.url), &[], Vec::new())?.json()?;
        let tls = Arc::new(tls(join)?);
        Ok(Self { agent, tls, url: join.url.clone(), vault: info.vault_id, selection: info.pcr_selection })
    }

    /// Sends bytes as JSON with these headers.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: impl Into<Vec<u8>>,
    ) -> anyhow::Result<Reply> {
        let mut headers = headers.to_vec();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        send(&self.agent, method, &format!("{}{path}", self.url), &headers, body.into())
    }

    /// Posts bytes as JSON.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> anyhow::Result<Reply> {
        self.send("POST", path, &[], body)
    }

    /// Announces a JSON body of so many bytes, sends none of it, and reads the answer.
    pub fn announce(&self, path: &str, length: usize) -> anyhow::Result<Reply> {
        let address = self.url.strip_prefix("https://").context("not an https URL")?;
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), ServerName::try_from("127.0.0.1")?)?;
        let mut stream = StreamOwned::new(connection, stream);
        let head = "content-type: application/json\r\nconnection: close";
        write!(stream, "POST {path} HTTP/1.1\r\nhost: {address}\r\n{head}\r\ncontent-length: {length}\r\n\r\n")?;
        let mut answer = Vec::new();
        // Whoever closes without a goodbye has answered all the same.
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("answered {text:?}"))?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1)?.parse().ok()).context("no status")?;
        let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        Ok(Reply { status, headers: lines.filter_map(header).collect(), body: body.as_bytes().to_vec() })
    }

    /// Sends a JSON body of so many bytes but for its last one, as far as somebody takes it, from this address of this
    /// machine; and stays.
    pub fn unfinished(&self, source: IpAddr, path: &str, length: usize) -> anyhow::Result<Unfinished> {
        let address = self.url.strip_prefix("https://").context("not an https URL")?;
        let stream = connect_from(source, address.parse()?)?;
        stream.set_write_timeout(Some(TAKEN))?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), ServerName::try_from("127.0.0.1")?)?;
        let mut stream = StreamOwned::new(connection, stream);
        write!(stream, "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n")?;
        write!(stream, "content-length: {length}\r\n\r\n")?;
        let mut left = length.saturating_sub(1);
        while left > 0 {
            let part = vec![b' '; left.min(16 << 10)];
            if stream.write_all(&part).is_err() {
                break;
            }
            left -= part.len();
        }
        Ok(Unfinished { _stream: stream })
    }

    /// Asks for a release.
    pub fn release(&self, request: &ReleaseRequest) -> anyhow::Result<Reply> {
        self.post("/v1/releases", serde_json::to_vec(request)?)
    }

    /// A fresh nonce.
    pub fn nonce(&self, purpose: Purpose) -> anyhow::Result<Nonce> {
        let reply = self.post("/v1/challenges", serde_json::to_vec(&ChallengeRequest { purpose })?)?;
        Ok(reply.json::<Challenge>()?.nonce)
    }

    /// A statement that asks for keys under a fresh nonce, to a fresh recipient.
    pub fn ask(&self, keys: Vec<KeyRequest>) -> anyhow::Result<Asking> {
        let recipient = RecipientKey::generate().map_err(|_| anyhow::anyhow!("no random bytes"))?;
        let statement = Statement {
            v: 1,
            act: Act::Release,
            lease: None,
            vault: self.vault,
            nonce: self.nonce(Purpose::Release)?,
            client_random: Fixed(random()?),
            recipient: Recipient { kem: Kem::XWing, public_key: Bytes(recipient.public_key().to_vec()) },
            keys,
            job: None,
            caller: None,
        };
        Ok(Asking { statement, recipient })
    }

    /// A request under possession: the header over `act` and the body's bytes, and a fresh nonce.
    pub fn possession(
        &self,
        act: &str,
        lease: LeaseId,
        secret: &[u8; 32],
        body: &[u8],
    ) -> anyhow::Result<(String, String)> {
        let (nonce, client_random) = (self.nonce(Purpose::Possession)?, random()?);
        let message = possession_message(act, self.vault, lease, nonce.as_bytes(), &client_random, body);
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message);
        let mac = Fixed::try_from(mac.as_ref()).map_err(|e| anyhow::anyhow!("{e}"))?;
        let possession = Possession { nonce, client_random: Fixed(client_random), mac };
        Ok((POSSESSION_HEADER.to_owned(), possession.to_string()))
    }
}

impl Reply {
    /// The body as JSON; an error if it is not a success.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        ensure!(self.status < 300, "answered {}: {}", self.status, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).context("reading an answer")
    }

    /// The problem document; an error if it is a success, or anything but a whole document.
    pub fn problem(&self) -> anyhow::Result<Problem> {
        ensure!(self.status >= 400, "answered {}", self.status);
        let text = String::from_utf8_lossy(&self.body);
        let problem: Problem =
            serde_json::from_str(&text).with_context(|| format!("answered {}: {text}", self.status))?;
        ensure!(self.header("content-type") == Some("application/problem+json"), "not a problem's media type");
        if problem.status != self.status {
            bail!("the document says {}, the answer {}", problem.status, self.status);
        }
        Ok(problem)
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A statement before it is sent, with the key that can open the answer.
pub struct Asking {
    /// The statement; change it before it is attested.
    pub statement: Statement,
    /// The recipient's key pair.
    pub recipient: RecipientKey,
}

impl Asking {
    /// The statement's bytes: the same as long as it is not changed.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.statement)?)
    }

    /// The request, with this node's evidence over the statement.
    pub fn attest(&self, wire: &Wire, attester: &dyn Attester) -> anyhow::Result<ReleaseRequest> {
        let statement = self.bytes()?;
        let evidence = attester.collect(&statement, None, Wanted::whole(&wire.selection))?;
        Ok(ReleaseRequest { statement: Bytes(statement), caller: None, job_token: None, evidence })
    }

    /// Attests and sends; the answer as it came.
    pub fn send(&self, wire: &Wire, attester: &dyn Attester) -> anyhow::Result<Reply> {
        wire.release(&self.attest(wire, attester)?)
    }

    /// Opens the envelope, without asking whether the answer is to be believed.
    pub fn open(&self, response: &ReleaseResponse) -> anyhow::Result<ReleasePayload> {
        let info = release_info(response.decision_id);
        let aad = sha256(&self.bytes()?);
        let plaintext = strongroom_envelope::open(&self.recipient, &info, &aad, &response.envelope)?;
        Ok(ReleasePayload::from_json(&plaintext)?)
    }
}

/// The key of a whole version.
pub fn version_key(asset: &str, version: u32) -> KeyRequest {
    KeyRequest { asset: asset.to_owned(), version, access: Access::Read, scope: Scope::Version, objects: vec![] }
}

/// A writer key.
pub fn writer_key(asset: &str, version: u32) -> KeyRequest {
    KeyRequest { asset: asset.to_owned(), version, access: Access::Write, scope: Scope::Writer, objects: vec![] }
}

/// Fresh random bytes.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random bytes"))?;
    Ok(bytes)
}

/// JSON bytes of a value.
pub fn json(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}
