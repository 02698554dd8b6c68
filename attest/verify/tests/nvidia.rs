//! A stand-in GPU with its manifests and lists, and rows G1 to G5 over it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

#[path = "nvidia/answers.rs"]
mod answers;
#[path = "nvidia/contents.rs"]
mod contents;
#[path = "nvidia/genuine.rs"]
mod genuine;
#[path = "nvidia/manifests.rs"]
mod manifests;
#[path = "nvidia/state.rs"]
mod state;

use proptest::prelude::*;
use std::{collections::BTreeSet, fs, path::Path};
use strongroom_attest::{Pins, Verdict, nvidia::*};
use strongroom_hardware::nvidia::{AT, Gpu, Manifest, Status};
use strongroom_protocol::{
    claims::{GpuClaims, GpuMode},
    identity::{Identity, IdentityKind},
};

/// A node with one GPU: everything that a verifier is given, right by default.
struct Node {
    gpu: Gpu,
    driver: Manifest,
    vbios: Manifest,
    /// Whether the manifests are given.
    given: bool,
    /// What every issuer's list says; `None`: there are no lists.
    status: Option<Status>,
    /// Further lists and answers.
    crls: Vec<Vec<u8>>,
    ocsp: Vec<Vec<u8>>,
    guest: Option<GuestWord>,
    requirements: GpuRequirements,
    record: Option<BTreeSet<String>>,
    nonce: Option<[u8; 32]>,
    pins: Option<Pins>,
    at: u64,
}

/// Keeps an input for `.ci/fuzz` to start from, under the build directory.
fn keep(target: &str, name: &str, bytes: &[u8]) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz/seeds/attest-verify-fuzz").join(target);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(name), bytes).unwrap();
}

/// The id of the stand-in's device.
const DEVICE: &str = "414304";

impl Default for Node {
    fn default() -> Self {
        let gpu = Gpu::default();
        let driver = Manifest::of_driver(&gpu.report);
        let vbios = Manifest { signer: driver.signer.clone(), ..Manifest::of_vbios(&gpu.report) };
        Self {
            driver,
            vbios,
            given: true,
            status: Some(Status::default()),
            crls: vec![],
            ocsp: vec![],
            guest: Some(GuestWord { confidential: true, devtools: false }),
            requirements: GpuRequirements::default(),
            record: Some([DEVICE.to_owned()].into()),
            nonce: Some(gpu.report.nonce),
            pins: None,
            at: AT,
            gpu,
        }
    }
}

impl Node {
    fn pins(&self) -> Pins {
        let signers = [&*self.driver.signer, &*self.vbios.signer];
        let signers = if std::ptr::eq(signers[0], signers[1]) { &signers[..1] } else { &signers };
        let pins = strongroom_hardware::nvidia::pins(&[&self.gpu.chain], signers);
        self.pins.clone().unwrap_or_else(|| Pins::parse(pins.as_bytes()).unwrap())
    }

    /// Lists of every issuer that may sign some.
    fn lists(&self) -> Vec<Vec<u8>> {
        let mut lists = self.crls.clone();
        if let Some(status) = &self.status {
            let device = &self.gpu.chain.certificates;
            let signer = &self.driver.signer.certificates;
            let issuers = device.iter().take(3).chain(signer.iter().take(3));
            lists.extend(issuers.map(|issuer| status.crl(issuer)));
        }
        lists
    }

    /// Manifests, report and chain together.
    fn with<T>(&self, judge: impl FnOnce(&GpuEvidence<'_>, &GpuExpectation<'_>) -> T) -> Result<T, GpuRefused> {
        let pins = self.pins();
        let rim = |manifest: &Manifest| rim::verify(&manifest.id, manifest.text().as_bytes(), &pins, self.at);
        let rims = if self.given { Some((rim(&self.driver)?, rim(&self.vbios)?)) } else { None };
        let (lists, report, certificates) = (self.lists(), self.gpu.report_bytes(), self.gpu.certificates());
        let crls: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
        let ocsp: Vec<&[u8]> = self.ocsp.iter().map(Vec::as_slice).collect();
        let evidence = GpuEvidence { report: &report, certificates: certificates.iter().map(Vec::as_slice).collect() };
        let expect = GpuExpectation {
            nonce: self.nonce.as_ref(),
            pins: &pins,
            at: self.at,
            driver_rim: rims.as_ref().map(|rims| &rims.0),
            vbios_rim: rims.as_ref().map(|rims| &rims.1),
            record: self.record.as_ref(),
            revocation: Revocation { crls: &crls, ocsp: &ocsp },
            guest: self.guest,
            requirements: &self.requirements,
        };
        Ok(judge(&evidence, &expect))
    }

    fn judge(&self) -> Result<GpuClaims, GpuRefused> {
        self.with(verify)?
    }

    fn examine(&self) -> ExaminedGpu {
        self.with(examine).unwrap()
    }
}

/// A node with one thing changed.
fn node(change: impl FnOnce(&mut Node)) -> Node {
    let mut node = Node::default();
    change(&mut node);
    node
}

/// Why a node with one thing changed is refused; `examine` says the same of that row, and passes those before it
/// that have nothing to do with it.
fn refused(change: impl FnOnce(&mut Node)) -> GpuRefused {
    let node = node(change);
    let refused = node.judge().unwrap_err();
    if let Ok(examined) = node.with(examine) {
        let unknown =
            matches!(refused, GpuRefused::G3Missing { .. } | GpuRefused::G5Unknown { .. } | GpuRefused::G1NoNonce);
        let expected = if unknown { Verdict::NotChecked } else { Verdict::Refused };
        assert_eq!(examined.report.verdict(refused.row()), Some(expected), "{refused}\n{}", examined.report);
    }
    refused
}

#[test]
fn g1_to_g5_an_honest_gpu_is_accepted_and_examined_alike() {
    let node = Node::default();
    let claims = node.judge().unwrap();
    assert_eq!((claims.device.as_str(), claims.report_key.as_str()), (DEVICE, "414305"));
    assert_eq!((claims.model.as_str(), claims.mode), ("GH100 A01 GSP BROM", Some(GpuMode::Single)));
    assert_eq!(claims.nonce, "07".repeat(32));
    assert_eq!(claims.root_sha256, hex::encode(node.gpu.chain.root_sha256()));
    let manifests = claims.manifests.as_ref().unwrap();
    // 22 to 40 without 35, which is not made while NVDEC0 is off; 0 to 12.
    assert_eq!((manifests.driver.compared, manifests.vbios.compared), (18, 13));
    assert!(claims.revocation_checked);
    assert_eq!(identity(&claims), Identity { kind: IdentityKind::NvidiaGpu, value: DEVICE.to_owned() });

    let examined = node.examine();
    assert_eq!(examined.claims, Some(claims));
    let verdicts = ["G1", "G2", "G3", "G4", "G5"].map(|row| examined.report.verdict(row));
    let passed = Some(Verdict::Passed);
    // The devices of a node are counted over all of its reports; which manifests are accepted was not said.
    let open = Some(Verdict::NotChecked);
    assert_eq!(verdicts, [passed, passed, passed, open, open], "{}", examined.report);
    let ids = || Some([node.driver.id.clone(), node.vbios.id.clone()].into());
    let pinned = self::node(|node| node.requirements.manifest_ids = ids());
    assert_eq!(pinned.examine().report.verdict("G5"), passed, "{}", pinned.examine().report);
    // Policy may let a missing list pass; it is missing all the same.
    let unrevoked = self::node(|node| {
        node.requirements.manifest_ids = ids();
        (node.status, node.requirements.revocation_max_age) = (None, None);
    });
    assert_eq!(unrevoked.examine().report.verdict("G5"), open, "{}", unrevoked.examine().report);

    let (report, chain) = (node.gpu.report_bytes(), node.gpu.certificates());
    let ids = rim_ids(&GpuEvidence { report: &report, certificates: chain.iter().map(Vec::as_slice).collect() });
    let ids = ids.unwrap();
    assert_eq!((ids.driver, ids.vbios), (node.driver.id.clone(), node.vbios.id.clone()));
    keep("gpu_report", "honest", &report);
    keep("rim", "driver", node.driver.text().as_bytes());
    keep("rim", "vbios", node.vbios.text().as_bytes());
}

#[test]
fn g1_to_g5_a_row_without_its_input_is_not_checked() {
    let examined = node(|node| {
        (node.nonce, node.record, node.guest, node.given, node.status) = (None, None, None, false, None);
    })
    .examine();
    assert!(examined.report.holds() && examined.claims.is_some(), "{}", examined.report);
    let verdicts = ["G1", "G2", "G3", "G4", "G5"].map(|row| examined.report.verdict(row).unwrap());
    assert_eq!(verdicts[1], Verdict::Passed);
    assert_eq!([verdicts[0], verdicts[2], verdicts[3], verdicts[4]], [Verdict::NotChecked; 4], "{}", examined.report);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_found_by_chance_are_refused_and_nothing_panics(
        report in prop::collection::vec(any::<u8>(), 0..4096),
        certificates in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..7),
    ) {
        let evidence = GpuEvidence { report: &report, certificates: certificates.iter().map(Vec::as_slice).collect() };
        let requirements = GpuRequirements::default();
        let expect = GpuExpectation {
            nonce: Some(&[7; 32]), pins: Pins::built_in(), at: AT, driver_rim: None, vbios_rim: None, record: None,
            revocation: Revocation::default(), guest: None, requirements: &requirements,
        };
        let refused = verify(&evidence, &expect).unwrap_err();
        prop_assert!(!refused.is_signed_for_this_request());
        prop_assert!(!examine(&evidence, &expect).report.holds());
        prop_assert!(rim_ids(&evidence).is_none());
        prop_assert!(rim::verify("NV_GPU_DRIVER_GH100_1", &report, Pins::built_in(), AT).is_err());
    }
}
