//! The logs beside a quote: rows L1 to L8, and who of the node asked (L9).
//!
//! ```text
//! quote held ──Logs::read──> boot: Shown<BootClaims>   every quoted PCR but 10 explained
//! what is known of the node  ima:  Shown<Measured>     PCR 10 explained, if it was quoted
//!                            kept: what is known of the node after this
//! ```
//!
//! What a log shows is judged with everything else, so that one denial names all that is wrong. A log can be
//! megabytes of events to hash: that happens on threads of its own, as many at a time as there are processors.

use super::ima_state::{Known, Next};
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
    log::{self, BootLog, LogRefused, Quoted, Replay},
    workload::{self, Sources},
};
use strongroom_policy::settings::{LogSettings, Violations};
use strongroom_protocol::{
    NodeId,
    claims::{BootClaims, WorkloadClaims},
    evidence::Tpm2Evidence,
};
use strongroom_store::Store;
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
    /// True when the bytes are no log at all, so that they say nothing of the node.
    pub(super) malformed: bool,
}

impl<T> Shown<T> {
    pub(super) fn held(&self) -> Option<&T> {
        match self {
            Self::Held(shown) => Some(shown),
            _ => None,
        }
    }

    /// Of a log that was refused, whether it is no log at all.
    pub(super) fn malformed(&self) -> Option<bool> {
        match self {
            Self::Refused(refusal) => Some(refusal.malformed),
            _ => None,
        }
    }
}

/// What the logs of one request showed.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    pub(super) boot: Shown<Arc<BootClaims>>,
    pub(super) ima: Shown<Arc<Measured>>,
    /// What is kept of the IMA log after this request; none where none was verified.
    pub(super) kept: Option<Kept>,
    /// What the boot log alone shows of the workload.
    booted: WorkloadClaims,
}

/// What a verified IMA log does to what the vault keeps of the node.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Version of the row that it was judged from; 0 where there was none.
    pub(super) version: i64,
    /// Bytes that the quote covers of what was sent.
    pub(super) covered: usize,
    pub(super) next: Next,
}

impl Logs {
    /// Where the quote was refused nothing vouches for a log.
    pub(super) fn unread() -> Self {
        let booted = WorkloadClaims::default();
        Self { boot: Shown::Unread, ima: Shown::Unread, kept: None, booted }
    }

    /// Reads the logs against what the quote vouches for, and what the vault knows of the node.
    pub(super) async fn read(
        store: &dyn Store,
        node: NodeId,
        quote: Arc<Tpm2Evidence>,
        claims: Arc<TpmClaims>,
        settings: LogSettings,
    ) -> Answer<Self> {
        let row = if judges_ima(&quote, &claims) { store.measured(node).await? } else { None };
        let reading = READING.acquire().await.map_err(Refused::internal)?;
        let read = move || {
            // The thread goes on when the requester goes away, and takes its place until it ends.
            let _reading = reading;
            let (boot, booted) = boot(&quote, &claims);
            let known = Known::of(quote.ak, row)?;
            let (version, counters) = (known.version, claims.boot());
            let counters = (counters.reset_count, counters.restart_count);
            Ok(match ima(&quote, &claims, settings, &known, counters) {
                Ok(measured) => {
                    let covered = measured.bytes.saturating_sub(quote.ima_offset.unwrap_or(0));
                    let covered = usize::try_from(covered).map_err(Refused::internal)?;
                    let next = known.next(node, counters, measured)?;
                    let ima = Shown::Held(Arc::clone(&next.measured));
                    Self { boot, ima, kept: Some(Kept { version, covered, next }), booted }
                }
                Err(ima) => Self { boot, ima, kept: None, booted },
            })
        };
        tokio::task::spawn_blocking(read).await.map_err(Refused::internal)?
    }

    /// Where a later part of the IMA log may start, once what is to be kept was committed.
    pub(super) fn ima_offset(&self) -> Option<u64> {
        self.kept.as_ref()?.next.told
    }

    /// What runs on the node, as far as something measured shows it. `caller` are the caller bytes as JSON.
    pub(super) fn workload(&self, caller: Option<&BTreeMap<String, Value>>) -> WorkloadClaims {
        let sha256 = |facts: &BTreeMap<String, Value>| Some(facts.get("exe")?.get("sha256")?.as_str()?.to_owned());
        // A caller of whose program no digest is known was not measured.
        let executable = caller.map(|facts| sha256(facts).unwrap_or_default());
        let files = self.ima.held().map(Arc::as_ref);
        let of_caller = workload::claims(&Sources { files, executable: executable.as_deref(), ..Sources::default() });
        WorkloadClaims { caller_measured: of_caller.caller_measured, ..self.booted.clone() }
    }
}

/// Whether there is an IMA log to judge, and so to unite with what the node showed before.
pub(super) fn judges_ima(quote: &Tpm2Evidence, claims: &TpmClaims) -> bool {
    claims.pcr_values().0.contains_key(&IMA_PCR) && quote.ima_log.is_some()
}

/// Rows L1 to L7, and what the log shows of the workload (L9).
fn boot(quote: &Tpm2Evidence, claims: &TpmClaims) -> (Shown<Arc<BootClaims>>, WorkloadClaims) {
    let Some(bytes) = &quote.boot_log else { return (Shown::Missing, WorkloadClaims::default()) };
    let values: BTreeMap<u8, &[u8]> =
        claims.pcr_values().0.iter().map(|(&pcr, value)| (pcr, value.0.as_slice())).collect();
    let explained: Vec<u8> = values.keys().copied().filter(|&pcr| pcr != IMA_PCR).collect();
    let quoted = Quoted { bank: hash_of(claims.bank()), values, explained: &explained };
    let read = || {
        let log = BootLog::parse(&bytes.0)?;
        let shown = log::judge(&log, &Replay::of(&log)?, Some(&quoted))?;
        let seen = log.in_bank(quoted.bank);
        let workload = workload::claims(&Sources { boot: Some((&seen, &shown)), ..Sources::default() });
        Ok::<_, LogRefused>((shown, workload))
    };
    match read() {
        Ok((shown, workload)) => (Shown::Held(Arc::new(shown)), workload),
        Err(refused) => (Shown::Refused(LogRefusal::from(&refused)), WorkloadClaims::default()),
    }
}

/// Row L8: the whole log, or what follows a place up to which the vault has it; what else became of it.
fn ima(
    quote: &Tpm2Evidence,
    claims: &TpmClaims,
    settings: LogSettings,
    known: &Known,
    boot: (u32, u32),
) -> Result<Measured, Shown<Arc<Measured>>> {
    let values = &claims.pcr_values().0;
    let pcr = values.get(&IMA_PCR).ok_or(Shown::Unread)?;
    let bytes = quote.ima_log.as_ref().ok_or(Shown::Missing)?;
    let verified = match quote.ima_offset {
        None | Some(0) => None,
        Some(offset) => Some(known.up_to(boot, offset, pcr.0.len()).ok_or(Shown::Incomplete)?),
    };
    let expectation = ImaExpectation {
        bank: hash_of(claims.bank()),
        pcr: &pcr.0,
        boot: values
            .iter()
            .filter(|(pcr, _)| BOOT_PCRS.contains(pcr))
            .map(|(&pcr, value)| (pcr, value.0.as_slice()))
            .collect(),
        verified: verified.as_ref(),
        allow_violations: settings.violations == Violations::Allowed,
    };
    ima::verify(&bytes.0, &expectation).map_err(|refused| Shown::Refused(LogRefusal::from(&refused)))
}

impl From<&LogRefused> for LogRefusal {
    fn from(refused: &LogRefused) -> Self {
        Self { row: refused.row(), why: refused.to_string(), malformed: refused.is_malformed() }
    }
}

impl From<&ImaRefused> for LogRefusal {
    fn from(refused: &ImaRefused) -> Self {
        Self { row: refused.row(), why: refused.to_string(), malformed: refused.is_malformed() }
    }
}
