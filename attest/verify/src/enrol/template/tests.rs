use super::*;
use crate::stand_in::{PublicSpec, RSA_A, RSA_B, Vendor, changed, policy_a_sha256};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

fn high_range(ek: PublicSpec) -> PublicSpec {
    PublicSpec { attributes: 0x0003_00f2, policy: POLICY_B_SHA256.to_vec(), ..ek }
}

fn p384() -> PublicSpec {
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    PublicSpec {
        name_alg: 0x000c,
        policy: POLICY_B_SHA384.to_vec(),
        symmetric: Some([0x0006, 256, 0x0043]),
        curve: 0x0004,
        ..high_range(PublicSpec::ecc_ek(key.public_key().as_ref()))
    }
}

fn rsa(change: impl FnOnce(&mut PublicSpec)) -> Result<&'static str, Refused> {
    let mut spec = PublicSpec::rsa_ek(&RSA_A);
    change(&mut spec);
    check(&spec.public())
}

fn refused_field(change: impl FnOnce(&mut PublicSpec)) -> &'static str {
    match rsa(change) {
        Err(Refused::E3Template { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_policies_are_those_of_the_profile() {
    assert_eq!(policy_a_sha256(), POLICY_A_SHA256);
    // PolicyB = PolicyOR(PolicyA, PolicyC); PolicyC of SHA-256 as the profile prints it.
    let policy_c = b"\x37\x67\xe2\xed\xd4\x3f\xf4\x5a\x3a\x7e\x1e\xae\xfc\xef\x78\x64\
          \x3d\xca\x96\x46\x32\xe7\xaa\xd8\x2c\x67\x3a\x30\xd8\x63\x3f\xde";
    let policy_b = HashAlg::Sha256.digest(&[&[0; 32], &[0, 0, 1, 0x71], POLICY_A_SHA256, policy_c]);
    assert_eq!(policy_b, POLICY_B_SHA256);
}

#[test]
fn e3_the_default_templates_are_accepted() {
    assert_eq!(rsa(|_| {}), Ok("L-1"));
    assert_eq!(rsa(|spec| *spec = high_range(spec.clone())), Ok("H-1"));
    assert_eq!(Vendor::ecc().verify().unwrap().template(), "L-2");
    assert_eq!(Vendor::of(p384().public()).verify().unwrap().template(), "H-3");
    let mut large = PublicSpec { rsa_bits: 3072, ..high_range(PublicSpec::rsa_ek(&RSA_A)) };
    (large.name_alg, large.policy) = (0x000c, POLICY_B_SHA384.to_vec());
    large.symmetric = Some([0x0006, 256, 0x0043]);
    large.unique = vec![vec![0xff; 384]];
    assert_eq!(check(&large.public()), Ok("H-6"));
    (large.rsa_bits, large.unique) = (4096, vec![vec![0xff; 512]]);
    assert_eq!(check(&large.public()), Ok("H-7"));
}

#[test]
fn e3_every_field_of_the_template_is_fixed() {
    // Each attribute that must be there, and each that must not.
    for bit in 0..32 {
        assert_eq!(refused_field(|spec| spec.attributes ^= 1 << bit), "attributes", "bit {bit}");
    }
    assert_eq!(refused_field(|spec| spec.policy = vec![0; 32]), "authPolicy");
    assert_eq!(refused_field(|spec| spec.policy = vec![]), "authPolicy");
    assert_eq!(refused_field(|spec| spec.policy = POLICY_B_SHA256.to_vec()), "attributes");
    assert_eq!(refused_field(|spec| spec.symmetric = None), "symmetric cipher");
    assert_eq!(refused_field(|spec| spec.symmetric = Some([0x0006, 256, 0x0043])), "symmetric cipher");
    assert_eq!(refused_field(|spec| spec.symmetric = Some([0x0006, 128, 0x0040])), "symmetric cipher");
    assert_eq!(refused_field(|spec| spec.scheme = Some([0x0017, 0x000b])), "scheme");
    assert_eq!(refused_field(|spec| spec.name_alg = 0x000c), "nameAlg");
    assert_eq!(refused_field(|spec| spec.name_alg = 0x0004), "nameAlg");
    assert_eq!(refused_field(|spec| (spec.rsa_bits, spec.unique) = (1024, vec![vec![0xff; 128]])), "key");
}

/// The certified key, in a public area that a TPM would let export it from, or use as a signing key.
#[test]
fn e3_the_certified_key_in_another_area_is_refused() {
    let software = changed(Vendor::rsa(), |vendor| {
        vendor.ek = PublicSpec { attributes: 0x0002_0040, ..PublicSpec::rsa_ek(&RSA_A) }.public();
    });
    assert!(matches!(software, Err(Refused::E3Template { field: "attributes", .. })));
}

#[test]
fn e3_another_key_than_the_certified_is_refused() {
    let rsa = changed(Vendor::rsa(), |vendor| vendor.ek = PublicSpec::rsa_ek(&RSA_B).public());
    assert_eq!(rsa, Err(Refused::E3KeyMismatch { problem: "the moduli differ" }));
    let point = changed(Vendor::ecc(), |vendor| vendor.ek = Vendor::ecc().ek);
    assert_eq!(point, Err(Refused::E3KeyMismatch { problem: "the points differ" }));
    let curve = changed(Vendor::ecc(), |vendor| vendor.ek = p384().public());
    assert_eq!(curve, Err(Refused::E3KeyMismatch { problem: "the curves differ" }));
    let kind = changed(Vendor::ecc(), |vendor| vendor.ek = PublicSpec::rsa_ek(&RSA_B).public());
    assert_eq!(kind, Err(Refused::E3KeyMismatch { problem: "one is RSA, the other ECC" }));
}

/// One key, another spelling of its public area: that would be another node id (E6).
#[test]
fn e3_the_exponent_has_one_spelling() {
    assert_eq!(refused_field(|spec| spec.exponent = 65_537), "exponent");
}
