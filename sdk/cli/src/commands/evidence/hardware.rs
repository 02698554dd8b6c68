//! Evidence of confidential hardware for `evidence verify`: what was given, brought to the verifier of its kind.

use super::{
    azure,
    contents::{Content, GivenFile},
    endorsements::Endorsements,
    expected::Requirements,
    nvidia,
    pcrs::ReferenceFile,
    quote_file::QuoteFile,
    sev_snp, tdx,
    verdict::Found,
    verify::Kind,
};
use crate::output::Failure;
use std::path::Path;
use strongroom::protocol::{
    bytes::Bytes,
    evidence::{Evidence, NvidiaGpuEvidence, SevSnpEvidence, TdxEvidence},
};
use strongroom_attest::snp::{AttestationReport, SnpRoots, SnpStore};

/// What evidence of hardware is judged by.
#[derive(Debug, Default)]
pub(super) struct Grounds {
    /// What it must bind.
    pub bound: Option<Vec<u8>>,
    /// Unix seconds.
    pub at: u64,
    pub requirements: Requirements,
    pub endorsements: Endorsements,
    pub reference: Option<ReferenceFile>,
    /// The quote of Azure's vTPM, where it was given apart.
    pub quote: Option<QuoteFile>,
    /// The event log of a TDX guest, where it was given apart.
    pub ccel: Option<Vec<u8>>,
}

/// An item of evidence, with what may be missing beside it.
pub(super) enum Item {
    SevSnp(SevSnpEvidence),
    Tdx(TdxEvidence),
    NvidiaGpu(NvidiaGpuEvidence),
    Azure(Box<azure::Given>),
}

impl Grounds {
    /// The evidence of `files`, of which one is of this kind; the others go with it.
    pub(super) fn evidence(&mut self, kind: Kind, files: Vec<GivenFile>) -> Result<Item, Failure> {
        let mut found: Option<(Item, String)> = None;
        for file in files {
            let name = file.path.display().to_string();
            let Some(item) = item(kind, Content::of(&file.bytes), &file.path)? else {
                self.endorsements.add(file)?;
                continue;
            };
            if let Some((_, other)) = &found {
                let problem = format!("{other} and {name} are both evidence of {}: give one", kind.name());
                return Err(Failure::usage(problem));
            }
            found = Some((item, name));
        }
        found
            .map(|(item, _)| item)
            .ok_or_else(|| Failure::usage(format!("no evidence of {} was given, only what goes with it", kind.name())))
    }

    pub(super) fn judge(&self, item: &Item) -> Result<Found, Failure> {
        match item {
            Item::SevSnp(item) => sev_snp::judge(item, self),
            Item::Tdx(item) => tdx::judge(item, self),
            Item::NvidiaGpu(item) => Ok(nvidia::judge(item, self)),
            Item::Azure(given) => azure::judge(given, self),
        }
    }

    /// What the evidence must bind, of the length that its kind has. Other lengths were refused when they were read.
    pub(super) fn bound<const N: usize>(&self) -> Option<[u8; N]> {
        self.bound.as_deref().and_then(|bound| bound.try_into().ok())
    }

    /// Hands over AMD's roots, and every certificate and list that is at hand for a report.
    pub(super) fn with_snp<T>(&self, report: &[u8], judge: impl FnOnce(&SnpRoots, &SnpStore<'_>) -> T) -> T {
        let store = self.endorsements.store.as_ref();
        let stored =
            store.and_then(|store| store.snp(&AttestationReport::parse(report).ok()?).ok()).unwrap_or_default();
        let stored = stored.as_store();
        let (certificates, lists) = (&self.endorsements.certificates, &self.endorsements.lists);
        let certificates: Vec<&[u8]> =
            certificates.iter().map(Vec::as_slice).chain(stored.certificates.iter().copied()).collect();
        let crls: Vec<&[u8]> = lists.iter().map(Vec::as_slice).chain(stored.crls.iter().copied()).collect();
        let at_hand = SnpStore { certificates: &certificates, crls: &crls };
        match store {
            Some(store) => judge(&store.snp_roots(), &at_hand),
            None => judge(SnpRoots::built_in(), &at_hand),
        }
    }
}

/// The evidence that content is, if it is some; what cannot be told is taken for evidence of the kind that was named,
/// whose verifier then says what is wrong with it.
fn item(kind: Kind, content: Content, path: &Path) -> Result<Option<Item>, Failure> {
    let wrong = |problem: String| Err(Failure::usage(format!("{}: {problem}", path.display())));
    let raw = match content {
        Content::Evidence(of, bytes) if of == kind => bytes,
        Content::Unknown(bytes) if !matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) => bytes,
        Content::Unknown(_) => return wrong(format!("no item of evidence of {} in this JSON", kind.name())),
        Content::Evidence(other, _) => {
            return wrong(format!("this is evidence of {}: give --kind {}", other.name(), other.name()));
        }
        Content::Items(items) => return of_items(kind, items).map(Some).or_else(wrong),
        Content::GpuDocument(documents) if kind == Kind::NvidiaGpu => {
            return match <[_; 1]>::try_from(documents) {
                Ok([document]) => {
                    let certificates = document.certificates.into_iter().map(Bytes).collect();
                    Ok(Some(Item::NvidiaGpu(NvidiaGpuEvidence { report: Bytes(document.report), certificates })))
                }
                Err(documents) => wrong(format!("reports of {} GPUs: give one at a time", documents.len())),
            };
        }
        Content::GpuDocument(_) => return wrong("this is a GPU's report: give --kind nvidia-gpu".to_owned()),
        _ => return Ok(None),
    };
    Ok(match kind {
        Kind::SevSnp => Some(Item::SevSnp(SevSnpEvidence { report: Bytes(raw), certificates: Vec::new(), aux: None })),
        Kind::Tdx => Some(Item::Tdx(TdxEvidence { quote: Bytes(raw), ccel: None })),
        Kind::NvidiaGpu => Some(Item::NvidiaGpu(NvidiaGpuEvidence { report: Bytes(raw), certificates: Vec::new() })),
        Kind::AzureSnpVtpm => Some(Item::Azure(Box::new(azure::Given::of_envelope(raw)))),
        Kind::Tpm2 | Kind::TcgLog | Kind::ImaLog => None,
    })
}

/// The one item of a kind.
fn of_items(kind: Kind, items: Vec<Evidence>) -> Result<Item, String> {
    let all = items.len();
    let of_kind = items.into_iter().filter_map(|item| match (kind, item) {
        (Kind::SevSnp, Evidence::SevSnp(item)) => Some(Item::SevSnp(item)),
        (Kind::Tdx, Evidence::Tdx(item)) => Some(Item::Tdx(item)),
        (Kind::NvidiaGpu, Evidence::NvidiaGpu(item)) => Some(Item::NvidiaGpu(item)),
        (Kind::AzureSnpVtpm, Evidence::AzureSnpVtpm(item)) => Some(Item::Azure(Box::new(azure::Given::of_item(item)))),
        _ => None,
    });
    match <[Item; 1]>::try_from(of_kind.collect::<Vec<_>>()) {
        Ok([item]) => Ok(item),
        Err(found) if found.is_empty() => Err(format!("none of its {all} items is of {}", kind.name())),
        Err(found) => Err(format!("{} items of {}: give one at a time", found.len(), kind.name())),
    }
}
