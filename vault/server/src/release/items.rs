//! The items of evidence that one request brings: capped, sorted by what they are of, and whose they say they are.
//!
//! A request is made by one machine: at most one quote of its TPM, at most one guest whose memory a processor
//! encrypts, and the GPUs beside that guest. Nothing of it is believed here. What an item says of its machine is good
//! for looking a node up; that the machine itself said so is shown by the signature, and judged in [`super::verify`].

use crate::problem::{Answer, Refused};
use std::sync::Arc;
use strongroom_attest::{
    azure::{Envelope, RuntimeData},
    snp::AttestationReport,
    tdx::Quote,
};
use strongroom_protocol::{
    Bytes, Code, Problem,
    evidence::{AzureSnpVtpmEvidence, Evidence, NvidiaGpuEvidence, Pcrs, SevSnpEvidence, TdxEvidence, Tpm2Evidence},
    identity::{Identity, IdentityKind},
    limits,
};
use strongroom_store::Whose;

/// PCRs that there are, and bytes of the longest value that a bank has.
const PCRS: usize = 24;
const PCR_VALUE: usize = 64;

/// Evidence of one machine, as it says.
#[derive(Debug, Clone)]
pub(super) struct Items {
    /// The quote of the machine's TPM.
    pub(super) tpm: Option<Arc<Tpm2Evidence>>,
    /// The evidence of a guest whose memory a processor encrypts.
    pub(super) guest: Option<Arc<GuestItem>>,
    /// A report of each GPU.
    pub(super) gpus: Arc<[NvidiaGpuEvidence]>,
}

/// Evidence of a guest, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GuestItem {
    Snp(SevSnpEvidence),
    Tdx(TdxEvidence),
    Azure(AzureSnpVtpmEvidence),
}

impl Items {
    /// Sorts the items. What no machine sends is refused here, where it costs nothing.
    pub(super) fn sort(evidence: Vec<Evidence>) -> Answer<Self> {
        let (mut tpm, mut guest): (Option<Tpm2Evidence>, Option<GuestItem>) = (None, None);
        let mut gpus: Vec<NvidiaGpuEvidence> = Vec::new();
        for item in evidence {
            let other = match item {
                Evidence::Tpm2(item) => {
                    match &tpm {
                        None => tpm = Some(item),
                        Some(first) if first.ak != item.ak => {
                            return Err(not_one_node("the items are not evidence of one node"));
                        }
                        Some(_) => {
                            return Err(Refused::malformed(
                                "evidence",
                                "a node has one TPM: send one item of type tpm2",
                            ));
                        }
                    }
                    continue;
                }
                Evidence::NvidiaGpu(item) => {
                    if gpus.iter().any(|other| other.report == item.report) {
                        return Err(not_one_node("one report of a GPU is there twice: each device is shown once"));
                    }
                    gpus.push(item);
                    continue;
                }
                Evidence::SevSnp(item) => GuestItem::Snp(item),
                Evidence::Tdx(item) => GuestItem::Tdx(item),
                Evidence::AzureSnpVtpm(item) => GuestItem::Azure(item),
            };
            if guest.is_some() {
                return Err(not_one_node("the items are of two guests: a request is made by one"));
            }
            guest = Some(other);
        }
        match (&tpm, &guest, gpus.is_empty()) {
            (None, None, true) => Err(Refused::malformed("evidence", "at least one item")),
            (None, None, false) => {
                Err(not_one_node("a GPU counts beside evidence of the guest that collected it only"))
            }
            _ => Ok(Self { tpm: tpm.map(Arc::new), guest: guest.map(Arc::new), gpus: gpus.into() }),
        }
    }

    /// True where a TPM's quote is all.
    pub(super) fn is_tpm_alone(&self) -> bool {
        self.guest.is_none() && self.gpus.is_empty()
    }

    /// Whose evidence it says it is: the machine's TPM by its AK, else what the guest's evidence names, one after the
    /// other until a node is found.
    pub(super) fn whose(&self) -> Answer<Vec<Whose>> {
        if let Some(tpm) = &self.tpm {
            return Ok(vec![Whose::Ak(tpm.ak)]);
        }
        let refused = |row: &'static str, why: String| -> Refused {
            tracing::info!(row, %why, "evidence refused before it said whose it is");
            Problem::new(Code::EvidenceRefused).row(row).into()
        };
        let said: Vec<Identity> = match self.guest.as_deref() {
            None => Vec::new(),
            Some(GuestItem::Snp(item)) => {
                let report = AttestationReport::parse(&item.report.0).map_err(|e| refused(e.row(), e.to_string()))?;
                said_chip(&report).into_iter().collect()
            }
            Some(GuestItem::Tdx(item)) => {
                let quote = Quote::parse(&item.quote.0).map_err(|e| refused(e.row(), e.to_string()))?;
                quote.said_identity().into_iter().collect()
            }
            Some(GuestItem::Azure(item)) => {
                let envelope = Envelope::parse(&item.hcl_report.0).map_err(|e| refused(e.row(), e.to_string()))?;
                let runtime = RuntimeData::parse(envelope.runtime_data).map_err(|e| refused(e.row(), e.to_string()))?;
                // Not by its processor: strangers' machines run on that, and would be denied in its owner's name.
                runtime.vm_id.and_then(|id| Identity::read(IdentityKind::CloudVm, &id).ok()).into_iter().collect()
            }
        };
        if said.is_empty() {
            return Err(not_one_node(
                "it names no machine: a chip id that firmware masks is nobody's, have the host show it; a cloud's \
                 machine names its own id",
            ));
        }
        Ok(said.into_iter().map(Whose::Identity).collect())
    }
}

fn said_chip(report: &AttestationReport) -> Option<Identity> {
    Identity::read(IdentityKind::SnpChip, &hex::encode(report.chip_id()?)).ok()
}

/// Row E7, before any signature.
fn not_one_node(why: &str) -> Refused {
    Problem::new(Code::EvidenceRefused).row("E7").detail(why).into()
}

/// Sizes and counts of every field of every kind, before anything is read from it.
pub(super) fn check_caps(evidence: &[Evidence]) -> Answer<()> {
    cap("evidence", evidence.len(), limits::EVIDENCE_ITEMS)?;
    for item in evidence {
        match item {
            Evidence::Tpm2(item) => {
                quote(&item.message, &item.signature, &item.pcrs)?;
                cap("evidence.boot_log", length(item.boot_log.as_ref()), limits::BOOT_LOG)?;
                cap("evidence.ima_log", length(item.ima_log.as_ref()), limits::IMA_LOG)?;
            }
            Evidence::SevSnp(item) => {
                cap("evidence.report", item.report.0.len(), limits::SNP_REPORT)?;
                cap("evidence.aux", length(item.aux.as_ref()), limits::SNP_AUX)?;
                certificates(&item.certificates)?;
            }
            Evidence::Tdx(item) => {
                cap("evidence.quote", item.quote.0.len(), limits::TDX_QUOTE)?;
                cap("evidence.ccel", length(item.ccel.as_ref()), limits::BOOT_LOG)?;
            }
            Evidence::NvidiaGpu(item) => {
                cap("evidence.report", item.report.0.len(), limits::GPU_REPORT)?;
                certificates(&item.certificates)?;
            }
            Evidence::AzureSnpVtpm(item) => {
                cap("evidence.hcl_report", item.hcl_report.0.len(), limits::HCL_REPORT)?;
                quote(&item.message, &item.signature, &item.pcrs)?;
                certificates(&item.certificates)?;
            }
        }
    }
    Ok(())
}

fn quote(message: &Bytes, signature: &Bytes, pcrs: &Pcrs) -> Answer<()> {
    cap("evidence.message", message.0.len(), limits::TPM_STRUCTURE)?;
    cap("evidence.signature", signature.0.len(), limits::TPM_STRUCTURE)?;
    cap("evidence.pcrs", pcrs.values.0.len(), PCRS)?;
    pcrs.values.0.values().try_for_each(|value| cap("evidence.pcrs", value.0.len(), PCR_VALUE))
}

fn certificates(certificates: &[Bytes]) -> Answer<()> {
    cap("evidence.certificates", certificates.len(), limits::CERTIFICATES)?;
    certificates.iter().try_for_each(|one| cap("evidence.certificates", one.0.len(), limits::CERTIFICATE))
}

fn length(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(0, |bytes| bytes.0.len())
}

pub(super) fn cap(field: &str, actual: usize, limit: usize) -> Answer<()> {
    if actual > limit {
        Err(Problem::new(Code::TooLarge).field(field).detail(format!("at most {limit}")).into())
    } else {
        Ok(())
    }
}
