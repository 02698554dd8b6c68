//! Verification of all items of a request, each by its module; and what all of them show together (row E7).
//!
//! ```text
//! tpm2 ──quote::verify───────────────────────────────┐
//! guest ──snp, tdx, azure──┐ on threads of their own, ├─> Evident ──Claims::of(record)──> Claims { devices }
//! GPUs ──nvidia────────────┘ with endorsements at hand┘      or every refusal
//! ```
//!
//! The *first* item is the one by which the node was found: its TPM's quote, or else its guest's evidence. Before that
//! has signed this request nobody has asked anything: whatever is wrong with it is refused, and nothing is stored.
//! After it, whatever is wrong with any item is a denial of the node that sent it.

use super::{
    items::{GuestItem, Items},
    judgement::REBOOTED,
    known::Known,
    request::Asked,
};
use crate::{
    endorsements::Current,
    enforced::Enforced,
    problem::{Answer, Refused},
    vault::Vault,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};
use strongroom_attest::{
    BootCounters, QuoteEvidence, QuoteExpectation, TpmClaims,
    azure::{self, AzureEvidence, AzureExpectation, Envelope},
    composite::{self, CompositeRefused, Devices, Shown},
    nvidia::{self, GpuEvidence, GpuExpectation, GpuRefused, Revocation, VerifiedRim},
    pins::PinKind,
    quote,
    snp::{self, AttestationReport, SnpEvidence, SnpExpectation, SnpRefused},
    tdx::{self, Quote, TdxRefused},
    tpm::Public,
};
use strongroom_protocol::{
    Code, Fixed, Problem,
    binding::{
        TAG_NVIDIA, TAG_NVIDIA_AGENT, TAG_SNP, TAG_SNP_AGENT, TAG_TDX, TAG_TDX_AGENT, TAG_TPM, TAG_TPM_AGENT,
        gpu_nonce, report_data, tpm_extra_data,
    },
    claims::{AzureClaims, GpuClaims, SnpClaims, TdxClaims},
    evidence::{EvidenceKind, NvidiaGpuEvidence, PcrBank, PcrSelection, SevSnpEvidence, Tpm2Evidence},
    identity::Identity,
    requirements::{GpuRequirements, SnpRequirements, TdxRequirements},
};
use strongroom_store::model::{LeaseRow, LeasedGuest, NodeRow};
use tokio::sync::Semaphore;

/// Requests whose chains, quotes and reports are verified at one time.
static VERIFYING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

/// What the items showed, each by itself.
#[derive(Debug, Clone)]
pub(super) struct Evident {
    pub(super) tpm: Option<Arc<TpmClaims>>,
    pub(super) guest: Option<GuestClaims>,
    /// Ascending by device.
    pub(super) gpus: Vec<GpuClaims>,
    shown: Vec<Shown>,
}

/// What a guest's evidence showed, by its kind.
#[derive(Debug, Clone)]
pub(super) enum GuestClaims {
    Snp(Box<SnpClaims>),
    Tdx(Box<TdxClaims>),
    /// With the counters of the vTPM's quote.
    Azure(Box<AzureClaims>, BootCounters),
}

/// What the items showed, all of one approved record.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    evident: Arc<Evident>,
    /// The devices of the record.
    pub(super) devices: Devices,
}

/// An item that was refused although the node has signed this request, or items that are not of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Such as `S6`.
    pub(super) row: &'static str,
    /// What was wrong and what to do, for authorised people.
    pub(super) why: String,
    /// True where the device itself has signed what was refused: then it tells of the node, else of who sent it, or of
    /// what was imported.
    pub(super) is_signed: bool,
}

/// What the first item is refused for, where it has not signed this request.
struct Unsigned {
    row: &'static str,
    why: String,
}

/// What is asked of evidence beyond what always holds.
#[derive(Debug, Clone)]
pub(super) struct Asks {
    selection: PcrSelection,
    snp: SnpRequirements,
    tdx: TdxRequirements,
    gpu: GpuRequirements,
}

impl Asks {
    /// By the policy in force; before there is one, by the configuration, and strictly.
    pub(super) fn of(vault: &Vault, enforced: &Enforced) -> Self {
        match &enforced.policy {
            Some(policy) => {
                let (bundle, settings) = (policy.bundle(), policy.bundle().settings());
                Self {
                    selection: bundle.pcr_selection(),
                    snp: settings.snp.clone(),
                    tdx: settings.tdx.clone(),
                    gpu: settings.gpu.clone(),
                }
            }
            None => Self {
                selection: PcrSelection { bank: PcrBank::Sha256, pcrs: vault.config.attestation.pcrs.clone() },
                snp: SnpRequirements::default(),
                tdx: TdxRequirements::default(),
                gpu: GpuRequirements::default(),
            },
        }
    }
}

/// What became of the items, and by which endorsements.
pub(super) struct Verified {
    /// What they showed, or all that was refused.
    pub(super) outcome: Result<Arc<Evident>, Vec<Refusal>>,
    /// None where nothing rests on endorsements: a TPM's quote is held against its enrolment.
    pub(super) endorsement_generation: Option<i64>,
}

/// Verifies every item of a request of `node`. An error is for a request
/// that no node has signed.
pub(super) async fn verify(
    vault: &Vault,
    asked: &Asked,
    node: &NodeRow,
    renewed: Option<&LeaseRow>,
    asks: Asks,
) -> Answer<Verified> {
    let mut refusals = Vec::new();
    let mut evident = Evident { tpm: None, guest: None, gpus: Vec::new(), shown: Vec::new() };
    if let Some(item) = &asked.items.tpm {
        match verify_tpm(asked, item, &asks.selection, node, renewed)? {
            Ok(claims) => {
                evident.shown.push(Shown::one(EvidenceKind::Tpm2, Identity::of_tpm(&node.id)));
                evident.tpm = Some(Arc::new(claims));
            }
            Err(refused) if refused.is_signed_for_this_request() => refusals.push(Refusal::from(&refused)),
            Err(refused) => return Err(unsigned(node, refused.row(), &refused.to_string())),
        }
    }
    let mut endorsement_generation = None;
    if !asked.items.is_tpm_alone() {
        // Who waits here is judged by what is published when its turn comes.
        let verifying = VERIFYING.acquire().await.map_err(Refused::internal)?;
        let endorsements = vault.endorsements.current(vault.store.as_ref()).await?;
        endorsement_generation = Some(endorsements.generation);
        let work = Work {
            items: asked.items.clone(),
            statement: Arc::clone(&asked.statement_bytes),
            caller: asked.caller.as_ref().map(|caller| Arc::clone(&caller.bytes)),
            endorsements,
            known: Arc::clone(&vault.known),
            asks,
            at: u64::try_from(asked.at).unwrap_or(0),
        };
        let done = tokio::task::spawn_blocking(move || {
            // The thread goes on when the requester goes away, and takes its place until it ends.
            let _verifying = verifying;
            work.verify(evident)
        });
        match done.await.map_err(Refused::internal)? {
            Ok((seen, mut more)) => {
                evident = seen;
                refusals.append(&mut more);
            }
            Err(Unsigned { row, why }) => return Err(unsigned(node, row, &why)),
        }
    }
    let outcome = if refusals.is_empty() { Ok(Arc::new(evident)) } else { Err(refusals) };
    Ok(Verified { outcome, endorsement_generation })
}

fn unsigned(node: &NodeRow, row: &'static str, why: &str) -> Refused {
    tracing::info!(node = %node.id, row, why, "evidence refused");
    Problem::new(Code::EvidenceRefused).row(row).into()
}

fn verify_tpm(
    asked: &Asked,
    item: &Tpm2Evidence,
    selection: &PcrSelection,
    node: &NodeRow,
    renewed: Option<&LeaseRow>,
) -> Answer<Result<TpmClaims, strongroom_attest::Refused>> {
    let damaged =
        |e: &dyn std::fmt::Display| Refused::internal(format!("the record of node {} is damaged: {e}", node.id));
    let tpm = node.tpm.as_ref().ok_or_else(|| damaged(&"it was found by an AK, and has no TPM"))?;
    let public = Public::parse(&tpm.ak_public.0).map_err(|e| damaged(&e))?;
    let ek = Public::parse(&tpm.ek_public.0).map_err(|e| damaged(&e))?;
    let caller = asked.caller.as_ref().map(|caller| caller.bytes.as_slice());
    let tag = if caller.is_some() { TAG_TPM_AGENT } else { TAG_TPM };
    let expectation = QuoteExpectation {
        ak: &public,
        ek_name: &ek.name(),
        extra_data: tpm_extra_data(tag, &asked.statement_bytes, caller),
        selection,
        boot: renewed
            .and_then(|lease| lease.boot)
            .map(|(reset_count, restart_count)| BootCounters { reset_count, restart_count }),
    };
    Ok(quote::verify(QuoteEvidence::from(item), &expectation))
}

/// What is verified on a thread of its own.
struct Work {
    items: Items,
    statement: Arc<Vec<u8>>,
    caller: Option<Arc<Vec<u8>>>,
    endorsements: Arc<Current>,
    known: Arc<Known>,
    asks: Asks,
    /// The time of judgement by the database's clock, Unix seconds.
    at: u64,
}

impl Work {
    fn verify(&self, mut evident: Evident) -> Result<(Evident, Vec<Refusal>), Unsigned> {
        let mut refusals = Vec::new();
        if let Some(item) = &self.items.guest {
            match self.guest(item) {
                Ok(claims) => {
                    evident.shown.push(claims.shown());
                    evident.guest = Some(claims);
                }
                // It is the first where no TPM is.
                Err(refusal) if self.items.tpm.is_none() && !refusal.is_signed => {
                    return Err(Unsigned { row: refusal.row, why: refusal.why });
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        for item in self.items.gpus.iter() {
            match self.gpu(item) {
                Ok(claims) => {
                    evident.shown.push(Shown::one(EvidenceKind::NvidiaGpu, nvidia::identity(&claims)));
                    evident.gpus.push(claims);
                }
                Err(refused) => refusals.push(Refusal::from(&refused)),
            }
        }
        evident.gpus.sort_by(|one, other| one.device.cmp(&other.device));
        Ok((evident, refusals))
    }

    fn bound_report_data(&self, tag: &'static str, agents: &'static str) -> [u8; 64] {
        let tag = if self.caller.is_some() { agents } else { tag };
        report_data(tag, &self.statement, self.caller.as_ref().map(|caller| caller.as_slice()))
    }

    fn guest(&self, item: &GuestItem) -> Result<GuestClaims, Refusal> {
        match item {
            GuestItem::Snp(item) => {
                let expect = SnpExpectation {
                    report_data: Some(self.bound_report_data(TAG_SNP, TAG_SNP_AGENT)),
                    requirements: &self.asks.snp,
                };
                let claims = self.snp(item, &expect).map_err(|e| Refusal::from(&e))?;
                Ok(GuestClaims::Snp(Box::new(claims)))
            }
            GuestItem::Tdx(item) => {
                let report_data = self.bound_report_data(TAG_TDX, TAG_TDX_AGENT);
                let quote = Quote::parse(&item.quote.0).and_then(|quote| quote.key());
                let collateral = self.endorsements.store.tdx(&quote.map_err(|e| Refusal::from(&e))?);
                let expect = tdx::Expectation {
                    report_data: Some(&report_data),
                    collateral: collateral.as_ref(),
                    pins: self.endorsements.store.pins(),
                    at: self.at,
                    requirements: &self.asks.tdx,
                };
                let evidence =
                    tdx::Evidence { quote: &item.quote.0, ccel: item.ccel.as_ref().map(|log| log.0.as_slice()) };
                Ok(GuestClaims::Tdx(Box::new(tdx::verify(&evidence, &expect).map_err(|e| Refusal::from(&e))?)))
            }
            GuestItem::Azure(item) => {
                let refused = |e: azure::AzureRefused| Refusal::from(&e);
                let caller = self.caller.as_ref().map(|caller| caller.as_slice());
                let tag = if caller.is_some() { TAG_TPM_AGENT } else { TAG_TPM };
                let expect = AzureExpectation {
                    extra_data: tpm_extra_data(tag, &self.statement, caller),
                    selection: &self.asks.selection,
                    requirements: &self.asks.snp,
                };
                let envelope = Envelope::parse(&item.hcl_report.0).map_err(refused)?;
                let report = AttestationReport::parse(envelope.report).map_err(|e| refused(e.into()))?;
                let stored = self.endorsements.store.snp(&report).map_err(|e| refused(e.into()))?;
                let (roots, store) = (&self.endorsements.snp_roots, stored.as_store());
                let verified = azure::verify_counted(&AzureEvidence::from(item), &expect, roots, &store, self.at);
                let (claims, boot) = verified.map_err(refused)?;
                Ok(GuestClaims::Azure(Box::new(claims), boot))
            }
        }
    }

    /// A report under a chain that was verified before, or that is now.
    fn snp(&self, item: &SevSnpEvidence, expect: &SnpExpectation<'_>) -> Result<SnpClaims, SnpRefused> {
        let report = AttestationReport::parse(&item.report.0)?;
        let stored = self.endorsements.store.snp(&report)?;
        let (evidence, store) = (SnpEvidence::from(item), stored.as_store());
        let key = snp::cache_key(&report, &evidence, &store, &self.endorsements.snp_roots);
        let (generation, at) = (self.endorsements.generation, i64::try_from(self.at).unwrap_or(i64::MAX));
        let known = self.known.chain(generation, &key, at);
        let is_new = known.is_none();
        let chain = match known {
            Some(chain) => chain,
            None => Arc::new(snp::verify_chain(&report, &evidence, &self.endorsements.snp_roots, &store, self.at)?),
        };
        let claims = snp::verify_with(&item.report.0, &chain, expect, self.at);
        if is_new && claims.as_ref().map_or_else(SnpRefused::is_signed_for_this_request, |_| true) {
            self.known.keep_chain(generation, key, chain, at);
        }
        claims
    }

    fn gpu(&self, item: &NvidiaGpuEvidence) -> Result<GpuClaims, GpuRefused> {
        let caller = self.caller.as_ref().map(|caller| caller.as_slice());
        let tag = if caller.is_some() { TAG_NVIDIA_AGENT } else { TAG_NVIDIA };
        let nonce = gpu_nonce(tag, &self.statement, caller);
        let (evidence, store) = (GpuEvidence::from(item), &self.endorsements.store);
        let ids = nvidia::rim_ids(&evidence);
        let driver_rim = ids.as_ref().and_then(|ids| self.manifest(&ids.driver));
        let vbios_rim = ids.as_ref().and_then(|ids| self.manifest(&ids.vbios));
        let lists = [store.lists(PinKind::NvidiaDeviceRoot), store.lists(PinKind::NvidiaRimRoot)].concat();
        let answers = nvidia::answers(store, &evidence, [driver_rim.as_deref(), vbios_rim.as_deref()]);
        let expect = GpuExpectation {
            nonce: Some(&nonce),
            pins: store.pins(),
            at: self.at,
            driver_rim: driver_rim.as_deref(),
            vbios_rim: vbios_rim.as_deref(),
            // Which GPUs they may be is row E7, of all items together.
            record: None,
            revocation: Revocation { crls: &lists, ocsp: &answers },
            // Nothing that travels binds the guest's word.
            guest: None,
            requirements: &self.asks.gpu,
        };
        nvidia::verify(&evidence, &expect)
    }

    /// A manifest that was verified before, or that is now; `None` where none was imported. It was verified when it
    /// was imported: one that does not hold any more is as good as none.
    fn manifest(&self, id: &str) -> Option<Arc<VerifiedRim>> {
        let bytes = self.endorsements.store.manifest(id)?;
        let key = (id.to_owned(), strongroom_protocol::sha256(bytes));
        let (generation, at) = (self.endorsements.generation, i64::try_from(self.at).unwrap_or(i64::MAX));
        if let Some(known) = self.known.manifest(generation, &key, at) {
            return Some(known);
        }
        match nvidia::rim::verify(id, bytes, self.endorsements.store.pins(), self.at) {
            Ok(verified) => {
                let verified = Arc::new(verified);
                self.known.keep_manifest(generation, key, Arc::clone(&verified), at);
                Some(verified)
            }
            Err(refused) => {
                tracing::warn!(id, %refused, "a stored manifest does not hold");
                None
            }
        }
    }
}

impl GuestClaims {
    fn shown(&self) -> Shown {
        let (by, identities): (_, Vec<Identity>) = match self {
            Self::Snp(claims) => (EvidenceKind::SevSnp, claims.identity().into_iter().collect()),
            Self::Tdx(claims) => (EvidenceKind::Tdx, vec![claims.identity()]),
            Self::Azure(claims, _) => {
                (EvidenceKind::AzureSnpVtpm, claims.identity().into_iter().chain(claims.snp.identity()).collect())
            }
        };
        Shown { by, identities }
    }

    /// The guest as a lease names it.
    pub(super) fn leased(&self) -> LeasedGuest {
        let (launch, key) = match self {
            Self::Snp(claims) => (Some(claims.report_id.as_str()), None),
            Self::Tdx(claims) => (claims.guest.td_id.as_deref(), None),
            Self::Azure(claims, _) => (Some(claims.snp.report_id.as_str()), Some(claims.ak_sha256.as_str())),
        };
        let digest = |hex: &str| hex::decode(hex).ok().and_then(|bytes| Fixed::try_from(bytes.as_slice()).ok());
        let Shown { by, identities } = self.shown();
        let (launch, key_sha256) = (launch.and_then(digest), key.and_then(digest));
        LeasedGuest { by, identities: identities.into_iter().collect(), key_sha256, launch }
    }
}

impl Evident {
    /// Identities that the items showed, each with the kind of its item.
    pub(super) fn identities(&self) -> impl Iterator<Item = (EvidenceKind, &Identity)> {
        self.shown.iter().flat_map(|item| item.identities.iter().map(|one| (item.by, one)))
    }
}

impl Claims {
    /// Holds the items against a record (row E7).
    pub(super) fn of(evident: Arc<Evident>, record: &BTreeSet<Identity>) -> Result<Self, Vec<Refusal>> {
        match composite::check(record, &evident.shown) {
            Ok(devices) => Ok(Self { evident, devices }),
            Err(refused) => Err(vec![Refusal::from(&refused)]),
        }
    }

    /// What the TPM showed, where it speaks for the machine that asks: no guest stands beside it.
    pub(crate) fn tpm(&self) -> Option<&Arc<TpmClaims>> {
        self.devices.tpm_of_machine().and(self.evident.tpm.as_ref())
    }

    pub(crate) fn snp(&self) -> Option<&SnpClaims> {
        match &self.evident.guest {
            Some(GuestClaims::Snp(claims)) => Some(claims),
            _ => None,
        }
    }

    pub(crate) fn tdx(&self) -> Option<&TdxClaims> {
        match &self.evident.guest {
            Some(GuestClaims::Tdx(claims)) => Some(claims),
            _ => None,
        }
    }

    pub(crate) fn azure(&self) -> Option<&AzureClaims> {
        match &self.evident.guest {
            Some(GuestClaims::Azure(claims, _)) => Some(claims),
            _ => None,
        }
    }

    pub(super) fn gpus(&self) -> &[GpuClaims] {
        &self.evident.gpus
    }
}

impl Refusal {
    /// The code of its denial.
    pub(super) fn code(&self) -> String {
        // The boot of a renewal is another than that of its lease.
        if self.row == "Q5" { REBOOTED.to_owned() } else { format!("evidence_{}", self.row.to_lowercase()) }
    }
}

/// A refusal of a module's, with whether the device signed what was refused.
macro_rules! refusal_of {
    ($($module:ty),+) => {
        $(impl From<&$module> for Refusal {
            fn from(refused: &$module) -> Self {
                let is_signed = refused.is_signed_for_this_request();
                Self { row: refused.row(), why: refused.to_string(), is_signed }
            }
        })+
    };
}

refusal_of!(strongroom_attest::Refused, SnpRefused, TdxRefused, azure::AzureRefused);

impl From<&GpuRefused> for Refusal {
    fn from(refused: &GpuRefused) -> Self {
        Self { row: refused.row(), why: refused.to_string(), is_signed: refused.tells_of_the_device() }
    }
}

impl From<&CompositeRefused> for Refusal {
    fn from(refused: &CompositeRefused) -> Self {
        // What was not sent says nothing of the node; a device of another machine does.
        let is_signed = matches!(refused, CompositeRefused::E7NotListed { .. });
        Self { row: refused.row(), why: refused.to_string(), is_signed }
    }
}
