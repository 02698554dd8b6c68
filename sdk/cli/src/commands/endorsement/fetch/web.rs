//! HTTPS to vendors. Nothing rests on who answers: what comes counts only if a pinned root vouches for it.

use crate::output::Failure;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use strongroom_attest::endorsements::MAX_BYTES;
use ureq::{
    Agent, Proxy,
    http::HeaderMap,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// Where systems keep the CAs that they believe.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Most bytes of an answer: a manifest in base64, with what is told of it.
const ANSWER: u64 = 2 * MAX_BYTES as u64;
/// For one request.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What a service answered.
pub(super) struct Reply {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// The first of these headers that is there.
    pub(super) fn header(&self, names: &[&str]) -> Result<String, String> {
        let found = names.iter().find_map(|name| self.headers.get(*name)?.to_str().ok());
        found.map(str::to_owned).ok_or_else(|| format!("the answer has no header {}", names.join(" or ")))
    }

    /// The pause that it asks for, where that is given in seconds.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The network, or who is at its other end: it may be otherwise in a while.
    Away(String),
    /// It would be the same again.
    Useless(String),
}

/// What asks.
pub(super) struct Client(Agent);

impl Client {
    /// Believes the CAs of a file, or this system's.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, Failure> {
        let bundle = || BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
        let roots = match ca.map(Path::to_owned).or_else(bundle) {
            Some(path) => authorities(&path)?,
            // Then no server is believed, and messages say so.
            None => Vec::new(),
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(Proxy::try_from_env())
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self(agent))
    }

    /// Asks by GET, or by POST with a body and its type.
    pub(super) fn ask(&self, url: &str, body: Option<(&str, &[u8])>) -> Result<Reply, NoReply> {
        let response = match body {
            None => self.0.get(url).call(),
            Some((kind, body)) => self.0.post(url).header("content-type", kind).send(body),
        };
        let (parts, body) = response.map_err(NoReply::of)?.into_parts();
        let body = body.into_with_config().limit(ANSWER).read_to_vec().map_err(NoReply::of)?;
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl NoReply {
    fn of(error: ureq::Error) -> Self {
        match error {
            ureq::Error::BodyExceedsLimit(most) => Self::Useless(format!("the answer is larger than {most} bytes")),
            other => Self::Away(other.to_string()),
        }
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Ok(found.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}
