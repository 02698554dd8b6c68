//! Bytes that real hardware and real clouds produced, read from `../shared/vectors` beside the project.
//!
//! Skips, with a printed reason, where that folder is absent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

mod vectors;

use std::fs;
use strongroom_attest::{
    QuoteEvidence, QuoteExpectation, Refused, TrustAnchors,
    enrol::check_ak,
    quote,
    tpm::{Attest, Key, Public},
};
use strongroom_protocol::{
    bytes::Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection},
};
use vectors::vectors;

/// The AK of the Azure vTPM as a `TPMT_PUBLIC`: the vector has its SPKI only.
fn azure_ak(pem: &str) -> Public {
    let der = pem_body(pem);
    // SubjectPublicKeyInfo of RSA 2048: the modulus follows INTEGER, 257 bytes, a zero.
    let at = der.windows(5).position(|window| window == [0x02, 0x82, 0x01, 0x01, 0x00]).unwrap() + 5;
    let mut public =
        b"\x00\x01\x00\x0b\x00\x05\x04\x72\x00\x00\x00\x10\x00\x14\x00\x0b\x08\x00\x00\x00\x00\x00\x01\x00".to_vec();
    public.extend_from_slice(&der[at..at + 256]);
    let public = Public::parse(&public).unwrap();
    assert_eq!(public.spki_der(), der, "the SPKI is rebuilt byte for byte");
    public
}

fn pem_body(pem: &str) -> Vec<u8> {
    decode_base64(&pem.lines().filter(|line| !line.starts_with('-')).collect::<String>())
}

/// Base64 with padding, as JSON of Go and PEM have it.
fn decode_base64(text: &str) -> Vec<u8> {
    let plain = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    plain.parse::<Bytes>().unwrap().0
}

#[test]
fn q1_an_azure_vtpms_quote_verifies_under_its_ak() {
    let Some(path) = vectors("azure-vtpm") else { return };
    let ak = azure_ak(&fs::read_to_string(path.join("akpub.pem")).unwrap());
    let file = fs::read(path.join("quote.bin")).unwrap();
    // The container: u64-LE length, signature, u64-LE length, TPMS_ATTEST, u64-LE count, PCRs of 32 bytes.
    let mut rest = file.as_slice();
    let mut next = |length: Option<usize>| {
        let (head, tail) = rest.split_at(length.unwrap_or(8));
        rest = tail;
        head.to_vec()
    };
    let mut sized = || {
        let length = u64::from_le_bytes(next(None).try_into().unwrap());
        next(Some(usize::try_from(length).unwrap()))
    };
    let (value, message) = (sized(), sized());
    let count = u64::from_le_bytes(next(None).try_into().unwrap());
    assert_eq!(count, 24);
    let values = PcrMap((0..24).map(|pcr| (pcr, Bytes(next(Some(32))))).collect());

    let mut signature = b"\x00\x14\x00\x0b\x01\x00".to_vec();
    signature.extend_from_slice(&value);
    let attest = Attest::parse(&message).unwrap();
    let mut extra_data = [0; 32];
    extra_data[..attest.extra_data.len().min(32)].copy_from_slice(&attest.extra_data);
    let selection = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..24).collect() };
    let ek_name = [&[0, 0x0b][..], &[0; 32]].concat();
    let expect = QuoteExpectation { ak: &ak, ek_name: &ek_name, extra_data, selection: &selection, boot: None };
    let verify = |message: &[u8]| {
        let evidence = QuoteEvidence { message, signature: &signature, pcr_bank: PcrBank::Sha256, pcr_values: &values };
        quote::verify(evidence, &expect)
    };
    // Signature and structure hold. What stops it is what should: this quote was bound to something
    // else, by an AK that is in no EK's hierarchy (Azure's HCL vouches for it instead).
    match verify(&message) {
        Err(Refused::Q3ExtraData { .. }) => assert_ne!(attest.extra_data.len(), 32),
        Err(Refused::Q4Signer { .. }) => assert_eq!(attest.extra_data.len(), 32),
        other => panic!("{other:?}"),
    }
    let mut changed = message.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(verify(&changed), Err(Refused::Q1Signature));

    // Q7 by hand, since the rows before it stop the whole: the digest is that of the 24 values.
    let concatenated: Vec<u8> = values.0.values().flat_map(|value| value.0.clone()).collect();
    assert_eq!(attest.pcr_digest, strongroom_protocol::sha256(&concatenated));
    assert_eq!(attest.selection.len(), 1);
    assert_eq!(attest.selection[0].bitmap, [0xff; 3]);
}

#[test]
fn e4_q1_a_shielded_vms_sha1_evidence_is_refused_as_sha1() {
    let Some(path) = vectors("tpm/windows-gcp-shielded-vm-sha1.json") else { return };
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let bytes = |value: &serde_json::Value| decode_base64(value.as_str().unwrap());
    let ak = Public::parse(&bytes(&json["AK"]["Public"])).unwrap();
    assert!(matches!(ak.key(), Key::Rsa { .. }));
    assert_eq!(check_ak(&ak), Err(Refused::E4Sha1 { field: "scheme" }));

    let (message, signature) = (bytes(&json["Quote"]["Quote"]), bytes(&json["Quote"]["Signature"]));
    // It is a well-formed quote of the SHA-1 bank.
    assert_eq!(Attest::parse(&message).unwrap().selection[0].bank, 0x0004);
    let selection = PcrSelection::default_sha256();
    let expect =
        QuoteExpectation { ak: &ak, ek_name: &ak.name(), extra_data: [0; 32], selection: &selection, boot: None };
    let evidence = QuoteEvidence {
        message: &message,
        signature: &signature,
        pcr_bank: PcrBank::Sha256,
        pcr_values: &PcrMap::default(),
    };
    assert_eq!(quote::verify(evidence, &expect), Err(Refused::Q1Sha1));
}

#[test]
fn e2_the_vendors_roots_are_loaded_as_a_store() {
    let Some(path) = vectors("tpm/ek-roots") else { return };
    let mut anchors = TrustAnchors::default();
    let mut files = 0;
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let pem = fs::read_to_string(&path).unwrap();
        anchors.extend(TrustAnchors::from_pem(&pem).unwrap_or_else(|why| panic!("{}: {why}", path.display())));
        files += 1;
    }
    let roots = anchors.roots_sha256().count();
    println!("{files} files: {roots} roots, {} intermediates", anchors.intermediates());
    // Infineon's, Intel's, GlobalSign's and Nuvoton's are their own issuers; STMicro's "roots" are GlobalSign's.
    assert!(roots >= 10 && anchors.intermediates() >= 25, "{roots} and {}", anchors.intermediates());
}
