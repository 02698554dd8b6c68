//! What is kept of evidence, for replay and explanation: each log by itself, and the rest around the
//! logs' digests. A node sends the same boot log with every request; it is stored once.
//!
//! The ledger is for ever, so nobody may fill it with what says nothing. Of a node that no operator approved no
//! log is kept. Of others a boot log is kept if it is one, also where it was refused: denials of a node have a
//! quota. An IMA log is kept as far as the quote covers it, and not if it was refused. Of all this a node has so many
//! bytes an hour, for a log that holds can carry anything that no quote covers. The digest and the length of what was
//! sent stand in the evidence in any case.

use super::logs::{Logs, Shown};
use serde::Serialize;
use strongroom_protocol::{
    Bytes, Fixed,
    enrol::NodeState,
    evidence::{Evidence, Tpm2Evidence},
    sha256,
};
use strongroom_store::Blob;

/// Evidence in pieces, each addressed by its content.
pub(super) struct Kept {
    /// JSON: a list of items as they came, but with `boot_log_sha256`, `boot_log_bytes`, `ima_log_sha256` and
    /// `ima_log_bytes` in place of the logs. Its digest stands in the ledger, and so covers all that was sent.
    /// `ima_log_kept_sha256` is of the part of the IMA log that is kept.
    pub(super) evidence: Blob,
    /// What is kept of the logs, as the node's firmware and kernel wrote them.
    pub(super) logs: Vec<Blob>,
}

/// Which of the logs are worth keeping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Worth {
    /// The boot log.
    pub(super) boot_log: bool,
    /// Bytes of the IMA log as it was sent; none of one that was refused.
    pub(super) ima_log: Option<usize>,
}

impl Worth {
    /// By what the logs showed of a node in this state.
    pub(super) fn of(logs: &Logs, node: NodeState) -> Self {
        if node != NodeState::Approved {
            return Self::default();
        }
        let boot_log = match &logs.boot {
            Shown::Held(_) => true,
            other => other.malformed() == Some(false),
        };
        Self { boot_log, ima_log: logs.kept.as_ref().map(|kept| kept.covered) }
    }

    /// Without what is not there already, where there is no room for more.
    fn without_new(self, quote: &Tpm2Evidence, known: Option<Fixed<32>>) -> Self {
        let same = known.is_some() && quote.boot_log.as_ref().map(|log| Fixed(sha256(&log.0))) == known;
        Self { boot_log: self.boot_log && same, ima_log: None }
    }
}

#[derive(Serialize)]
struct Item {
    #[serde(flatten)]
    evidence: Evidence,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_log_sha256: Option<Fixed<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_log_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ima_log_sha256: Option<Fixed<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ima_log_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ima_log_kept_sha256: Option<Fixed<32>>,
}

impl Kept {
    /// What is worth keeping and has room: `is_left` says whether so many bytes more of the node may be kept. `known`
    /// is the boot log that was kept of it last.
    pub(super) fn within(
        quote: &Tpm2Evidence,
        worth: Worth,
        known: Option<Fixed<32>>,
        is_left: impl Fn(u64) -> bool,
    ) -> serde_json::Result<Self> {
        let kept = Self::of(quote, worth)?;
        if kept.new_bytes(known) == 0 || is_left(kept.new_bytes(known)) {
            return Ok(kept);
        }
        metrics::counter!("strongroom_logs_not_kept_total").increment(1);
        Self::of(quote, worth.without_new(quote, known))
    }

    /// Bytes of logs, but for the boot log that was kept before.
    pub(super) fn new_bytes(&self, known: Option<Fixed<32>>) -> u64 {
        let new = self.logs.iter().filter(|log| Some(log.sha256) != known);
        new.map(|log| log.bytes.len() as u64).sum()
    }

    /// The digest of the boot log, if it is kept.
    pub(super) fn boot_log(&self, quote: &Tpm2Evidence) -> Option<Fixed<32>> {
        let sent = Fixed(sha256(&quote.boot_log.as_ref()?.0));
        self.logs.iter().any(|log| log.sha256 == sent).then_some(sent)
    }

    pub(super) fn of(quote: &Tpm2Evidence, worth: Worth) -> serde_json::Result<Self> {
        let digest = |log: &Option<Bytes>| log.as_ref().map(|log| Fixed(sha256(&log.0)));
        let length = |log: &Option<Bytes>| log.as_ref().map(|log| log.0.len());
        let boot_log = quote.boot_log.as_ref().filter(|_| worth.boot_log).map(|log| Blob::of(log.0.clone()));
        let covered =
            quote.ima_log.as_ref().zip(worth.ima_log).and_then(|(log, covered)| log.0.get(..covered.min(log.0.len())));
        let ima_log = covered.map(|covered| Blob::of(covered.to_vec()));
        let item = Item {
            boot_log_sha256: digest(&quote.boot_log),
            boot_log_bytes: length(&quote.boot_log),
            ima_log_sha256: digest(&quote.ima_log),
            ima_log_bytes: length(&quote.ima_log),
            ima_log_kept_sha256: ima_log.as_ref().map(|log| log.sha256),
            evidence: Evidence::Tpm2(Tpm2Evidence {
                ak: quote.ak,
                message: quote.message.clone(),
                signature: quote.signature.clone(),
                pcrs: quote.pcrs.clone(),
                boot_log: None,
                ima_log: None,
                ima_offset: quote.ima_offset,
            }),
        };
        let logs = boot_log.into_iter().chain(ima_log).collect();
        Ok(Self { evidence: Blob::of(serde_json::to_vec(&[item])?), logs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_protocol::evidence::{PcrBank, PcrMap, Pcrs};

    const WHOLE: Worth = Worth { boot_log: true, ima_log: Some(7) };

    fn quote(message: &[u8], boot_log: Option<&[u8]>, ima_log: Option<&[u8]>) -> Tpm2Evidence {
        Tpm2Evidence {
            ak: Fixed([1; 32]),
            message: Bytes(message.to_vec()),
            signature: Bytes(vec![3]),
            pcrs: Pcrs { bank: PcrBank::Sha256, values: PcrMap::default() },
            boot_log: boot_log.map(|log| Bytes(log.to_vec())),
            ima_log: ima_log.map(|log| Bytes(log.to_vec())),
            ima_offset: ima_log.map(|_| 7),
        }
    }

    #[test]
    fn a_log_is_kept_once_and_the_evidence_names_it() {
        let first = Kept::of(&quote(b"one", Some(b"boot log"), None), WHOLE).unwrap();
        let second = Kept::of(&quote(b"two", Some(b"boot log"), Some(b"ima log and more")), WHOLE).unwrap();
        assert_eq!(first.logs[0].sha256, second.logs[0].sha256);
        assert_eq!(
            second.logs.iter().map(|log| log.bytes.as_slice()).collect::<Vec<_>>(),
            [&b"boot log"[..], b"ima log"]
        );
        let items: serde_json::Value = serde_json::from_slice(&second.evidence.bytes).unwrap();
        let named = |field: &str| items[0][field].as_str().unwrap().to_owned();
        assert_eq!(named("boot_log_sha256"), Fixed(sha256(b"boot log")).to_string());
        assert_eq!(named("ima_log_sha256"), Fixed(sha256(b"ima log and more")).to_string());
        assert_eq!(named("ima_log_kept_sha256"), Fixed(sha256(b"ima log")).to_string());
        assert_eq!((&items[0]["boot_log_bytes"], &items[0]["ima_log_bytes"]), (&8.into(), &16.into()));
        assert_eq!((items[0]["type"].as_str(), items[0]["ima_offset"].as_u64()), (Some("tpm2"), Some(7)));
        assert!(items[0].get("boot_log").is_none() && items.as_array().unwrap().len() == 1);
    }

    #[test]
    fn a_log_that_ends_with_what_is_covered_is_kept_whole() {
        let quote = quote(b"one", None, Some(b"entry"));
        let kept = Kept::of(&quote, Worth { boot_log: false, ima_log: Some(6) }).unwrap();
        assert_eq!(kept.logs[0].bytes, b"entry");
    }

    #[test]
    fn where_there_is_no_room_only_a_boot_log_that_is_there_is_kept() {
        let quote = quote(b"one", Some(b"boot log"), Some(b"ima log"));
        let known = Some(Fixed(sha256(b"boot log")));
        let kept = |known, left: u64| {
            let kept = Kept::within(&quote, WHOLE, known, |bytes| bytes <= left).unwrap();
            (kept.logs.len(), kept.boot_log(&quote).is_some(), kept.new_bytes(known))
        };
        assert_eq!(kept(None, 15), (2, true, 15));
        assert_eq!(kept(None, 14), (0, false, 0));
        assert_eq!(kept(known, 7), (2, true, 7), "what is there already takes no room");
        assert_eq!(kept(known, 6), (1, true, 0));
        assert_eq!(kept(Some(Fixed(sha256(b"another"))), 0), (0, false, 0));
    }

    #[test]
    fn whatever_differs_in_evidence_differs_in_its_digest() {
        let digest = |quote: &Tpm2Evidence| {
            let kept = Kept::of(quote, Worth::default()).unwrap();
            assert!(kept.logs.is_empty(), "nothing was worth keeping");
            kept.evidence.sha256
        };
        let base = quote(b"one", Some(b"boot log"), None);
        assert_eq!(digest(&base), digest(&base.clone()));
        for other in [
            quote(b"two", Some(b"boot log"), None),
            quote(b"one", Some(b"boot lag"), None),
            quote(b"one", None, None),
            quote(b"one", Some(b"boot log"), Some(b"")),
        ] {
            assert_ne!(digest(&base), digest(&other));
        }
    }
}
