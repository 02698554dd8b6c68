//! A GPU's report with its chain, manifests and lists, and a manifest alone.

use super::{Line, line};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, VerificationAlgorithm as _};
use std::hint::black_box;
use strongroom_attest::{
    Pins,
    nvidia::{GpuEvidence, GpuExpectation, GpuRequirements, GuestWord, Revocation, VerifiedRim, rim, verify},
};
use strongroom_hardware::nvidia::{AT, Gpu, Manifest, Status, pins};

/// A GPU with everything that a verifier has of it.
struct Node {
    gpu: Gpu,
    manifests: [Manifest; 2],
    pins: Pins,
}

fn node() -> Node {
    let gpu = Gpu::default();
    let driver = Manifest::of_driver(&gpu.report);
    let vbios = Manifest { signer: driver.signer.clone(), ..Manifest::of_vbios(&gpu.report) };
    let pins = Pins::parse(pins(&[&gpu.chain], &[&driver.signer]).as_bytes()).unwrap();
    Node { gpu, manifests: [driver, vbios], pins }
}

/// Lines with bare work.
pub(super) fn lines() -> Vec<Line> {
    vec![report(false), report(true), manifest()]
}

/// The bare work is the five signatures: the report's, and the four of its chain below the root.
fn report(revocation: bool) -> Line {
    let Node { gpu, manifests, pins } = node();
    let (bytes, certificates) = (gpu.report_bytes(), gpu.certificates());
    let rims: Vec<VerifiedRim> = manifests
        .iter()
        .map(|manifest| rim::verify(&manifest.id, manifest.text().as_bytes(), &pins, AT).unwrap())
        .collect();
    let issuers = gpu.chain.certificates.iter().take(3).chain(manifests[0].signer.certificates.iter().take(3));
    let lists: Vec<Vec<u8>> = issuers.map(|issuer| Status::default().crl(issuer)).collect();
    let bare = bare(&gpu, 5);
    let size = bytes.len() + certificates.iter().map(Vec::len).sum::<usize>();
    let name =
        if revocation { "GPU report, chain, golden values, six lists" } else { "GPU report, chain, golden values" };
    let work = move || {
        let crls: Vec<&[u8]> = lists.iter().filter(|_| revocation).map(Vec::as_slice).collect();
        let max_age = GpuRequirements::default().revocation_max_age.filter(|_| revocation);
        let requirements = GpuRequirements { revocation_max_age: max_age, ..GpuRequirements::default() };
        let expect = GpuExpectation {
            nonce: Some(&[7; 32]),
            pins: &pins,
            at: AT,
            driver_rim: Some(&rims[0]),
            vbios_rim: Some(&rims[1]),
            record: None,
            revocation: Revocation { crls: &crls, ocsp: &[] },
            guest: Some(GuestWord { confidential: true, devtools: false }),
            requirements: &requirements,
        };
        let evidence = GpuEvidence { report: &bytes, certificates: certificates.iter().map(Vec::as_slice).collect() };
        black_box(verify(&evidence, &expect).unwrap());
    };
    Line { bare: Some(Box::new(bare)), ..line(name, size, work) }
}

/// So many verifications of a signature on P-384.
fn bare(gpu: &Gpu, signatures: usize) -> impl FnMut() + use<> {
    let key = gpu.chain.leaf().key.point();
    let signed = gpu.report.signed();
    let signature = gpu.chain.leaf().key.sign(&signed);
    move || {
        for _ in 0..signatures {
            black_box(ECDSA_P384_SHA384_FIXED.verify_sig(&key, &signed, &signature)).unwrap();
        }
    }
}

/// The bare work is four signatures: the manifest's, and the three of its signer's chain below the root.
fn manifest() -> Line {
    let Node { gpu, manifests, pins } = node();
    let (id, text) = (manifests[0].id.clone(), manifests[0].text());
    let bare = bare(&gpu, 4);
    let size = text.len();
    let work = move || drop(black_box(rim::verify(&id, text.as_bytes(), &pins, AT).unwrap()));
    Line { bare: Some(Box::new(bare)), ..line("GPU manifest with its XML signature", size, work) }
}
