//! Answers of responders: what is asked, what is found again, what of an answer counts.

use super::*;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use strongroom_attest::endorsements::Store;
use strongroom_hardware::nvidia::{Certificate, Chain, Responder};
use strongroom_protocol::sha256;

/// Every certificate of the node's chains whose issuer says who is revoked, with that issuer.
fn asked(node: &Node) -> Vec<(&Certificate, &Certificate)> {
    let device = node.gpu.chain.certificates.windows(2).take(3);
    let signer = node.driver.signer.certificates.windows(2);
    device.chain(signer).map(|pair| (&pair[1], &pair[0])).collect()
}

/// A node that has answers and no list.
fn answered(status: &Status, responder: &Responder<'_>) -> Node {
    node(|node| {
        let answers = asked(node).into_iter().map(|(of, by)| status.ocsp(of, by, responder)).collect();
        (node.ocsp, node.status) = (answers, None);
    })
}

fn problem(node: &Node) -> String {
    match node.judge().unwrap_err() {
        GpuRefused::G5Revocation { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn g5_answers_alone_cover_a_gpu_and_its_manifests() {
    let responder = Certificate::leaf("Stand-in OCSP", 0x21);
    let named = Responder::Named { certificate: &responder, purpose: true };
    for responder in [&Responder::Issuer, &named] {
        let node = answered(&Status::default(), responder);
        assert!(node.judge().unwrap().revocation_checked);
        // None of them can be missed.
        for missed in 0..node.ocsp.len() {
            let mut ocsp = node.ocsp.clone();
            ocsp.remove(missed);
            let judged = super::node(|other| *other = Node { ocsp, ..answered(&Status::default(), responder) }).judge();
            assert!(judged.is_err(), "without answer {missed}");
        }
    }
}

#[test]
fn g5_an_answer_counts_in_its_time_only() {
    let until = |this_update, next_update| Status { this_update, next_update: Some(next_update), ..Status::default() };
    answered(&until((2026, 11, 21), (2026, 11, 23)), &Responder::Issuer).judge().unwrap();
    // The judgement is of noon on the 22nd.
    for (status, what) in [
        (until((2026, 11, 20), (2026, 11, 21)), "an answer:"),
        (until((2026, 11, 24), (2026, 11, 30)), "an answer:"),
        (until((2026, 11, 10), (2026, 12, 20)), "seconds old"),
    ] {
        let problem = problem(&answered(&status, &Responder::Issuer));
        assert!(problem.contains(what), "{problem}");
    }
}

#[test]
fn g5_an_answer_is_about_one_issuers_certificate() {
    // The serial number and the issuer's name are right, and the key is another authority's of that name: what it
    // signs for itself is about nobody's certificate here.
    let mut namesake = answered(&Status::default(), &Responder::Issuer);
    let issuer = &namesake.gpu.chain.certificates[2];
    let other = Certificate { name: issuer.name.clone(), ..Certificate::ca("", 9) };
    namesake.ocsp[2] = Status::default().ocsp(&namesake.gpu.chain.certificates[3], &other, &Responder::Issuer);
    assert!(matches!(namesake.judge(), Err(GpuRefused::G5Unknown { .. })));
    // A responder of one issuer does not answer for another.
    let responder = Certificate::leaf("Stand-in OCSP", 0x21);
    let mut foreign = answered(&Status::default(), &Responder::Issuer);
    let of = foreign.gpu.chain.certificates.clone();
    let stranger = Responder::Stranger(&of[1].key);
    foreign.ocsp[2] = Status::default().ocsp(&of[3], &of[2], &stranger);
    assert!(problem(&foreign).contains("not signed by the issuer"));
    let named = Responder::Named { certificate: &responder, purpose: true };
    foreign.ocsp[2] = Status::default().ocsp(&of[3], &of[2], &named);
    foreign.judge().unwrap();
}

#[test]
fn g5_an_answer_with_what_is_not_understood_is_none() {
    let nonce = vec![1, 3, 6, 1, 5, 5, 7, 48, 1, 2];
    let with = |id: &[u64], critical| Status { extension: Some((id.to_vec(), critical)), ..Status::default() };
    for (id, critical) in [(vec![1, 2, 3], false), (nonce.clone(), false), (nonce, true)] {
        answered(&with(&id, critical), &Responder::Issuer).judge().unwrap();
    }
    let problem = problem(&answered(&with(&[1, 2, 3], true), &Responder::Issuer));
    assert!(problem.contains("no successful"), "{problem}");
}

#[test]
fn g5_an_answer_has_a_largest_size() {
    let mut large = answered(&Status::default(), &Responder::Issuer);
    // About the same certificate, so that it is read.
    large.ocsp[0].resize(17 << 10, 0);
    assert!(problem(&large).contains("larger than any"));
}

#[test]
fn a_refusal_of_a_responder_is_told_in_words() {
    let told = |status: u8| unsuccessful(&[0x30, 3, 0x0a, 1, status]);
    assert!(told(6).unwrap().contains("unauthorized") && told(3).unwrap().contains("tryLater"));
    for status in [1, 2, 5] {
        assert!(told(status).is_some(), "{status}");
    }
    assert_eq!([told(0), told(4), unsuccessful(b""), unsuccessful(b"<html>")], [None; 4]);
}

#[test]
fn what_is_asked_is_found_again_in_a_store() {
    let node = answered(&Status::default(), &Responder::Issuer);
    let mut store = Store::new(node.pins());
    for chain in [&node.gpu.chain, &node.driver.signer] {
        for der in chain.ders().into_iter().rev() {
            store.import(&der, None, AT).unwrap();
        }
    }
    let names: Vec<String> =
        node.ocsp.iter().map(|answer| store.import(answer, None, AT).unwrap()[0].name.clone()).collect();
    let requests = |chain: &Chain| {
        let ders = chain.ders();
        status_requests(&ders.iter().rev().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
    };
    let of: Vec<_> = requests(&node.gpu.chain).into_iter().chain(requests(&node.driver.signer)).collect();
    let mut wanted: Vec<_> = of.iter().map(|request| request.name.clone()).collect();
    let mut stored = names.clone();
    wanted.sort();
    stored.sort();
    assert_eq!(wanted, stored);

    // Another GPU's answer, made by the same authorities, is left where it is.
    let other = node.gpu.chain.another_device(&[0x42, 7]);
    let answer = Status::default().ocsp(&other.certificates[3], &other.certificates[2], &Responder::Issuer);
    store.import(&answer, None, AT).unwrap();
    let found =
        node.with(|evidence, expect| answers(&store, evidence, [expect.driver_rim, expect.vbios_rim]).len()).unwrap();
    assert_eq!((found, store.answers().len()), (6, 7));
    // Nothing of what is sent is verified before that: garbage finds nothing.
    let garbage = GpuEvidence { report: &[], certificates: vec![&[0x30, 0]; 20] };
    assert_eq!(answers(&store, &garbage, [None, None]), Vec::<&[u8]>::new());
    assert!(status_requests(&[&[0x30, 0]]).is_err() && status_requests(&[[0; 9000].as_slice(); 9]).is_err());

    let revoked = Status { revoked: vec![node.gpu.chain.certificates[3].serial.clone()], ..Status::default() };
    let of = &node.gpu.chain.certificates;
    assert!(says_revoked(&revoked.ocsp(&of[3], &of[2], &Responder::Issuer)));
    assert!(!says_revoked(&node.ocsp[0]) && !says_revoked(b"no answer"));
}

/// The requests that OpenSSL makes for the same certificates (`openssl ocsp -sha384 -no_nonce -reqout`).
#[test]
fn a_hoppers_certificates_are_asked_about_as_openssl_asks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/nvidia/hopper-cert-chain.pem");
    let Ok(pem) = fs::read(&path) else { return eprintln!("skipped: {} is not here", path.display()) };
    let ders: Vec<_> = CertificateDer::pem_slice_iter(&pem).map(|der| der.unwrap().to_vec()).collect();
    let requests = status_requests(&ders.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    let digests: Vec<_> = requests.iter().map(|request| hex::encode(sha256(&request.bytes))).collect();
    // Of the device, whose certificate names no responder, and of both authorities below the root; not of the key that
    // the device certified itself.
    let expected = [
        "802e721451fa05f67991fb8b79831f1e004b5c510367b41b8d1becbaa71c9da1",
        "be119ad9c046deb5f8855af8870a330044103a166884c739ae1bee446710c0ac",
        "1dd9287fd0e53300d4f1f39c85bb5b69f8353f24fb28d34eea18fffcf52fc62b",
    ];
    assert_eq!(digests, expected);
    assert!(requests[0].subject.contains("GH100 A01 GSP BROM"), "{}", requests[0].subject);
    assert!(requests[0].name.starts_with("nvidia/ocsp/41431d480fe5e87274-"), "{}", requests[0].name);
}
