use super::*;
use crate::stand_in::{AttestSpec, PublicSpec, RSA_A, SigningKey};
use proptest::prelude::*;
use std::sync::LazyLock;

fn attest() -> AttestSpec {
    AttestSpec {
        magic: 0xff54_4347,
        kind: 0x8018,
        qualified_signer: vec![1; 34],
        extra_data: vec![2; 32],
        clock: 3,
        reset_count: 4,
        restart_count: 5,
        safe: 1,
        firmware_version: 6,
        selection: vec![(0x000b, vec![1, 2, 3])],
        digest: vec![7; 32],
        trailing: vec![],
    }
}

/// Good structures of every kind.
static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let (p256, p384) = (SigningKey::p256(), SigningKey::p384());
    vec![
        PublicSpec::rsa_ek(&RSA_A).bytes(),
        p256.spec().bytes(),
        p384.spec().bytes(),
        attest().bytes(),
        p256.sign(b"message", None),
        SigningKey::Rsa(&RSA_A).sign(b"message", None),
    ]
});

fn parse_all(bytes: &[u8]) -> usize {
    usize::from(Public::parse(bytes).is_ok())
        + usize::from(Attest::parse(bytes).is_ok())
        + usize::from(Signature::parse(bytes).is_ok())
}

#[test]
fn an_area_is_read_field_by_field() {
    let spec = SigningKey::p384().spec();
    let public = spec.public();
    assert_eq!(public.as_bytes(), spec.bytes());
    assert_eq!((public.name_alg(), public.key_bits()), (HashAlg::Sha256, 384));
    assert_eq!(public.attributes(), Attributes(0x0005_0072));
    assert_eq!(
        public.attributes().to_string(),
        "fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign"
    );
    let scheme = SigningScheme { algorithm: SigningAlg::Ecdsa, hash: HashAlg::Sha384 };
    assert_eq!((public.scheme(), public.symmetric()), (Scheme::Signing(scheme), None));
    let ek = PublicSpec::rsa_ek(&RSA_A).public();
    assert_eq!((ek.scheme(), ek.symmetric()), (Scheme::Null, Some(Symmetric::AES_128_CFB)));
    assert_eq!(ek.auth_policy().len(), 32);
}

/// `tests/swtpm.rs` compares with a TPM; here with the definition of Part 1, §16.
#[test]
fn names_are_those_that_a_tpm_computes() {
    let (ek, ak) = (PublicSpec::rsa_ek(&RSA_A).public(), SigningKey::p384().spec());
    let name = [&[0, 0x0b], HashAlg::Sha256.digest(&[&ak.bytes()]).as_slice()].concat();
    assert_eq!(ak.public().name(), name);
    let sha384 = PublicSpec { name_alg: 0x000c, ..ak.clone() };
    assert_eq!(sha384.public().name().len(), 50);
    assert_eq!(sha384.public().name()[..2], [0, 0x0c]);
    for ak in [&ak, &sha384] {
        let qualified = ak.public().qualified_name_under_endorsement(&ek);
        assert_eq!(qualified_name(&ek.name(), &ak.public().name()), Some(qualified));
    }
    for not_a_name in [&[][..], &[0, 0x0b], &[0, 0x0b, 1], &[0x40, 0, 0, 1], &[0xff; 34]] {
        assert_eq!(qualified_name(not_a_name, &name), None);
        assert_eq!(qualified_name(&name, not_a_name), None);
    }
}

#[test]
fn objects_that_are_not_asymmetric_keys_are_refused_by_name() {
    let refusal = |kind| {
        let spec = PublicSpec { kind, ..PublicSpec::rsa_ek(&RSA_A) };
        Public::parse(&spec.bytes()).unwrap_err().to_string()
    };
    assert!(refusal(0x0008).contains("keyedhash"));
    assert!(refusal(0x0025).contains("symcipher"));
    assert!(refusal(0x1234).contains("unknown"));
}

#[test]
fn keys_that_do_not_hold_together_are_refused() {
    let rsa = |change: fn(&mut PublicSpec)| {
        let mut spec = PublicSpec::rsa_ek(&RSA_A);
        change(&mut spec);
        Public::parse(&spec.bytes())
    };
    rsa(|_| {}).unwrap();
    rsa(|spec| spec.exponent = 65_537).unwrap();
    for wrong in [
        (|spec| spec.exponent = 3) as fn(&mut PublicSpec),
        |spec| spec.rsa_bits = 3072,
        |spec| spec.rsa_bits = 2049,
        |spec| spec.unique[0][0] = 0,
        |spec| spec.unique[0].clear(),
        |spec| spec.unique[0].resize(513, 0xff),
        |spec| spec.name_alg = 0x0012,
        |spec| spec.scheme = Some([0x0018, 0x000b]),
        |spec| spec.policy = vec![0; 65],
        |spec| (spec.rsa_bits, spec.unique[0]) = (512, vec![0xff; 64]),
    ] {
        rsa(wrong).unwrap_err();
    }
    let ecc = |change: fn(&mut PublicSpec)| {
        let mut spec = SigningKey::p256().spec();
        change(&mut spec);
        Public::parse(&spec.bytes())
    };
    // Old TPMs leave leading zeros out.
    let short = ecc(|spec| spec.unique[0] = vec![9; 31]).unwrap();
    assert_eq!(short.spki_der().len(), 91);
    ecc(|spec| spec.unique[0].push(0)).unwrap_err();
    ecc(|spec| spec.curve = 0x0010).unwrap_err();
    ecc(|spec| spec.scheme = Some([0x0014, 0x000b])).unwrap_err();
}

#[test]
fn caps_hold_before_anything_is_allocated() {
    let banks = Attest::parse(&AttestSpec { selection: vec![(0x000b, vec![]); 17], ..attest() }.bytes());
    assert_eq!(banks, Err(ParseError::Oversized { field: "pcrSelect", limit: 16, actual: 17 }));
    // A count of 2^32 - 1 with nothing behind it.
    let mut bytes = AttestSpec { selection: vec![], ..attest() }.bytes();
    let at = bytes.len() - 2 - 32 - 4;
    bytes[at..at + 4].fill(0xff);
    assert!(matches!(Attest::parse(&bytes), Err(ParseError::Oversized { field: "pcrSelect", .. })));
    let bitmap = Attest::parse(&AttestSpec { selection: vec![(0x000b, vec![0; 5])], ..attest() }.bytes());
    assert!(matches!(bitmap, Err(ParseError::Oversized { .. })));
    assert!(Signature::parse(&[&b"\x00\x14\x00\x0b\x02\x01"[..], &[0; 513]].concat()).is_err());
}

#[test]
fn signatures_of_other_kinds_are_refused_by_name() {
    for (id, name) in [(0x0005_u16, "HMAC"), (0x001a, "ECDAA"), (0x001b, "SM2"), (0x0010, "null")] {
        let bytes = [&id.to_be_bytes()[..], &[0, 0x0b, 0, 0, 0, 0]].concat();
        assert!(Signature::parse(&bytes).unwrap_err().to_string().contains(name));
    }
}

#[test]
fn every_structure_ends_where_it_ends() {
    for good in GOOD.iter() {
        assert_eq!(parse_all(good), 1);
        assert_eq!(parse_all(&[good.as_slice(), &[0]].concat()), 0);
        for end in 0..good.len() {
            assert_eq!(parse_all(&good[..end]), 0, "cut at {end}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes: Vec<u8>) {
        parse_all(&bytes);
    }

    #[test]
    fn no_change_of_a_good_structure_makes_a_parser_panic(
        which in 0..6_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = GOOD[which].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        parse_all(&bytes);
        bytes.truncate(end.index(bytes.len()));
        bytes.extend(tail);
        parse_all(&bytes);
        // What is parsed can be used: names, keys and verification do not panic either.
        if let Ok(public) = Public::parse(&bytes) {
            prop_assert_eq!(public.as_bytes(), &bytes);
            public.spki_der();
            public.qualified_name_under_endorsement(&public);
            if let Ok(signature) = Signature::parse(&GOOD[4 + which % 2]) {
                prop_assert!(signature.verify(&public, b"another message").is_none());
            }
        }
    }
}
