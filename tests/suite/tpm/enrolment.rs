//! Enrolment: EK certificate, AK, credential, and the quote that ends it.

use super::{left_behind, selection};
use ring::rand::SystemRandom;
use std::{
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};
use strongroom_attest::{
    EkIdentity, QuoteExpectation, TrustAnchors,
    enrol::{Credential, PendingActivation, check_ak, make_credential, verify_ek_certificate},
    quote,
    tpm::Public,
};
use strongroom_collect::{CollectError, Collector, EkChoice, EkKind, Enroller as _, TpmIdentity};
use strongroom_protocol::{
    Bytes, EnrolmentId, VaultId, binding::tpm_extra_data, challenge::Nonce, enrol::EnrolStatement, sha256,
};
use strongroom_tests::{Machine, Node};

#[expect(clippy::disallowed_methods, reason = "the stand-in's certificates are valid from the moment they are made")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn verify(identity: &TpmIdentity, root: &Path) -> EkIdentity {
    let roots = TrustAnchors::from_pem(&std::fs::read_to_string(root).unwrap()).unwrap();
    let chain: Vec<&[u8]> = identity.ek_certificate_chain.iter().map(Vec::as_slice).collect();
    let ek = Public::parse(&identity.ek_public).unwrap();
    verify_ek_certificate(&chain, &ek, &roots, &[], now()).unwrap()
}

/// A whole enrolment, with only the root pinned: the issuer's certificate comes out of the TPM.
fn enrol(node: &Node, collector: &Collector) {
    let identity = collector.identity().unwrap();
    let ek_identity = verify(&identity, &node.tpm.root_ca());
    let (ek, ak) = (Public::parse(&identity.ek_public).unwrap(), Public::parse(&identity.ak_public).unwrap());
    assert_eq!(check_ak(&ak).unwrap().name(), identity.ak_name);

    let rng = SystemRandom::new();
    let pending = PendingActivation::generate(1, &rng).unwrap();
    let credential = make_credential(&ek, &identity.ak_name, pending.secret(), &rng).unwrap();
    let secret = collector.activate_credential(&credential.credential_blob, &credential.encrypted_secret).unwrap();
    pending.redeem(&secret, 0).unwrap();

    let (vault, enrolment) = (VaultId::from([1; 32]), EnrolmentId::from([2; 16]));
    let nonce = Nonce::new([3; 16], 4, [5; 16]);
    let end = collector.enrolment_quote(vault, nonce, enrolment, &selection()).unwrap();
    let statement: EnrolStatement = serde_json::from_slice(&end.statement).unwrap();
    assert_eq!((statement.v, statement.vault, statement.nonce, statement.enrolment), (1, vault, nonce, enrolment));
    assert_eq!(statement.ek_sha256.0, sha256(&identity.ek_public));
    assert_eq!(statement.ak_name, Bytes(identity.ak_name));
    let expect = QuoteExpectation {
        ak: &ak,
        ek_name: ek_identity.ek_name(),
        extra_data: tpm_extra_data("strongroom/v1/enrol", &end.statement, None),
        selection: &selection(),
        boot: None,
    };
    quote::verify((&end.quote).into(), &expect).unwrap();
}

#[test]
fn a_node_with_an_rsa_ek_enrols() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    assert_eq!(collector.ak().kind(), EkKind::Rsa2048);
    assert_eq!(collector.identity().unwrap().ek_certificate_chain.len(), 2);
    enrol(&node, &collector);
}

#[test]
fn a_node_with_a_p256_ek_enrols_and_prefers_it() {
    let node = Node::boot(&Machine::default()).unwrap();
    node.tpm.provision_p256_ek().unwrap();
    let collector = node.collector().unwrap();
    assert_eq!(collector.ak().kind(), EkKind::EccP256);
    enrol(&node, &collector);
    // Configuration can choose the other one; the AK that is there stays with its EK.
    let tpm = collector.tpm();
    assert_eq!(tpm.ek_certificate_chain(EkChoice::Rsa2048).unwrap().kind, EkKind::Rsa2048);
}

#[test]
fn a_credential_for_others_is_refused() {
    let (node, other) = (Node::boot(&Machine::default()).unwrap(), Node::boot(&Machine::default()).unwrap());
    let (collector, other) = (node.collector().unwrap(), other.collector().unwrap());
    let rng = SystemRandom::new();
    let identity = collector.identity().unwrap();
    let ek = Public::parse(&identity.ek_public).unwrap();
    let make = |ek: &Public, name: &[u8]| make_credential(ek, name, &[7; 32], &rng).unwrap();
    let activate = |c: &Credential| collector.activate_credential(&c.credential_blob, &c.encrypted_secret);

    let right = make(&ek, &identity.ak_name);
    assert_eq!(activate(&right).unwrap().as_slice(), [7; 32]);
    let wrong_name = make(&ek, &other.ak().name());
    assert!(matches!(activate(&wrong_name), Err(CollectError::CredentialRefused { .. })));
    let wrong_key = make(&Public::parse(&other.identity().unwrap().ek_public).unwrap(), &identity.ak_name);
    assert!(matches!(activate(&wrong_key), Err(CollectError::CredentialRefused { .. })));
    for at in [0, right.credential_blob.len() - 1] {
        let mut changed = right.clone();
        changed.credential_blob[at] ^= 1;
        assert!(matches!(activate(&changed), Err(CollectError::CredentialRefused { .. })), "byte {at}");
    }
    let cut = Credential { credential_blob: right.credential_blob[..20].to_vec(), ..right.clone() };
    assert!(matches!(activate(&cut), Err(CollectError::CredentialRefused { .. })));
    let empty = Credential { credential_blob: vec![], encrypted_secret: vec![] };
    assert!(matches!(activate(&empty), Err(CollectError::CredentialRefused { .. })));
    let long = Credential { credential_blob: vec![0; 9000], ..right };
    assert!(matches!(activate(&long), Err(CollectError::CredentialMalformed { .. })));
    assert_eq!(left_behind(&collector), 0);
}

/// A credential by other people's code: `tpm2_makecredential`, which needs no TPM for it.
#[test]
fn a_credential_by_tpm2_tools_is_activated() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    let identity = collector.identity().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (ek, secret, out) = (dir.path().join("ek"), dir.path().join("secret"), dir.path().join("out"));
    let size = u16::try_from(identity.ek_public.len()).unwrap().to_be_bytes();
    std::fs::write(&ek, [&size, identity.ek_public.as_slice()].concat()).unwrap();
    std::fs::write(&secret, b"told only to this TPM").unwrap();
    let run = Command::new("tpm2_makecredential")
        .args(["-T", "none", "-n", &hex::encode(&identity.ak_name)])
        .args([Path::new("-u"), &ek, Path::new("-s"), &secret, Path::new("-o"), &out])
        .output();
    let Ok(run) = run else {
        println!("skipped: tpm2_makecredential (package tpm2-tools) is not installed");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    // Magic and version, then two TPM2Bs.
    let made = std::fs::read(out).unwrap();
    let (blob, rest) = take_tpm2b(&made[8..]);
    let (seed, rest) = take_tpm2b(rest);
    assert!(rest.is_empty());
    assert_eq!(collector.activate_credential(blob, seed).unwrap().as_slice(), b"told only to this TPM");
}

fn take_tpm2b(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (size, rest) = bytes.split_first_chunk::<2>().unwrap();
    rest.split_at(usize::from(u16::from_be_bytes(*size)))
}
