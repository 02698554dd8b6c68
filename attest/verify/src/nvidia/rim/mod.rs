//! G3: reference integrity manifests: the golden values of a driver and of a VBIOS.
//!
//! A manifest is a SWID tag (ISO/IEC 19770-2:2015) with TCG's RIM attributes, signed by an enveloped XML signature.
//! XML signatures fail where what is verified is not what is read. Here only what was hashed is read:
//!
//! ```text
//! bytes ──screen──> plain XML: no DTD, entity, comment, CDATA; bounded in size, depth, nodes, attributes
//!       ──shape───> one Signature, child of the root; one Reference to "", exactly NVIDIA's transforms
//!       ──chain───> X509Certificates to a pinned root
//!       ──verify──> ECDSA over the canonical SignedInfo, read again from those canonical bytes
//!       ──digest──> SHA-384 of the canonical document without its Signature
//!       ──golden──> version and golden values, read again from those canonical bytes
//! ```
//!
//! Canonical XML 1.1 is by `bergshamra-c14n`; digests and signatures are by aws-lc-rs.

mod compare;
mod golden;
mod markup;
mod screen;
mod signature;

pub(super) use compare::compare;
pub use golden::Golden;

use super::{
    GpuRefused,
    chain::{Broken, Chain},
};
use crate::{
    PinKind, Pins,
    quote::hex,
    x509::{check_dates, printable},
};
use aws_lc_rs::digest::{SHA384, digest};
use std::{collections::BTreeMap, fmt};
use strongroom_protocol::claims::GpuManifest;

/// Most bytes of a manifest.
pub const MAX_BYTES: usize = 512 << 10;
/// Certificates of a signer's chain, root included.
const CHAIN: std::ops::RangeInclusive<usize> = 2..=strongroom_protocol::limits::CERTIFICATES;

/// What a manifest is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RimKind {
    /// The driver.
    Driver,
    /// The VBIOS.
    Vbios,
}

impl RimKind {
    /// The kind of a manifest with this id; `None` where the id is of neither.
    pub fn of_id(id: &str) -> Option<Self> {
        if id.starts_with("NV_GPU_DRIVER_") || id.starts_with("NV_GPU_CC_DRIVER_") {
            Some(Self::Driver)
        } else {
            id.starts_with("NV_GPU_VBIOS_").then_some(Self::Vbios)
        }
    }
}

impl fmt::Display for RimKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Driver => "driver",
            Self::Vbios => "VBIOS",
        })
    }
}

/// A manifest whose signature held. Only [`verify`] makes one; it may be kept and used for many reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRim {
    kind: RimKind,
    id: String,
    version: String,
    tag: String,
    sha384: [u8; 48],
    root_sha256: [u8; 32],
    golden: BTreeMap<u8, Golden>,
    not_before: i64,
    not_after: i64,
    /// From the signer's certificate to the root.
    chain: Vec<Vec<u8>>,
}

impl VerifiedRim {
    /// What it is of.
    pub fn kind(&self) -> RimKind {
        self.kind
    }

    /// The id under which NVIDIA publishes it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The version that it is of.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The golden values by index, from 0.
    pub fn golden(&self) -> &BTreeMap<u8, Golden> {
        &self.golden
    }

    /// From when until when its signer's chain is valid, Unix seconds.
    pub fn validity(&self) -> (i64, i64) {
        (self.not_before, self.not_after)
    }

    /// Whether its signer's chain is valid at a time, Unix seconds.
    pub(super) fn holds_at(&self, at: u64) -> Result<(), GpuRefused> {
        check_dates(self.not_before, self.not_after, at)
            .map_err(|problem| GpuRefused::G3Validity { rim: self.kind, problem: problem.to_string() })
    }

    /// The signer's chain (DER), from its own certificate to the root.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    pub(super) fn claim(&self, compared: u32) -> GpuManifest {
        GpuManifest { tag: self.tag.clone(), sha384: hex(&self.sha384), root_sha256: hex(&self.root_sha256), compared }
    }
}

/// Verifies a manifest that was stored under an id: `NV_GPU_DRIVER_GH100_550.90.07`, or
/// `NV_GPU_VBIOS_1010_0200_882_96009F0001`. `pins` has the root of NVIDIA's manifests; `at` is the time, Unix seconds.
///
/// The id is NVIDIA's name for the document and does not stand in it: board and chip of a VBIOS's manifest are what
/// the store says. That the version in it is the id's is checked here; that its golden values are the device's is row
/// G3 of the report.
pub fn verify(id: &str, bytes: &[u8], pins: &Pins, at: u64) -> Result<VerifiedRim, GpuRefused> {
    let Some(kind) = RimKind::of_id(id) else {
        let problem = "its id is neither of a driver's nor of a VBIOS's manifest".to_owned();
        return Err(GpuRefused::G3Malformed { rim: RimKind::Driver, problem });
    };
    let text = screen::screen(bytes).map_err(|problem| GpuRefused::G3Bounds { rim: kind, problem })?;
    let malformed = |problem: String| GpuRefused::G3Malformed { rim: kind, problem };
    let document = markup::parse(text).map_err(malformed)?;
    let shape = |problem: String| GpuRefused::G3Shape { rim: kind, problem };
    let signature = signature::find(&document).map_err(shape)?;

    let ders: Vec<&[u8]> = signature.certificates.iter().map(Vec::as_slice).collect();
    let chain = Chain::verify(&ders, CHAIN, (pins, PinKind::NvidiaRimRoot), at).map_err(|broken| match broken {
        Broken::Shape(problem) | Broken::Path(problem) => GpuRefused::G3Chain { rim: kind, problem },
        Broken::NotPinned { sha256 } => GpuRefused::G3Root { rim: kind, got: sha256 },
        Broken::Validity(problem) => GpuRefused::G3Validity { rim: kind, problem },
    })?;
    let signed_info = signature.canonical_signed_info(&document).map_err(malformed)?;
    if !chain.has_signed(&signed_info, &signature.value) {
        return Err(GpuRefused::G3Signature { rim: kind });
    }
    let expected = signature::signed_digest(&signed_info).map_err(shape)?;
    let canonical = signature.canonical_document(&document).map_err(malformed)?;
    let got = digest(&SHA384, canonical.as_bytes());
    if got.as_ref() != expected {
        return Err(GpuRefused::G3Digest { rim: kind, expected: hex(&expected), got: hex(got.as_ref()) });
    }
    let golden::Tag { version, id: tag, golden } = golden::read(&canonical, kind)?;
    if !of_version(kind, id, &version) {
        return Err(GpuRefused::G3Version { rim: kind, id: printable(id), got: version });
    }
    Ok(VerifiedRim {
        kind,
        id: id.to_owned(),
        version,
        tag,
        sha384: expected,
        root_sha256: chain.root_sha256,
        golden,
        not_before: chain.not_before,
        not_after: chain.not_after,
        chain: chain.certificates.iter().map(|certificate| certificate.der().to_vec()).collect(),
    })
}

/// What a manifest says, whoever signed it: for people, and for tests of what is published. Never for verification.
pub fn read_unverified(kind: RimKind, bytes: &[u8]) -> Result<(String, BTreeMap<u8, Golden>), GpuRefused> {
    let text = screen::screen(bytes).map_err(|problem| GpuRefused::G3Bounds { rim: kind, problem })?;
    let document = markup::parse(text).map_err(|problem| GpuRefused::G3Malformed { rim: kind, problem })?;
    let signature = signature::find(&document).map_err(|problem| GpuRefused::G3Shape { rim: kind, problem })?;
    let canonical = signature.canonical_document(&document);
    let canonical = canonical.map_err(|problem| GpuRefused::G3Malformed { rim: kind, problem })?;
    golden::read(&canonical, kind).map(|tag| (tag.version, tag.golden))
}

/// Whether an id ends in a version: a driver's as it is, a VBIOS's without its points.
fn of_version(kind: RimKind, id: &str, version: &str) -> bool {
    let written = match kind {
        RimKind::Driver => version.to_owned(),
        RimKind::Vbios => version.replace('.', "").to_ascii_uppercase(),
    };
    id.rsplit('_').next() == Some(written.as_str())
}
