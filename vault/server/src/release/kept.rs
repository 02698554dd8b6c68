//! What is kept of evidence, for replay and explanation: each log by itself, and the rest around the
//! logs' digests. A node sends the same boot log with every request; it is stored once.
//!
//! The ledger is for ever, so nobody may fill it with what says nothing. Of a node that no operator approved no
//! log is kept. Of others a boot log is kept if it is one, also where it was refused: denials of a node have a
//! quota. An IMA log is kept as far as the quote covers it, and not if it was refused. Certificates, a guest's event
//! log and reports of GPUs, which a node sends with every request too, are kept where every item held. Of all this a
//! node has so many bytes an hour, for a log that holds can carry anything that no quote covers. The digest and the
//! length of what was sent stand in the evidence in any case.

use super::{
    evidence::Attested,
    items::{GuestItem, Items},
    logs::{Logs, Shown},
    room::Taken,
};
use crate::{
    problem::{Answer, Refused},
    vault::Vault,
};
use serde::Serialize;
use std::collections::BTreeSet;
use strongroom_protocol::{
    Bytes, Fixed,
    enrol::NodeState,
    evidence::{AzureSnpVtpmEvidence, Evidence, NvidiaGpuEvidence, SevSnpEvidence, TdxEvidence, Tpm2Evidence},
    sha256,
};
use strongroom_store::Blob;
use tokio::time::Instant;

/// Evidence in pieces, each addressed by its content.
pub(super) struct Kept {
    /// JSON: a list of items as they came, but in the place of each log, certificate and report of a GPU its digest:
    /// `boot_log` is empty, and beside it stand `boot_log_sha256` and `boot_log_bytes`. Its own digest stands in the
    /// ledger, and so covers all that was sent. `ima_log_kept_sha256` is of the part of the IMA log that is kept.
    pub(super) evidence: Blob,
    /// What is kept of them, as firmware, kernel and vendors wrote them.
    pub(super) logs: Vec<Blob>,
    /// Which of them is of the IMA log.
    ima_log: Option<Fixed<32>>,
}

/// Which of the logs are worth keeping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Worth {
    /// The boot log.
    pub(super) boot_log: bool,
    /// Bytes of the IMA log as it was sent; none of one that was refused.
    pub(super) ima_log: Option<usize>,
    /// Certificates, a guest's event log, reports of GPUs.
    pub(super) hardware: bool,
}

impl Worth {
    /// By what the logs showed of a node in this state, and whether every item held.
    pub(super) fn of(logs: &Logs, node: NodeState, hardware: bool) -> Self {
        if node != NodeState::Approved {
            return Self::default();
        }
        let boot_log = match &logs.boot {
            Shown::Held(_) => true,
            other => other.malformed() == Some(false),
        };
        Self { boot_log, ima_log: logs.kept.as_ref().map(|kept| kept.covered), hardware }
    }
}

fn boot_log_of(items: &Items) -> Option<&Bytes> {
    items.tpm.as_ref()?.boot_log.as_ref()
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
    #[serde(skip_serializing_if = "Option::is_none")]
    ccel_sha256: Option<Fixed<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ccel_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aux_sha256: Option<Fixed<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aux_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_sha256: Option<Fixed<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates_sha256: Vec<Fixed<32>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates_bytes: Vec<usize>,
}

impl Item {
    fn of(evidence: Evidence) -> Self {
        Self {
            evidence,
            boot_log_sha256: None,
            boot_log_bytes: None,
            ima_log_sha256: None,
            ima_log_bytes: None,
            ima_log_kept_sha256: None,
            ccel_sha256: None,
            ccel_bytes: None,
            aux_sha256: None,
            aux_bytes: None,
            report_sha256: None,
            report_bytes: None,
            certificates_sha256: Vec::new(),
            certificates_bytes: Vec::new(),
        }
    }

    fn with_certificates(mut self, certificates: &[Bytes]) -> Self {
        self.certificates_sha256 = certificates.iter().map(|one| Fixed(sha256(&one.0))).collect();
        self.certificates_bytes = certificates.iter().map(|one| one.0.len()).collect();
        self
    }
}

fn digest(bytes: Option<&Bytes>) -> Option<Fixed<32>> {
    bytes.map(|bytes| Fixed(sha256(&bytes.0)))
}

fn length(bytes: Option<&Bytes>) -> Option<usize> {
    bytes.map(|bytes| bytes.0.len())
}

impl Kept {
    /// What is worth keeping of a request, as far as its node has room, with the room that it takes.
    pub(super) async fn of_request(vault: &Vault, attested: &Attested) -> Answer<(Self, Taken)> {
        let (items, node) = (&attested.asked.items, &attested.node.row);
        let worth = Worth::of(&attested.logs, attested.state(), attested.claims.is_ok());
        let limit = vault.config.limits.log_bytes_per_node_per_hour;
        let take = |kept: &Self| vault.room.take(node.id, &kept.logs, limit, Instant::now());
        let kept = Self::of(items, worth).map_err(Refused::internal)?;
        vault.room.remember(node.id, node.last_boot_log.as_slice(), Instant::now());
        if let Some(taken) = take(&kept) {
            return Ok((kept, taken));
        }
        // Somebody else's count, or an earlier one, may have had room for it.
        let mut there = BTreeSet::new();
        for log in &kept.logs {
            if vault.store.has_blob(log.sha256).await? {
                there.insert(log.sha256);
            }
        }
        vault.room.remember(node.id, &there.iter().copied().collect::<Vec<_>>(), Instant::now());
        if let Some(taken) = take(&kept) {
            return Ok((kept, taken));
        }
        metrics::counter!("strongroom_logs_not_kept_total").increment(1);
        if vault.room.is_news(node.id, Instant::now()) {
            tracing::warn!(node = %node.id, "more new logs within an hour than are kept of a node: their digests only");
        }
        let kept = Self::of(items, worth).and_then(|kept| kept.limited_to(&there, items, worth));
        let kept = kept.map_err(Refused::internal)?;
        // INVARIANT: all of it is known to be kept, and takes no room.
        let taken = take(&kept).ok_or_else(|| Refused::internal("what is kept already takes room"))?;
        Ok((kept, taken))
    }

    /// Nothing but what is kept already.
    fn limited_to(self, there: &BTreeSet<Fixed<32>>, items: &Items, worth: Worth) -> serde_json::Result<Self> {
        let ima_log = worth.ima_log.filter(|_| self.ima_log.is_some_and(|log| there.contains(&log)));
        let mut kept = Self::of(items, Worth { ima_log, ..worth })?;
        kept.logs.retain(|log| there.contains(&log.sha256));
        Ok(kept)
    }

    /// The digest of the boot log, if it is kept.
    pub(super) fn boot_log(&self, items: &Items) -> Option<Fixed<32>> {
        let sent = Fixed(sha256(&boot_log_of(items)?.0));
        self.logs.iter().any(|log| log.sha256 == sent).then_some(sent)
    }

    pub(super) fn of(items: &Items, worth: Worth) -> serde_json::Result<Self> {
        let (mut written, mut logs, mut ima_log) = (Vec::new(), Vec::new(), None);
        if let Some(quote) = &items.tpm {
            let (item, kept) = of_tpm(quote, worth);
            ima_log = item.ima_log_kept_sha256;
            written.push(item);
            logs.extend(kept);
        }
        let mut hardware: Vec<&Bytes> = Vec::new();
        if let Some(guest) = &items.guest {
            let (item, rest) = of_guest(guest);
            written.push(item);
            hardware.extend(rest);
        }
        for gpu in items.gpus.iter() {
            let bare = NvidiaGpuEvidence { report: Bytes::default(), certificates: Vec::new() };
            let item = Item {
                report_sha256: digest(Some(&gpu.report)),
                report_bytes: length(Some(&gpu.report)),
                ..Item::of(Evidence::NvidiaGpu(bare))
            };
            written.push(item.with_certificates(&gpu.certificates));
            hardware.push(&gpu.report);
            hardware.extend(&gpu.certificates);
        }
        if worth.hardware {
            let mut seen = BTreeSet::new();
            let blobs = hardware.into_iter().map(|bytes| Blob::of(bytes.0.clone()));
            logs.extend(blobs.filter(|blob| seen.insert(blob.sha256)));
        }
        Ok(Self { evidence: Blob::of(serde_json::to_vec(&written)?), logs, ima_log })
    }
}

/// The quote, and what is kept of its logs.
fn of_tpm(quote: &Tpm2Evidence, worth: Worth) -> (Item, Vec<Blob>) {
    let boot_log = quote.boot_log.as_ref().filter(|_| worth.boot_log).map(|log| Blob::of(log.0.clone()));
    let covered =
        quote.ima_log.as_ref().zip(worth.ima_log).and_then(|(log, covered)| log.0.get(..covered.min(log.0.len())));
    let ima_log = covered.map(|covered| Blob::of(covered.to_vec()));
    let bare = Tpm2Evidence {
        ak: quote.ak,
        message: quote.message.clone(),
        signature: quote.signature.clone(),
        pcrs: quote.pcrs.clone(),
        boot_log: None,
        ima_log: None,
        ima_offset: quote.ima_offset,
    };
    let item = Item {
        boot_log_sha256: digest(quote.boot_log.as_ref()),
        boot_log_bytes: length(quote.boot_log.as_ref()),
        ima_log_sha256: digest(quote.ima_log.as_ref()),
        ima_log_bytes: length(quote.ima_log.as_ref()),
        ima_log_kept_sha256: ima_log.as_ref().map(|log| log.sha256),
        ..Item::of(Evidence::Tpm2(bare))
    };
    (item, boot_log.into_iter().chain(ima_log).collect())
}

/// The guest's evidence, and what stands beside it by its digest.
fn of_guest(guest: &GuestItem) -> (Item, Vec<&Bytes>) {
    match guest {
        GuestItem::Snp(item) => {
            let bare = SevSnpEvidence { report: item.report.clone(), certificates: Vec::new(), aux: None };
            let aux = item.aux.as_ref();
            let of = Item { aux_sha256: digest(aux), aux_bytes: length(aux), ..Item::of(Evidence::SevSnp(bare)) };
            (of.with_certificates(&item.certificates), item.certificates.iter().chain(aux).collect())
        }
        GuestItem::Tdx(item) => {
            let bare = TdxEvidence { quote: item.quote.clone(), ccel: None };
            let ccel = item.ccel.as_ref();
            let of = Item { ccel_sha256: digest(ccel), ccel_bytes: length(ccel), ..Item::of(Evidence::Tdx(bare)) };
            (of, ccel.into_iter().collect())
        }
        GuestItem::Azure(item) => {
            let bare = AzureSnpVtpmEvidence {
                hcl_report: item.hcl_report.clone(),
                message: item.message.clone(),
                signature: item.signature.clone(),
                pcrs: item.pcrs.clone(),
                certificates: Vec::new(),
            };
            let of = Item::of(Evidence::AzureSnpVtpm(bare));
            (of.with_certificates(&item.certificates), item.certificates.iter().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use strongroom_protocol::evidence::{PcrBank, PcrMap, Pcrs};

    const WHOLE: Worth = Worth { boot_log: true, ima_log: Some(7), hardware: true };

    fn quote(message: &[u8], boot_log: Option<&[u8]>, ima_log: Option<&[u8]>) -> Items {
        let quote = Tpm2Evidence {
            ak: Fixed([1; 32]),
            message: Bytes(message.to_vec()),
            signature: Bytes(vec![3]),
            pcrs: Pcrs { bank: PcrBank::Sha256, values: PcrMap::default() },
            boot_log: boot_log.map(|log| Bytes(log.to_vec())),
            ima_log: ima_log.map(|log| Bytes(log.to_vec())),
            ima_offset: ima_log.map(|_| 7),
        };
        Items { tpm: Some(Arc::new(quote)), guest: None, gpus: Arc::new([]) }
    }

    fn guest(certificate: &[u8], gpu: &[u8]) -> Items {
        let certificates = vec![Bytes(certificate.to_vec())];
        let report =
            SevSnpEvidence { report: Bytes(vec![1]), certificates: certificates.clone(), aux: Some(Bytes(vec![2])) };
        let gpu = NvidiaGpuEvidence { report: Bytes(gpu.to_vec()), certificates };
        Items { tpm: None, guest: Some(Arc::new(GuestItem::Snp(report))), gpus: Arc::new([gpu]) }
    }

    #[test]
    fn what_stands_beside_reports_is_kept_once_and_named_by_digest() {
        let items = guest(b"certificate", b"gpu");
        let kept = Kept::of(&items, WHOLE).unwrap();
        let bodies: Vec<_> = kept.logs.iter().map(|blob| blob.bytes.as_slice()).collect();
        assert_eq!(bodies, [&b"certificate"[..], &[2], b"gpu"]);
        let written: serde_json::Value = serde_json::from_slice(&kept.evidence.bytes).unwrap();
        let named = |bytes: &[u8]| serde_json::to_value(Fixed(sha256(bytes))).unwrap();
        assert_eq!(written[0]["type"], "sev-snp");
        assert_eq!(
            (&written[0]["certificates_sha256"][0], &written[0]["aux_sha256"]),
            (&named(b"certificate"), &named(&[2]))
        );
        assert_eq!((&written[1]["report_sha256"], &written[1]["report_bytes"]), (&named(b"gpu"), &3.into()));
        assert!(written[0].get("certificates").is_none() && written[0].get("aux").is_none());

        let nothing = Kept::of(&items, Worth { hardware: false, ..WHOLE }).unwrap();
        assert_eq!((nothing.logs.len(), nothing.evidence.sha256), (0, kept.evidence.sha256), "but it is named");
        for other in [guest(b"another", b"gpu"), guest(b"certificate", b"another")] {
            assert_ne!(Kept::of(&other, WHOLE).unwrap().evidence.sha256, kept.evidence.sha256);
        }
        let there = BTreeSet::from([Fixed(sha256(b"certificate"))]);
        let full = kept_of(&items, &there);
        assert_eq!((full.logs.len(), full.evidence.sha256), (1, kept.evidence.sha256), "where there is no room");
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
        let kept = Kept::of(&quote, Worth { boot_log: false, ima_log: Some(6), hardware: false }).unwrap();
        assert_eq!(kept.logs[0].bytes, b"entry");
    }

    fn kept_of(items: &Items, there: &BTreeSet<Fixed<32>>) -> Kept {
        Kept::of(items, WHOLE).unwrap().limited_to(there, items, WHOLE).unwrap()
    }

    #[test]
    fn where_there_is_no_room_only_what_is_there_is_kept_and_named() {
        let quote = quote(b"one", Some(b"boot log"), Some(b"ima log and more"));
        let limited = |there: &[&[u8]]| {
            let kept = kept_of(&quote, &there.iter().map(|log| Fixed(sha256(log))).collect());
            let named = String::from_utf8(kept.evidence.bytes.clone()).unwrap().contains("ima_log_kept_sha256");
            (kept.logs.len(), kept.boot_log(&quote).is_some(), named)
        };
        assert_eq!(limited(&[b"boot log", b"ima log"]), (2, true, true));
        assert_eq!(limited(&[b"boot log"]), (1, true, false));
        assert_eq!(limited(&[b"ima log", b"ima log and more"]), (1, false, true));
        assert_eq!(limited(&[b"ima log and more", b"another"]), (0, false, false));
    }

    #[test]
    fn whatever_differs_in_evidence_differs_in_its_digest() {
        let digest = |quote: &Items| {
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
