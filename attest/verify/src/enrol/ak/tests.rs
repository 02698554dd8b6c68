use super::*;
use crate::stand_in::{PublicSpec, RSA_A, SigningKey};

fn ecc(change: impl FnOnce(&mut PublicSpec)) -> Result<AkProfile, Refused> {
    let mut spec = SigningKey::p256().spec();
    change(&mut spec);
    check_ak(&spec.public())
}

#[test]
fn e4_a_restricted_signing_key_is_accepted() {
    for key in [SigningKey::p256(), SigningKey::p384(), SigningKey::Rsa(&RSA_A)] {
        let ak = key.spec().public();
        assert_eq!(check_ak(&ak).unwrap().name(), ak.name());
    }
    assert_eq!(ecc(|_| {}).unwrap().scheme().to_string(), "ecdsa-sha256");
    // How it is authorised does not matter: as tpm2-tools make it, and with a policy and without a password.
    for attributes in [0x0005_0472, 0x0005_00b2, 0x0005_0076] {
        ecc(|spec| spec.attributes = attributes).unwrap();
    }
}

#[test]
fn e4_each_attribute_is_needed() {
    for (bit, name) in
        [(1, "fixedTPM"), (4, "fixedParent"), (5, "sensitiveDataOrigin"), (16, "restricted"), (18, "sign")]
    {
        let refused = ecc(|spec| spec.attributes &= !(1 << bit)).unwrap_err();
        assert_eq!(refused, Refused::E4Attributes { missing: name.to_owned(), forbidden: String::new() });
    }
}

#[test]
fn e4_what_else_it_can_do_is_refused() {
    for (bit, name) in [
        (17, "decrypt"),
        (11, "encryptedDuplication"),
        (19, "x509sign"),
        (0, "unknown bits 0x00000001"),
        (31, "unknown bits 0x80000000"),
    ] {
        let refused = ecc(|spec| spec.attributes |= 1 << bit).unwrap_err();
        assert_eq!(refused, Refused::E4Attributes { missing: String::new(), forbidden: name.to_owned() });
    }
}

#[test]
fn e4_sha1_is_refused_by_name() {
    assert_eq!(ecc(|spec| spec.scheme = Some([0x0018, 0x0004])), Err(Refused::E4Sha1 { field: "scheme" }));
    assert_eq!(ecc(|spec| spec.name_alg = 0x0004), Err(Refused::E4Sha1 { field: "nameAlg" }));
}

#[test]
fn e4_the_scheme_is_fixed_and_one_that_is_verified() {
    let scheme = |scheme| matches!(ecc(|spec| spec.scheme = scheme), Err(Refused::E4Key { field: "scheme", .. }));
    assert!(scheme(None));
    assert!(scheme(Some([0x0019, 0x000b])));
    assert!(scheme(Some([0x001b, 0x000b])));
    let parent = ecc(|spec| spec.symmetric = Some([0x0006, 128, 0x0043]));
    assert!(matches!(parent, Err(Refused::E4Key { field: "symmetric cipher", .. })));
}

#[test]
fn e4_short_rsa_keys_and_other_curves_are_refused() {
    let short = PublicSpec { rsa_bits: 1024, unique: vec![vec![0xff; 128]], ..PublicSpec::rsa_ak(&RSA_A) };
    assert!(matches!(check_ak(&short.public()), Err(Refused::E4Key { field: "key", .. })));
    let curve = PublicSpec { curve: 0x0005, ..SigningKey::p256().spec() };
    assert!(crate::tpm::Public::parse(&curve.bytes()).unwrap_err().to_string().contains("P-521"));
}
