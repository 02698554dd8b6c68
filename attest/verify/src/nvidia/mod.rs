//! Reports of NVIDIA GPUs in confidential mode: rows G1 to G5, and the claims that come out of them.
//!
//! ```text
//! report, five certificates ──verify──> GpuClaims              G1 frame, nonce   G2 chain, signature   G1 contents
//!                               ↑                              G2 firmware   G4 record   G3 golden values   G5
//! manifest (SWID tag) ──rim::verify──> VerifiedRim (kept, used for many reports)                          G3
//! CRLs, OCSP answers ──Revocation                                                                         G5
//! all claims of a request ──devices──> Devices                                                            G4
//! ```
//!
//! The order is also the order of trust: before the signature nothing is read but the frame, and the certificates.
//! What a GPU's report can not show is said, never assumed: that it is plugged into this machine (row G4 asks for
//! CPU-TEE evidence beside it), and that DEVTOOLS mode is off (row G5 asks for somebody's word).

mod chain;
mod devices;
mod examine;
mod fwid;
mod opaque;
mod refused;
mod report;
mod requirements;
mod revocation;
pub mod rim;

pub use devices::{Devices, devices};
pub use examine::{ExaminedGpu, examine};
pub use opaque::Facts;
pub use refused::GpuRefused;
pub use report::{Fields, GpuReport, Measurement, Measurements};
pub use requirements::{DevtoolsWord, GpuRequirements, GuestWord};
pub(crate) use revocation::{Answer, MAX_ANSWER};
pub use revocation::{Revocation, StatusRequest, answers, says_revoked, status_requests, unsuccessful};
pub use rim::{RimKind, VerifiedRim};

use crate::{PinKind, Pins, quote::hex, x509::Certificate};
use chain::{Broken, Chain};
use std::collections::BTreeSet;
use strongroom_protocol::{
    bytes::Bytes,
    claims::{GpuClaims, GpuManifests, GpuMode},
    evidence::NvidiaGpuEvidence,
    identity::{Identity, IdentityKind},
    sha256,
};

/// Certificates of a device's chain, root included.
const CHAIN: usize = 5;

/// A report as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuEvidence<'a> {
    /// SPDM request and response, as the driver gave them.
    pub report: &'a [u8],
    /// The device's chain (DER), in any order, root included.
    pub certificates: Vec<&'a [u8]>,
}

impl<'a> From<&'a NvidiaGpuEvidence> for GpuEvidence<'a> {
    fn from(evidence: &'a NvidiaGpuEvidence) -> Self {
        Self {
            report: evidence.report.as_slice(),
            certificates: evidence.certificates.iter().map(Bytes::as_slice).collect(),
        }
    }
}

/// What a report must be. What is optional may be left out: the row then says so, and [`verify`] refuses where the
/// requirements ask for it.
#[derive(Debug, Clone, Copy)]
pub struct GpuExpectation<'a> {
    /// What the request binds (`strongroom_protocol::binding::gpu_nonce`). [`verify`] refuses without it.
    pub nonce: Option<&'a [u8; 32]>,
    /// The pinned roots.
    pub pins: &'a Pins,
    /// The time of judgement, Unix seconds.
    pub at: u64,
    /// The driver's manifest, by the id that [`rim_ids`] gives.
    pub driver_rim: Option<&'a VerifiedRim>,
    /// The VBIOS's manifest.
    pub vbios_rim: Option<&'a VerifiedRim>,
    /// The GPUs of the node's approved record. [`devices`] counts them over all reports.
    pub record: Option<&'a BTreeSet<String>>,
    /// Stored revocation lists and answers.
    pub revocation: Revocation<'a>,
    /// What the measured guest says of its driver.
    pub guest: Option<GuestWord>,
    /// What is asked.
    pub requirements: &'a GpuRequirements,
}

/// The ids of the manifests that a report asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RimIds {
    /// The driver's.
    pub driver: String,
    /// The VBIOS's.
    pub vbios: String,
}

/// Which manifests to look up for a report, before anything of it is verified: good for looking up, and for nothing
/// else. `None` where the report cannot be read; [`verify`] then says why.
pub fn rim_ids(evidence: &GpuEvidence<'_>) -> Option<RimIds> {
    let facts = Facts::of(&GpuReport::parse(evidence.report).ok()?.fields().ok()?).ok()?;
    let model = chain::model_of_sent(&evidence.certificates);
    Some(RimIds { driver: facts.driver_rim(&model), vbios: facts.vbios_rim() })
}

/// The identity that claims show.
pub fn identity(claims: &GpuClaims) -> Identity {
    Identity { kind: IdentityKind::NvidiaGpu, value: claims.device.clone() }
}

/// Verifies a report, rows G1 to G5. Refuses at the first check that does not hold, and where something that is
/// required was not given.
pub fn verify(evidence: &GpuEvidence<'_>, expect: &GpuExpectation<'_>) -> Result<GpuClaims, GpuRefused> {
    let report = GpuReport::parse(evidence.report)?;
    if !check_nonce(&report, expect)? {
        return Err(GpuRefused::G1NoNonce);
    }
    let chain = check_chain(evidence, expect)?;
    check_signature(&report, &chain)?;
    let measurements = report.measurements()?;
    let facts = Facts::of(&report.fields()?)?;
    let device = Device::of(&chain)?;
    check_firmware(&facts, &chain)?;
    if let Some(record) = expect.record {
        devices::in_record(&device.id, record)?;
    }
    let manifests = check_manifests(&facts, &device, &measurements, expect)?;
    if let Err((rim, id)) = &manifests
        && expect.requirements.manifests
    {
        return Err(GpuRefused::G3Missing { rim: *rim, id: id.clone() });
    }
    let manifests = manifests.ok();
    let mut state = check_state(&facts, &device, &chain, manifests.is_some(), expect)?;
    if !state.unknown.is_empty() {
        let (what, remedy) = state.unknown.swap_remove(0);
        return Err(GpuRefused::G5Unknown { what, remedy });
    }
    Ok(claims(&report, &measurements, facts, &device, &chain, manifests, &state))
}

/// What the certificates say of a device.
struct Device {
    id: String,
    key_sha256: String,
    report_key: String,
    model: String,
}

impl Device {
    /// The reporting key's certificate is the leaf; the device's identity certificate is its issuer's.
    fn of(chain: &Chain<'_>) -> Result<Self, GpuRefused> {
        let none = || GpuRefused::G2Chain { problem: "it has no identity certificate".to_owned() };
        let (leaf, device) = chain.leaf_and_issuer().ok_or_else(none)?;
        let serial = |certificate: &Certificate<'_>| {
            let serial = certificate.serial();
            hex(serial.strip_prefix(&[0]).unwrap_or(serial))
        };
        Ok(Self {
            id: serial(device),
            key_sha256: hex(&sha256(device.spki())),
            report_key: serial(leaf),
            model: chain::model(device),
        })
    }
}

/// G1: true where the report binds what the request wants; false where that was not given.
fn check_nonce(report: &GpuReport<'_>, expect: &GpuExpectation<'_>) -> Result<bool, GpuRefused> {
    match expect.nonce {
        None => Ok(false),
        Some(nonce) if nonce == report.nonce => Ok(true),
        Some(nonce) => Err(GpuRefused::G1Nonce { expected: hex(nonce), got: hex(report.nonce) }),
    }
}

/// G2: five certificates to a pinned root.
fn check_chain<'a>(evidence: &GpuEvidence<'a>, expect: &GpuExpectation<'_>) -> Result<Chain<'a>, GpuRefused> {
    let pins = (expect.pins, PinKind::NvidiaDeviceRoot);
    Chain::verify(&evidence.certificates, CHAIN..=CHAIN, pins, expect.at).map_err(|broken| match broken {
        Broken::Shape(problem) => GpuRefused::G2Chain { problem },
        Broken::NotPinned { sha256 } => GpuRefused::G2Root { got: sha256 },
        Broken::Validity(problem) => GpuRefused::G2Validity { problem },
        Broken::Path(problem) => GpuRefused::G2Path { problem },
    })
}

/// G2: the signature is of everything before it.
fn check_signature(report: &GpuReport<'_>, chain: &Chain<'_>) -> Result<(), GpuRefused> {
    if chain.has_signed(report.signed, report.signature) { Ok(()) } else { Err(GpuRefused::G2Signature) }
}

/// G2: the reporting key is held by the firmware that the report names, on the device that certified it.
fn check_firmware(facts: &Facts, chain: &Chain<'_>) -> Result<(), GpuRefused> {
    let (leaf, device) = chain.leaf_and_issuer().ok_or(GpuRefused::G2NoFwid)?;
    let firmware = fwid::of(leaf).ok_or(GpuRefused::G2NoFwid)?;
    if *firmware.fwid != facts.fwid {
        return Err(GpuRefused::G2Fwid { expected: hex(firmware.fwid), got: hex(&facts.fwid) });
    }
    match firmware.device {
        Some(key) if key != device.spki() => Err(GpuRefused::G2Device),
        _ => Ok(()),
    }
}

/// G3: the manifests, or which one is missing.
type Manifests = Result<GpuManifests, (RimKind, String)>;

/// G3: the manifests are those of the installed versions, and every golden value is there.
fn check_manifests(
    facts: &Facts,
    device: &Device,
    measurements: &Measurements<'_>,
    expect: &GpuExpectation<'_>,
) -> Result<Manifests, GpuRefused> {
    let wanted = [
        (RimKind::Driver, expect.driver_rim, facts.driver_rim(&device.model)),
        (RimKind::Vbios, expect.vbios_rim, facts.vbios_rim()),
    ];
    for (rim, given, expected) in &wanted {
        let Some(given) = given else { continue };
        if given.id() != expected {
            return Err(GpuRefused::G3Id { rim: *rim, expected: expected.clone(), got: given.id().to_owned() });
        }
        given.holds_at(expect.at)?;
    }
    match wanted {
        [(_, Some(driver), _), (_, Some(vbios), _)] => {
            rim::compare((driver, vbios), measurements, facts.nvdec0_enabled).map(Ok)
        }
        [(rim, None, id), _] | [_, (rim, None, id)] => Ok(Err((rim, id))),
    }
}

/// G5: what could not be judged, with what to do, and whether revocation was.
#[derive(Default)]
struct State {
    unknown: Vec<(String, &'static str)>,
    devtools_off: Option<DevtoolsWord>,
    revocation_checked: bool,
}

/// G5: mode, DEVTOOLS, pinned manifests, revocation. Refuses what is known to be wrong; lists what is not known and
/// was asked for.
fn check_state(
    facts: &Facts,
    device: &Device,
    chain: &Chain<'_>,
    golden: bool,
    expect: &GpuExpectation<'_>,
) -> Result<State, GpuRefused> {
    let mut state = State::default();
    let mut unknown = |what: &str, remedy| state.unknown.push((what.to_owned(), remedy));
    let devtools_off = check_mode(facts, golden, expect, &mut unknown)?;
    if let Some(pinned) = &expect.requirements.manifest_ids {
        let ids = [(RimKind::Driver, facts.driver_rim(&device.model)), (RimKind::Vbios, facts.vbios_rim())];
        if let Some((rim, id)) = ids.into_iter().find(|(_, id)| !pinned.contains(id)) {
            return Err(GpuRefused::G5ManifestId { rim, id });
        }
    }
    let max_age = expect.requirements.revocation_max_age;
    let signers = [expect.driver_rim, expect.vbios_rim].into_iter().flatten().map(|rim| {
        let signer = match rim.kind() {
            RimKind::Driver => "the driver manifest's signer",
            RimKind::Vbios => "the VBIOS manifest's signer",
        };
        (signer, revocation::parsed(rim.chain()))
    });
    let signers: Vec<_> = signers.collect();
    let issuers = signers.iter().flat_map(|(_, chain)| chain).chain(&chain.certificates);
    let stored = expect.revocation.read(&issuers.collect::<Vec<_>>(), expect.at, max_age)?;
    let mut uncovered = stored.check(&chain.certificates, "the device")?;
    for (signer, chain) in &signers {
        uncovered.extend(stored.check(chain, signer)?);
    }
    state.devtools_off = devtools_off;
    state.revocation_checked = uncovered.is_empty();
    if max_age.is_some() && !uncovered.is_empty() {
        let what = format!("nothing says whether the certificates {} are revoked", uncovered.join(", "));
        state.unknown.push((what, "import their issuers' revocation lists or answers"));
    }
    Ok(state)
}

/// G5: confidential mode is on, and one that is accepted; the GPU cannot be debugged, and by whose word.
fn check_mode(
    facts: &Facts,
    golden: bool,
    expect: &GpuExpectation<'_>,
    unknown: &mut impl FnMut(&str, &'static str),
) -> Result<Option<DevtoolsWord>, GpuRefused> {
    let accepted = &expect.requirements.modes;
    let refuse = |got| Err(GpuRefused::G5Mode { accepted: accepted.iter().copied().collect(), got });
    match expect.guest {
        Some(GuestWord { devtools: true, .. }) => return Err(GpuRefused::G5Devtools),
        Some(GuestWord { confidential: false, .. }) => return Err(GpuRefused::G5Off),
        _ => {}
    }
    // Where both fields are there, either may show that links are in the clear.
    let clear = facts.protected_pcie.filter(|on| *on).map(|_| GpuMode::ProtectedPcie);
    if let Some(got) = [facts.mode, clear].into_iter().flatten().find(|mode| !accepted.contains(mode)) {
        return refuse(got);
    }
    if facts.mode.is_none() && expect.guest.is_none() {
        unknown(
            "the report does not show that confidential mode is on",
            "use a driver that reports its feature flag, or give the measured guest's word",
        );
    }
    let by_measurements = expect.requirements.not_devtools == DevtoolsWord::Measurements && golden;
    let word = expect.guest.map(|_| DevtoolsWord::Guest);
    let word = word.or_else(|| by_measurements.then_some(DevtoolsWord::Measurements));
    if word.is_none() {
        unknown(
            "nothing shows that DEVTOOLS mode is off",
            "give the measured guest's word, or accept that of matching measurements",
        );
    }
    Ok(word)
}

fn claims(
    report: &GpuReport<'_>,
    measurements: &Measurements<'_>,
    facts: Facts,
    device: &Device,
    chain: &Chain<'_>,
    manifests: Option<GpuManifests>,
    state: &State,
) -> GpuClaims {
    GpuClaims {
        device: device.id.clone(),
        device_key_sha256: device.key_sha256.clone(),
        report_key: device.report_key.clone(),
        model: device.model.clone(),
        nonce: hex(report.nonce),
        root_sha256: hex(&chain.root_sha256),
        driver_rim: facts.driver_rim(&device.model),
        vbios_rim: facts.vbios_rim(),
        fwid: hex(&facts.fwid),
        driver_version: facts.driver_version,
        vbios_version: facts.vbios_version,
        measurements: measurements.iter().map(|(&index, measured)| (index, hex(measured.value))).collect(),
        mode: facts.mode,
        protected_pcie: facts.protected_pcie,
        nvdec0_enabled: facts.nvdec0_enabled,
        devtools_off: state.devtools_off,
        manifests,
        revocation_checked: state.revocation_checked,
    }
}
