//! The built-in pins beside the certificates that are there to compare them with: those of crates, and those in
//! `../shared/vectors` beside the project (skipped, with a printed reason, where that folder is absent).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is how a test speaks")]

mod vectors;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{collections::BTreeSet, fs};
use strongroom_attest::pins::{PinKind, Pins};
use vectors::vectors;
use x509_parser::prelude::{FromDer, X509Certificate};

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap()
}

fn is_its_own_issuer(der: &[u8]) -> bool {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Every self-issued certificate of these is pinned, and nothing else of them is; gives the names of the pins.
fn compare(kind: PinKind, found: &[CertificateDer<'_>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for der in found {
        let pin = Pins::built_in().of_certificate(kind, der);
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        assert_eq!(pin.is_some(), is_its_own_issuer(der), "{}", certificate.subject());
        let Some(pin) = pin else { continue };
        let common = certificate.subject().iter_common_name().next().unwrap().as_str().unwrap();
        assert!(pin.name.contains(&format!("CN={common}")), "{} is of {common}", pin.name);
        names.insert(pin.name.clone());
    }
    names
}

#[test]
fn amds_roots_are_those_of_the_sev_crate() {
    use sev::certs::snp::builtin::{genoa, milan, turin};
    for (product, ark, ask) in
        [("Milan", milan::ARK, milan::ASK), ("Genoa", genoa::ARK, genoa::ASK), ("Turin", turin::ARK, turin::ASK)]
    {
        let found = [certificates(ark), certificates(ask)].concat();
        assert_eq!(compare(PinKind::AmdArk, &found).len(), 1);
        let root = found.first().unwrap();
        let pin = Pins::built_in().of_certificate(PinKind::AmdArk, root).unwrap();
        assert_eq!(pin.product.as_deref(), Some(product));
        assert!(Pins::built_in().of_certificate(PinKind::TpmVendor, root).is_none());
    }
}

#[test]
fn amds_roots_are_those_of_both_branches() {
    let Some(path) = vectors("snp/roots") else { return };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).unwrap() {
        names.extend(compare(PinKind::AmdArk, &certificates(&fs::read(entry.unwrap().path()).unwrap())));
    }
    assert_eq!(names.len(), Pins::built_in().of(PinKind::AmdArk).count());
}

#[test]
fn nvidias_device_root_is_that_of_a_real_chain() {
    let Some(path) = vectors("nvidia/hopper-cert-chain.pem") else { return };
    assert_eq!(compare(PinKind::NvidiaDeviceRoot, &certificates(&fs::read(path).unwrap())).len(), 1);
}

#[test]
fn nvidias_manifest_root_is_that_of_a_production_manifest() {
    let Some(path) = vectors("nvidia") else { return };
    let text = fs::read_to_string(path.join("vbios-rim-prod-1010_0200_882_96005E0001.swidtag")).unwrap();
    let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", body.trim());
    let bodies = text.split("X509Certificate>").skip(1).step_by(2);
    let blocks: String = bodies.map(|body| pem(body.split('<').next().unwrap())).collect();
    let found = certificates(blocks.as_bytes());
    assert_eq!(found.len(), 4);
    assert_eq!(compare(PinKind::NvidiaRimRoot, &found).len(), 1);
}

#[test]
fn tpm_vendors_roots_are_those_that_verifiers_know() {
    let Some(path) = vectors("tpm/ek-roots") else { return };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).unwrap() {
        names.extend(compare(PinKind::TpmVendor, &certificates(&fs::read(entry.unwrap().path()).unwrap())));
    }
    assert_eq!(names.len(), Pins::built_in().of(PinKind::TpmVendor).count());
}
