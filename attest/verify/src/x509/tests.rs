//! What the rows of SEV-SNP do not show: ECDSA, PEM, and that nothing panics.

use super::*;
use proptest::prelude::*;
use strongroom_hardware::{
    certificate::{Extension, Key, Written, pem},
    snp::{AT, Snp, keys},
};

fn leaked() -> &'static Key {
    Box::leak(Box::new(Key::p384()))
}

/// Two authorities may have one name.
#[test]
fn a_list_is_its_signers_and_not_its_namesakes() {
    let mut snp = Snp::default();
    let identifier = |id: u8| Extension::plain(&[2, 5, 29, 35], [&[0x30, 22, 0x80, 20][..], &[id; 20]].concat());
    let own = Extension::plain(&[2, 5, 29, 14], [&[4, 20][..], &[1; 20]].concat());
    snp.ark.extensions.push(own);
    let root = snp.ark.der();
    let root = Certificate::parse(&root).unwrap();
    let mut judged = |named: Option<u8>, signed_by: &'static Key| {
        snp.crl.extensions = named.map(identifier).into_iter().collect();
        snp.crl.signed_by = signed_by;
        let der = snp.crl.der();
        let crl = Crl::parse(&der).unwrap();
        (crl.is_of(&root), crl.check(&root, AT).is_ok())
    };
    let (ark, namesake) = (&keys().ark, &keys().forger);
    assert_eq!(judged(Some(2), namesake), (false, false), "another's, which says so");
    for named in [None, Some(1), Some(2)] {
        assert_eq!(judged(named, ark), (true, true), "what its key signed is its own, whatever it names");
    }
    // Nobody passes a list off as another's by what is missing.
    for named in [None, Some(1)] {
        assert_eq!(judged(named, namesake), (true, false));
    }
}

#[test]
fn ecdsa_on_p384_signs_certificates_and_lists_too() {
    let (key, other) = (leaked(), leaked());
    let mut snp = Snp::default();
    snp.intermediate.spki = key.spki();
    let issuer = snp.intermediate.der();
    let issuer = Certificate::parse(&issuer).unwrap();
    (snp.leaf.algorithm, snp.leaf.signed_by) = (Written::Ecdsa, key);
    let der = snp.leaf.der();
    let leaf = Certificate::parse(&der).unwrap();
    leaf.check_signed_by(&issuer).unwrap();
    leaf.check_valid_at(AT).unwrap();
    snp.leaf.signed_by = other;
    let der = snp.leaf.der();
    let forged = Certificate::parse(&der).unwrap().check_signed_by(&issuer);
    assert!(matches!(forged, Err(X509Problem::Signature { .. })), "{forged:?}");

    (snp.crl.algorithm, snp.crl.signed_by, snp.crl.issuer) = (Written::Ecdsa, key, snp.intermediate.subject.clone());
    let der = snp.crl.der();
    let crl = Crl::parse(&der).unwrap();
    crl.check(&issuer, AT).unwrap();
    assert!(crl.revokes(&[1, 2, 3]) && !crl.revokes(&[1, 2]));
    assert!(matches!(crl.check(&leaf, AT), Err(X509Problem::Issuer { .. })));
    // RSA-PSS is a way to sign, but not with a key on P-384.
    snp.leaf.algorithm = Written::Pss;
    let der = snp.leaf.der();
    assert!(Certificate::parse(&der).unwrap().check_signed_by(&issuer).is_err());
}

#[test]
fn pem_and_der_are_told_apart_by_their_beginning() {
    let der = Snp::default().leaf.der();
    assert_eq!(certificates(&der).unwrap(), [der.as_slice()]);
    let text = format!("a comment\n{}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n{}", pem(&der), pem(&der));
    assert_eq!(certificates(text.as_bytes()).unwrap(), [der.as_slice(), &der]);
    assert!(matches!(certificates(pem(&der).repeat(9).as_bytes()), Err(X509Problem::TooMany { limit: 8 })));
    assert!(matches!(certificates(pem(&der).repeat(200).as_bytes()), Err(X509Problem::TooLarge { .. })));
    assert!(certificates(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").is_err());
    // What is neither is handed on, and refused as DER.
    assert!(Certificate::parse(&certificates(b"neither").unwrap()[0]).is_err());
}

/// What no signature covers too: outer tags and lengths, the second algorithm.
#[test]
fn each_flipped_bit_of_a_certificate_is_refused() {
    let snp = Snp::default();
    let (mut der, middle) = (snp.leaf.der(), snp.intermediate.der());
    let issuer = Certificate::parse(&middle).unwrap();
    Certificate::parse(&der).unwrap().check_signed_by(&issuer).unwrap();
    for at in 0..der.len() {
        for bit in 0..8 {
            der[at] ^= 1 << bit;
            let accepted = Certificate::parse(&der).and_then(|flipped| flipped.check_signed_by(&issuer));
            assert!(accepted.is_err(), "byte {at}, bit {bit}");
            der[at] ^= 1 << bit;
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..1300, bit in 0_u8..8) {
        let _ = Certificate::parse(&bytes);
        let _ = Crl::parse(&bytes);
        let _ = certificates(&bytes);
        let text = [&b"-----BEGIN "[..], &bytes].concat();
        let _ = certificates(&text);
        let mut der = Snp::default().leaf.der();
        let at = at % der.len();
        der[at] ^= 1 << bit;
        if let Ok(certificate) = Certificate::parse(&der) {
            let middle = Snp::default().intermediate.der();
            prop_assert!(certificate.check_signed_by(&Certificate::parse(&middle).unwrap()).is_err());
        }
    }
}
