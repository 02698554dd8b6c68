//! Asking vendors' services: one request after another, as often as each allows, patiently.

use super::{
    directory::Notes,
    web::{Client, NoReply, Reply},
};
use ring::rand::{SecureRandom, SystemRandom};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Attempts at one request, the first included.
const ATTEMPTS: u32 = 6;
/// The first pause between two attempts; each is twice the one before.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause, unless the service asks for a longer one.
const LONGEST: Duration = Duration::from_mins(2);
/// A service that wants a longer pause is left for another day.
const PATIENCE: Duration = Duration::from_mins(15);

/// Whose service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Vendor {
    Amd,
    Intel,
    /// Where Intel publishes its root's revocation list.
    IntelCertificates,
    /// Where NVIDIA publishes its manifests.
    Nvidia,
    /// Where NVIDIA answers which certificates it revoked (OCSP).
    NvidiaStatus,
}

impl Vendor {
    pub(super) const ALL: [Self; 5] =
        [Self::Amd, Self::Intel, Self::IntelCertificates, Self::Nvidia, Self::NvidiaStatus];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Amd => "amd",
            Self::Intel => "intel",
            Self::IntelCertificates => "intel-certificates",
            Self::Nvidia => "nvidia",
            Self::NvidiaStatus => "nvidia-status",
        }
    }

    fn url(self) -> &'static str {
        match self {
            Self::Amd => "https://kdsintf.amd.com",
            Self::Intel => "https://api.trustedservices.intel.com",
            Self::IntelCertificates => "https://certificates.trustedservices.intel.com",
            Self::Nvidia => "https://rim.attestation.nvidia.com",
            Self::NvidiaStatus => "https://ocsp.ndis.nvidia.com",
        }
    }

    /// Least time between two requests. AMD's service answers one in ten seconds.
    fn every(self) -> Duration {
        match self {
            Self::Amd => Duration::from_secs(10),
            Self::Intel | Self::IntelCertificates | Self::Nvidia | Self::NvidiaStatus => Duration::from_secs(1),
        }
    }
}

/// Where each vendor is asked.
pub(super) struct Bases(BTreeMap<Vendor, String>);

impl Bases {
    /// The vendors' own services, but for these.
    pub(super) fn with(others: Vec<(Vendor, String)>) -> Self {
        let own = Vendor::ALL.into_iter().map(|vendor| (vendor, vendor.url().to_owned()));
        Self(own.chain(others).collect())
    }

    fn of(&self, vendor: Vendor) -> &str {
        self.0.get(&vendor).map_or(vendor.url(), String::as_str)
    }
}

/// `VENDOR=URL`, as an argument. Only this machine itself is asked without TLS.
pub(super) fn base(text: &str) -> Result<(Vendor, String), String> {
    let (name, url) = text.split_once('=').ok_or("VENDOR=URL")?;
    let vendor = Vendor::ALL.into_iter().find(|vendor| vendor.name() == name);
    let vendor = vendor.ok_or("amd, intel, intel-certificates or nvidia, an equals sign, a URL")?;
    let url = url.trim_end_matches('/').to_owned();
    let uri: ureq::http::Uri = url.parse().map_err(|_| format!("`{}` is not a URL", url.escape_debug()))?;
    let host = uri.host().unwrap_or_default();
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|host: std::net::IpAddr| host.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok((vendor, url)),
        Some("http") if loopback => Ok((vendor, url)),
        _ => Err("a URL begins with https://; http:// only where it is this machine".to_owned()),
    }
}

/// Time that passes, and waiting.
pub(super) trait Time {
    /// Time since some beginning.
    fn now(&self) -> Duration;
    /// Waits.
    fn wait(&self, pause: Duration);
    /// A part of one, from 0 to 1.
    fn chance(&self) -> f64;
}

/// This system's.
pub(super) struct System {
    since: Instant,
    random: SystemRandom,
}

impl Default for System {
    fn default() -> Self {
        Self { since: Instant::now(), random: SystemRandom::new() }
    }
}

impl Time for System {
    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn wait(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn chance(&self) -> f64 {
        let mut byte = [0];
        // Without randomness every pause is the longest.
        self.random.fill(&mut byte).map_or(1.0, |()| f64::from(byte[0]) / 255.0)
    }
}

/// The services.
pub(super) struct Service<'a, T> {
    client: &'a Client,
    time: T,
    bases: Bases,
    /// When each may be asked again.
    next: BTreeMap<Vendor, Duration>,
    /// Where it is noted for the next run.
    notes: Option<Notes>,
}

impl<'a, T: Time> Service<'a, T> {
    pub(super) fn new(client: &'a Client, time: T, bases: Bases) -> Self {
        Self { client, time, bases, next: BTreeMap::new(), notes: None }
    }

    /// Keeps the pace of earlier runs, too.
    pub(super) fn after(mut self, notes: Notes) -> Self {
        for vendor in Vendor::ALL {
            // A clock that was set back makes nobody wait longer than the pace asks for.
            let since = notes.since(vendor).unwrap_or(Duration::MAX);
            self.next.insert(vendor, self.time.now() + vendor.every().saturating_sub(since));
        }
        self.notes = Some(notes);
        self
    }

    /// One answer of a vendor's service: `path` with its query.
    pub(super) fn get(&mut self, vendor: Vendor, path: &str) -> Result<Reply, String> {
        self.ask(vendor, path, None)
    }

    /// The answer to `body`, with its media type.
    pub(super) fn post(&mut self, vendor: Vendor, path: &str, body: (&str, &[u8])) -> Result<Reply, String> {
        self.ask(vendor, path, Some(body))
    }

    /// Tried again while the service is busy or cannot be
    /// reached, after the pause that it asks for; an answer that says no is the end of it.
    fn ask(&mut self, vendor: Vendor, path: &str, body: Option<(&str, &[u8])>) -> Result<Reply, String> {
        let url = format!("{}{path}", self.bases.of(vendor));
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            self.keep_pace(vendor);
            let (problem, asked) = match self.client.ask(&url, body) {
                Ok(reply) if reply.status == 200 => return Ok(reply),
                Ok(reply) if reply.status == 429 || reply.status >= 500 => {
                    (format!("{url} answers {}", reply.status), reply.retry_after())
                }
                Ok(Reply { status: 404, .. }) => return Err(format!("{url}: the service does not have it (404)")),
                Ok(reply) => return Err(format!("{url} answers {}", reply.status)),
                Err(NoReply::Useless(problem)) => return Err(format!("{url}: {problem}")),
                Err(NoReply::Away(problem)) => (format!("{url}: {problem}"), None),
            };
            if attempt == ATTEMPTS {
                return Err(format!("{problem}, after {ATTEMPTS} attempts"));
            }
            if let Some(asked) = asked.filter(|asked| *asked > PATIENCE) {
                return Err(format!("{problem}, and asks to come again in {} s", asked.as_secs()));
            }
            // Half of it for certain, the rest by chance: many machines may have begun together.
            let jittered = pause.mul_f64(0.5 + self.time.chance() / 2.0);
            self.time.wait(asked.map_or(jittered, |asked| asked.max(jittered)));
            pause = (pause * 2).min(LONGEST);
            attempt += 1;
        }
    }

    /// Waits until the vendor may be asked, and notes that it is.
    fn keep_pace(&mut self, vendor: Vendor) {
        let next = self.next.get(&vendor).copied().unwrap_or_default();
        let now = self.time.now();
        if now < next {
            self.time.wait(next.saturating_sub(now));
        }
        self.next.insert(vendor, self.time.now() + vendor.every());
        if let Some(notes) = &self.notes {
            notes.asked(vendor);
        }
    }
}
