//! What is kept of evidence, for replay and explanation: each log by itself, and the rest around the
//! logs' digests. A node sends the same boot log with every request; it is stored once.

use serde::Serialize;
use strongroom_protocol::{
    Bytes, Fixed,
    evidence::{Evidence, Tpm2Evidence},
};
use strongroom_store::Blob;

/// Evidence in pieces, each addressed by its content.
pub(super) struct Kept {
    /// JSON: a list of items as they came, but with `boot_log_sha256` and `ima_log_sha256` in place
    /// of the logs. Its digest stands in the ledger, and so covers all that was sent.
    pub(super) evidence: Blob,
    /// The logs, as the node's firmware and kernel wrote them.
    pub(super) logs: Vec<Blob>,
}

#[derive(Serialize)]
struct Item {
    #[serde(flatten)]
    evidence: Evidence,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_log_sha256: Option<Fixed<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ima_log_sha256: Option<Fixed<32>>,
}

impl Kept {
    pub(super) fn of(quote: &Tpm2Evidence) -> serde_json::Result<Self> {
        let mut logs = Vec::new();
        let mut keep = |log: &Option<Bytes>| {
            let log = Blob::of(log.as_ref()?.0.clone());
            let sha256 = log.sha256;
            logs.push(log);
            Some(sha256)
        };
        let item = Item {
            boot_log_sha256: keep(&quote.boot_log),
            ima_log_sha256: keep(&quote.ima_log),
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
        Ok(Self { evidence: Blob::of(serde_json::to_vec(&[item])?), logs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_protocol::{
        evidence::{PcrBank, PcrMap, Pcrs},
        sha256,
    };

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
        let first = Kept::of(&quote(b"one", Some(b"boot log"), None)).unwrap();
        let second = Kept::of(&quote(b"two", Some(b"boot log"), Some(b"ima log"))).unwrap();
        assert_eq!(first.logs[0].sha256, second.logs[0].sha256);
        assert_eq!(
            second.logs.iter().map(|log| log.bytes.as_slice()).collect::<Vec<_>>(),
            [&b"boot log"[..], b"ima log"]
        );
        let items: serde_json::Value = serde_json::from_slice(&second.evidence.bytes).unwrap();
        let named = |field: &str| items[0][field].as_str().unwrap().to_owned();
        assert_eq!(named("boot_log_sha256"), Fixed(sha256(b"boot log")).to_string());
        assert_eq!(named("ima_log_sha256"), Fixed(sha256(b"ima log")).to_string());
        assert_eq!((items[0]["type"].as_str(), items[0]["ima_offset"].as_u64()), (Some("tpm2"), Some(7)));
        assert!(items[0].get("boot_log").is_none() && items.as_array().unwrap().len() == 1);
    }

    #[test]
    fn whatever_differs_in_evidence_differs_in_its_digest() {
        let digest = |quote: &Tpm2Evidence| Kept::of(quote).unwrap().evidence.sha256;
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
