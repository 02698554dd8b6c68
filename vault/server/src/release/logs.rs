//! The logs beside a quote: rows L1 to L8, and who of the node asked (L9).
//!
//! ```text
//! quote held ──Logs::read──> boot: Shown<BootClaims>   every quoted PCR but 10 explained
//!                            ima:  Shown<Measured>     PCR 10 explained, if it was quoted
//! ```
//!
//! What a log shows is judged with everything else, so that one denial names all that is wrong. A log can be
//! megabytes of events to hash: that happens on threads of its own, as many at a time as there are processors.

use crate::{
    measurements::{IMA_PCR, hash_of},
    problem::{Answer, Refused},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};
use strongroom_attest::{
    TpmClaims,
    ima::{self, ImaExpectation, ImaRefused, Measured},
    log::{self, LogRefused, Quoted},
};
use strongroom_policy::settings::{LogSettings, Violations};
use strongroom_protocol::{
    claims::{BootClaims, WorkloadClaims},
    evidence::Tpm2Evidence,
};
use tokio::sync::Semaphore;

/// The PCRs that the first entry of an IMA log is of.
const BOOT_PCRS: std::ops::RangeInclusive<u8> = 0..=9;

/// Logs that are read at one time.
static READING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

/// What became of a log.
#[derive(Debug, Clone)]
pub(super) enum Shown<T> {
    /// Every row held.
    Held(T),
    /// A row did not.
    Refused(LogRefusal),
    /// It goes on from a place that the vault has not verified the log up to.
    Incomplete,
    /// The node sent none.
    Missing,
    /// Nothing asked for it: PCR 10 was not quoted, or the quote itself was refused.
    Unread,
}

/// A log that was refused.
#[derive(Debug, Clone)]
pub(super) struct LogRefusal {
    /// Such as `L3`.
    pub(super) row: &'static str,
    /// What was wrong, for people.
    pub(super) why: String,
}

impl<T> Shown<T> {
    pub(super) fn held(&self) -> Option<&T> {
        match self {
            Self::Held(shown) => Some(shown),
            _ => None,
        }
    }
}

/// What the logs of one request showed.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    pub(super) boot: Shown<Arc<BootClaims>>,
    pub(super) ima: Shown<Arc<Measured>>,
}

impl Logs {
    /// Where the quote was refused nothing vouches for a log.
    pub(super) fn unread() -> Self {
        Self { boot: Shown::Unread, ima: Shown::Unread }
    }

    /// Reads the logs against what the quote vouches for.
    pub(super) async fn read(quote: Arc<Tpm2Evidence>, claims: Arc<TpmClaims>, settings: LogSettings) -> Answer<Self> {
        let _turn = READING.acquire().await.map_err(Refused::internal)?;
        let read = move || Self { boot: boot(&quote, &claims), ima: ima(&quote, &claims, settings) };
        tokio::task::spawn_blocking(read).await.map_err(Refused::internal)
    }

    /// What runs on the node, as far as something measured shows it. `caller` are the caller bytes as JSON.
    pub(super) fn workload(&self, caller: Option<&BTreeMap<String, Value>>) -> WorkloadClaims {
        let executable = |facts: &BTreeMap<String, Value>| Some(facts.get("exe")?.get("sha256")?.as_str()?.to_owned());
        let measured = |measured: &Arc<Measured>, caller| {
            executable(caller).is_some_and(|sha256| measured.files.contains_key(&format!("sha256:{sha256}")))
        };
        WorkloadClaims {
            caller_measured: self.ima.held().zip(caller).map(|(ima, caller)| measured(ima, caller)),
            ..WorkloadClaims::default()
        }
    }
}

/// Rows L1 to L7.
fn boot(quote: &Tpm2Evidence, claims: &TpmClaims) -> Shown<Arc<BootClaims>> {
    let Some(bytes) = &quote.boot_log else { return Shown::Missing };
    let values: BTreeMap<u8, &[u8]> =
        claims.pcr_values().0.iter().map(|(&pcr, value)| (pcr, value.0.as_slice())).collect();
    let explained: Vec<u8> = values.keys().copied().filter(|&pcr| pcr != IMA_PCR).collect();
    let quoted = Quoted { bank: hash_of(claims.bank()), values, explained: &explained };
    match log::verify(&bytes.0, Some(&quoted)) {
        Ok((_, shown)) => Shown::Held(Arc::new(shown)),
        Err(refused) => Shown::Refused(LogRefusal::from(&refused)),
    }
}

/// Row L8.
fn ima(quote: &Tpm2Evidence, claims: &TpmClaims, settings: LogSettings) -> Shown<Arc<Measured>> {
    let values = &claims.pcr_values().0;
    let Some(pcr) = values.get(&IMA_PCR) else { return Shown::Unread };
    let Some(bytes) = &quote.ima_log else { return Shown::Missing };
    if quote.ima_offset.is_some_and(|offset| offset > 0) {
        return Shown::Incomplete;
    }
    let expectation = ImaExpectation {
        bank: hash_of(claims.bank()),
        pcr: &pcr.0,
        boot: values
            .iter()
            .filter(|(pcr, _)| BOOT_PCRS.contains(pcr))
            .map(|(&pcr, value)| (pcr, value.0.as_slice()))
            .collect(),
        verified: None,
        allow_violations: settings.violations == Violations::Allowed,
    };
    match ima::verify(&bytes.0, &expectation) {
        Ok(measured) => Shown::Held(Arc::new(measured)),
        Err(refused) => Shown::Refused(LogRefusal::from(&refused)),
    }
}

impl From<&LogRefused> for LogRefusal {
    fn from(refused: &LogRefused) -> Self {
        Self { row: refused.row(), why: refused.to_string() }
    }
}

impl From<&ImaRefused> for LogRefusal {
    fn from(refused: &ImaRefused) -> Self {
        Self { row: refused.row(), why: refused.to_string() }
    }
}
