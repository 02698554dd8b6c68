//! HTTPS to the vault: TLS 1.3 with X25519MLKEM768, the join file's CA and no other, JSON.
//!
//! A join file may name several replicas. One that cannot be reached is left for the next, and what is
//! reached is kept; what a replica answers, a refusal too, is the answer.

use crate::{Error, Patience, admin::Token};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use strongroom_protocol::{Code, Problem, join::JoinFile};
use ureq::{
    Agent,
    http::{Method, Request, Response},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// Most bytes of an answer that is read whole.
const ANSWER: u64 = 16 << 20;
/// Attempts at one request where somebody waits to be let go, the first included.
const ATTEMPTS: u32 = 6;
/// How long a connection is waited for where there is another replica to ask: whatever is silent for longer is away,
/// or as good as that.
const ELSEWHERE: Duration = Duration::from_secs(2);
/// Longest pause between two attempts, milliseconds.
const LONGEST_PAUSE: u64 = 8_000;

/// An answer with the headers that matter.
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) signature: Option<String>,
}

/// A connection pool to one vault.
#[derive(Clone)]
pub(crate) struct Transport {
    agent: Agent,
    urls: Vec<String>,
    /// Counts on when a replica could not be reached; its remainder is the one in use.
    turn: Arc<AtomicUsize>,
    timeout: Duration,
    patience: Patience,
    /// Attempts at one request; none: patience alone decides.
    attempts: Option<u32>,
}

impl Transport {
    pub(crate) fn new(join: &JoinFile, timeout: Duration, patience: Patience) -> Result<Self, Error> {
        let urls: Vec<_> = [&join.url].into_iter().chain(&join.replicas).map(|url| url.trim_end_matches('/')).collect();
        if let Some(url) = urls.iter().find(|url| !url.starts_with("https://")) {
            return Err(Error::Join(format!("`url` or one of `replicas` is {url}, and must start with https://")));
        }
        let roots = CertificateDer::pem_slice_iter(join.tls_ca.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::Join(format!("`tls_ca` is not PEM: {e}")))?;
        if roots.is_empty() {
            return Err(Error::Join("`tls_ca` holds no certificate".to_owned()));
        }
        let roots = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .no_delay(true)
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let urls = urls.into_iter().map(str::to_owned).collect();
        Ok(Self { agent, urls, turn: Arc::default(), timeout, patience, attempts: None })
    }

    /// The same connections for requests that are not to hold anybody up: ends of leases, which expire anyway,
    /// and renewals, which come again. They are tried a few times only, however much patience there is.
    pub(crate) fn briefly(&self) -> Self {
        Self { attempts: Some(ATTEMPTS), ..self.clone() }
    }

    /// The replica in use.
    pub(crate) fn url(&self) -> &str {
        self.replica(self.turn.load(Ordering::Relaxed))
    }

    fn replica(&self, turn: usize) -> &str {
        self.urls.get(turn % self.urls.len().max(1)).map_or("", String::as_str)
    }

    /// Leaves the replica that was used in this turn, unless another thread has left it already.
    fn leave(&self, turn: usize) {
        let left = self.turn.compare_exchange(turn, turn.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
        if left.is_ok() && self.urls.len() > 1 {
            tracing::info!(left = self.replica(turn), next = self.url(), "a replica cannot be reached");
        }
    }

    /// Sends `body` and reads a JSON answer.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|e| Error::Malformed(e.to_string()))?;
        parse(&self.send(&Method::POST, path, &body, &[])?.body)
    }

    /// Reads a JSON answer.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, token: Option<&Token>) -> Result<T, Error> {
        parse(&self.call(&Method::GET, path, &[], token)?)
    }

    /// A call with a bearer token; the answer's bytes.
    pub(crate) fn call(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        token: Option<&Token>,
    ) -> Result<Vec<u8>, Error> {
        let bearer = token.map(Token::header);
        let headers: &[(&str, &str)] =
            &bearer.as_ref().map(|b| ("authorization", b.as_str())).into_iter().collect::<Vec<_>>();
        // An act whose answer was lost may have been done: only reading is repeated.
        if *method == Method::GET {
            return Ok(self.send(method, path, body, headers)?.body);
        }
        // Where not even a connection was made, nothing was done.
        let again = |failed: &Failed| failed.unconnected;
        Ok(self.patiently(method, path, body, headers, again)?.body)
    }

    /// One request, tried again with jitter while the vault says that it is busy, and while no
    /// connection to any replica can be made; until patience is over. A request whose answer was lost is
    /// tried again too: every request of this protocol may be repeated, by its nonce or because it
    /// only reads.
    pub(crate) fn send(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Answer, Error> {
        self.patiently(method, path, body, headers, |_| true)
    }

    /// The same for what may be repeated only after failures that `again` knows.
    fn patiently(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
        again: impl Fn(&Failed) -> bool,
    ) -> Result<Answer, Error> {
        let start = Instant::now();
        let (mut attempt, mut tried) = (1, 1);
        loop {
            let before = start.elapsed();
            let error = match self.once(method, path, body, headers, before, tried < self.urls.len()) {
                Ok(answer) => {
                    // An attempt that succeeded is no waiting.
                    self.patience.spend(before);
                    return Ok(answer);
                }
                Err(failed) if again(&failed) => failed.error,
                Err(failed) => return Err(failed.error),
            };
            // The next replica is asked at once.
            if matches!(error, Error::Unreachable { .. }) && tried < self.urls.len() {
                tried += 1;
                continue;
            }
            tried = 1;
            if self.attempts.is_some_and(|most| attempt >= most) {
                return Err(error);
            }
            let Some(pause) = pause_before_retry(&error, attempt) else { return Err(error) };
            let waited = start.elapsed();
            let Some(pause) = self.patience.pause(pause, waited, &error) else {
                self.patience.spend(waited);
                return Err(Error::PatienceOver { waited, attempts: attempt, cause: Box::new(error) });
            };
            tracing::debug!(attempt, pause_ms = pause.as_millis(), %error, "trying again");
            thread::sleep(pause);
            attempt += 1;
        }
    }

    /// One attempt, each step of which has at most what is left of patience after `elapsed` to itself, and connecting
    /// less where `others` can be asked.
    fn once(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
        elapsed: Duration,
        others: bool,
    ) -> Result<Answer, Failed> {
        let reading = self.patience.timeout(self.timeout, elapsed);
        let within = Within { reading: Some(reading), ..Within::of(reading, others) };
        let turn = self.turn.load(Ordering::Relaxed);
        let response = self.exchange(turn, method, path, body, headers, within)?;
        let signature = response
            .headers()
            .get(strongroom_protocol::lease::SIGNATURE_HEADER)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let body = response.into_body().into_with_config().limit(ANSWER).read_to_vec();
        Ok(Answer { body: body.map_err(|e| self.unreachable(turn, &e))?, signature })
    }

    /// One request that only reads, and whose answer is read by the caller: for streams, which may be quiet for
    /// long. Problems are errors already.
    pub(crate) fn open(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Response<ureq::Body>, Error> {
        let mut tried = 1;
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            let within = Within::of(self.timeout, tried < self.urls.len());
            match self.exchange(turn, method, path, body, headers, within) {
                Err(Failed { error: Error::Unreachable { .. }, .. }) if tried < self.urls.len() => tried += 1,
                done => return Ok(done?),
            }
        }
    }

    /// `turn` says which replica.
    fn exchange(
        &self,
        turn: usize,
        method: &Method,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
        Within { connecting, each, reading }: Within,
    ) -> Result<Response<ureq::Body>, Failed> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.replica(turn)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let result = if body.is_empty() {
            request.body(()).map(|r| {
                let request = self.agent.configure_request(r).timeout_connect(Some(connecting));
                self.agent.run(request.timeout_recv_response(Some(each)).timeout_recv_body(reading).build())
            })
        } else {
            request.header("content-type", "application/json").body(body).map(|r| {
                let request = self.agent.configure_request(r).allow_non_standard_methods(true);
                let request = request.timeout_connect(Some(connecting)).timeout_send_body(Some(each));
                self.agent.run(request.timeout_recv_response(Some(each)).timeout_recv_body(reading).build())
            })
        };
        let response = result.map_err(|e| Error::Request(e.to_string()))?.map_err(|e| self.unreachable(turn, &e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("retry-after").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        let body = response.into_body().into_with_config().limit(1 << 20).read_to_vec().unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(mut problem) => {
                problem.retry_after = problem.retry_after.or(retry_after);
                Err(Error::Refused(Box::new(problem)).into())
            }
            Err(_) => Err(Error::Malformed(format!("status {status} without a problem document from {path}")).into()),
        }
    }

    /// What kept this replica from answering. One that shows another CA's certificate is not passed over: that
    /// is for a person to look at.
    fn unreachable(&self, turn: usize, error: &ureq::Error) -> Failed {
        let url = self.replica(turn).to_owned();
        if let Some(problem) = certificate_problem(error) {
            return Error::NotBelieved(format!(
                "the TLS certificate of {url} does not chain to the join file's `tls_ca` ({problem})"
            ))
            .into();
        }
        self.leave(turn);
        Failed { error: Error::Unreachable { url, cause: error.to_string() }, unconnected: is_unconnected(error) }
    }
}

/// How long the steps of one request may take.
struct Within {
    /// Connecting, with TLS.
    connecting: Duration,
    /// Sending, and the head of the answer, each.
    each: Duration,
    /// The whole body of the answer, where it is read at once.
    reading: Option<Duration>,
}

impl Within {
    fn of(each: Duration, others: bool) -> Self {
        let connecting = if others { each.min(ELSEWHERE) } else { each };
        Self { connecting, each, reading: None }
    }
}

/// Why there is no answer.
struct Failed {
    error: Error,
    /// No connection was made, so nothing of the request was sent.
    unconnected: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, unconnected: false }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Whether this is from before there was a connection.
fn is_unconnected(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable)
        }
        ureq::Error::Timeout(timeout) => matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve),
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        _ => false,
    }
}

/// What rustls says of a certificate, if that is why there is no connection.
fn certificate_problem(error: &ureq::Error) -> Option<String> {
    let rustls = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        _ => None,
    };
    match rustls {
        Some(rustls::Error::InvalidCertificate(problem)) => Some(problem.to_string()),
        _ => None,
    }
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| Error::Malformed(e.to_string()))
}

/// A pause, in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// What the vault asked for.
    pub(crate) least: Duration,
    /// What comes on top so that a herd spreads out; may be cut.
    pub(crate) jitter: Duration,
}

/// Full jitter: a random part of a pause that doubles, so that a herd spreads out.
fn pause_before_retry(error: &Error, attempt: u32) -> Option<Pause> {
    let doubled = |first: u64| first.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE);
    let (least, spread) = match error {
        Error::Unreachable { .. } => (0, doubled(100)),
        Error::Refused(problem) => match problem.code {
            Code::TooMany | Code::LedgerUnavailable | Code::StoreUnavailable => {
                (problem.retry_after.unwrap_or(0).min(30), doubled(200))
            }
            _ => return None,
        },
        _ => return None,
    };
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).ok()?;
    let jitter = Duration::from_millis(u64::from_le_bytes(random) % spread);
    Some(Pause { least: Duration::from_secs(least), jitter })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code) -> Error {
        Error::Refused(Box::new(Problem::new(code)))
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(pause_before_retry(&refused(Code::TooMany), 1).is_some());
        assert!(pause_before_retry(&refused(Code::LedgerUnavailable), 1).is_some());
        assert!(pause_before_retry(&refused(Code::Denied), 1).is_none());
        assert!(pause_before_retry(&refused(Code::NonceReused), 1).is_none());
    }

    #[test]
    fn pauses_double_up_to_a_bound_however_often_it_is_tried() {
        let away = Error::Unreachable { url: String::new(), cause: String::new() };
        for attempt in [1, 6, 40, u32::MAX] {
            let most = (0..50).filter_map(|_| pause_before_retry(&away, attempt)).map(|p| p.least + p.jitter).max();
            let bound = Duration::from_millis(LONGEST_PAUSE).min(Duration::from_millis(100) * (1 << attempt.min(16)));
            assert!(most.unwrap() < bound, "{attempt}: {most:?}");
        }
    }

    /// A port at which nobody listens: each attempt is refused at once.
    fn nobody(patience: Duration) -> Transport {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let join = JoinFile {
            v: 1,
            url: format!("https://127.0.0.1:{port}"),
            replicas: vec![],
            tls_ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            vault_ids: vec![],
            ledger_verifier_key: String::new(),
        };
        let patience = Patience { total: patience, ..Patience::default() };
        Transport::new(&join, Duration::from_secs(1), patience).unwrap()
    }

    #[test]
    fn patience_decides_how_long_a_refused_connection_is_tried() {
        // Longer than all pauses of a few tries.
        let patience = Duration::from_secs(8);
        let transport = nobody(patience);
        let tries = |method: Method| {
            let start = Instant::now();
            let error = transport.call(&method, "/v1/vault", b"{}", None).err().unwrap();
            let took = start.elapsed();
            let Error::PatienceOver { attempts, cause, .. } = &error else { panic!("{method}: {error}") };
            assert!(matches!(**cause, Error::Unreachable { .. }) && *attempts > 2, "{error}");
            assert!(took + Duration::from_millis(200) > patience && took < 2 * patience, "{method}: {took:?}");
        };
        thread::scope(|scope| {
            scope.spawn(|| tries(Method::POST));
            tries(Method::GET);
        });
    }

    /// One that takes connections and says nothing, as a machine does whose vault hangs.
    #[test]
    fn a_silent_replica_is_left_for_the_next_soon() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut transport = nobody(Duration::from_secs(3));
        transport.timeout = Duration::from_mins(1);
        transport.urls.insert(0, format!("https://{}", silent.local_addr().unwrap()));
        let start = Instant::now();
        let error = transport.open(&Method::GET, "/v1/vault", &[], &[]).err().unwrap();
        assert!(matches!(&error, Error::Unreachable { url, .. } if *url == transport.urls[1]), "{error}");
        let took = start.elapsed();
        assert!((ELSEWHERE..Duration::from_secs(30)).contains(&took), "{took:?}");
    }

    #[test]
    fn what_is_not_to_hold_anybody_up_is_tried_a_few_times() {
        let start = Instant::now();
        let error = nobody(Duration::from_mins(10)).briefly().send(&Method::GET, "/v1/vault", &[], &[]).err().unwrap();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    }

    #[test]
    fn the_vaults_own_wish_is_the_least_pause() {
        let error = Error::Refused(Box::new(Problem::new(Code::TooMany).retry_after(3)));
        assert!(pause_before_retry(&error, 1).unwrap().least == Duration::from_secs(3));
    }

    #[test]
    fn plain_http_and_an_empty_ca_are_refused() {
        let mut join = JoinFile {
            v: 1,
            url: "http://vault".into(),
            replicas: vec![],
            tls_ca: String::new(),
            vault_ids: vec![],
            ledger_verifier_key: String::new(),
        };
        let connect = |join: &JoinFile| {
            Transport::new(join, Duration::from_secs(1), Patience::default()).err().unwrap().to_string()
        };
        assert!(connect(&join).contains("https://"));
        join.url = "https://vault".into();
        assert!(connect(&join).contains("no certificate"));
        join.replicas = vec!["https://second".into(), "http://third".into()];
        assert!(connect(&join).contains("http://third"), "one of several goes in the clear");
    }
}
