use super::*;
use crate::{
    stand_in::{NOW, PublicSpec, RSA_A, RSA_B, SigningKey},
    tpm::Public,
};
use aws_lc_rs::{
    agreement as aws,
    cipher::{DecryptingKey, DecryptionContext},
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair as RsaKeyPair, OaepPrivateDecryptingKey, PrivateDecryptingKey},
};
use ring::rand::SystemRandom;

const SECRET: [u8; 32] = [0xa5; 32];

/// `TPM2_ActivateCredential` from the seed on, as Part 1, §24.5 has it.
fn activate(hash: HashAlg, bits: usize, seed: &[u8], ak_name: &[u8], blob: &[u8]) -> Option<Vec<u8>> {
    let (size, rest) = blob.split_at(2);
    let (hmac, identity) = rest.split_at(usize::from(u16::from_be_bytes(size.try_into().unwrap())));
    let key = kdfa(hash, seed, b"INTEGRITY", &[], &[], hash.digest_length())?;
    let key = ring::hmac::Key::new(hash.hmac()?, &key);
    ring::hmac::verify(&key, &[identity, ak_name].concat(), hmac).ok()?;
    let key = kdfa(hash, seed, b"STORAGE", ak_name, &[], bits / 8)?;
    let key = UnboundCipherKey::new(if bits == 128 { &AES_128 } else { &AES_256 }, &key).unwrap();
    let mut identity = identity.to_vec();
    let iv = DecryptionContext::Iv128(FixedLength::from([0; 16]));
    let plain = DecryptingKey::cfb128(key).unwrap().decrypt(&mut identity, iv).unwrap();
    let (size, secret) = plain.split_at(2);
    assert_eq!(usize::from(u16::from_be_bytes(size.try_into().unwrap())), secret.len());
    Some(secret.to_vec())
}

fn oaep_seed(key: &RsaKeyPair, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let key = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(der.as_ref()).unwrap()).unwrap();
    let mut out = vec![0; key.min_output_size()];
    let seed = key.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut out, Some(b"IDENTITY\0")).ok()?;
    Some(seed.to_vec())
}

fn ak_name() -> Vec<u8> {
    SigningKey::p256().spec().public().name()
}

fn make(ek: &Public, ak_name: &[u8]) -> Credential {
    make_credential(ek, ak_name, &SECRET, &SystemRandom::new()).unwrap()
}

#[test]
fn e5_an_rsa_ek_gives_the_secret_back_for_the_right_ak() {
    let (ek, ak) = (PublicSpec::rsa_ek(&RSA_A).public(), ak_name());
    let credential = make(&ek, &ak);
    let seed = oaep_seed(&RSA_A, &credential.encrypted_secret).unwrap();
    assert_eq!(activate(HashAlg::Sha256, 128, &seed, &ak, &credential.credential_blob).unwrap(), SECRET);
    // Another AK's name, another EK.
    assert_eq!(activate(HashAlg::Sha256, 128, &seed, &ak_name(), &credential.credential_blob), None);
    assert_eq!(oaep_seed(&RSA_B, &credential.encrypted_secret), None);
}

#[test]
fn e5_an_ecc_ek_gives_the_secret_back_for_the_right_ak() {
    for (curve, hash, bits, id) in
        [(&aws::ECDH_P256, HashAlg::Sha256, 128, 0x0003), (&aws::ECDH_P384, HashAlg::Sha384, 256, 0x0004)]
    {
        let key = aws::PrivateKey::generate(curve).unwrap();
        let spec = PublicSpec {
            name_alg: hash.id(),
            curve: id,
            symmetric: Some([0x0006, bits, 0x0043]),
            ..PublicSpec::ecc_ek(key.compute_public_key().unwrap().as_ref())
        };
        let ak = ak_name();
        let credential = make(&spec.public(), &ak);
        let field = spec.unique[0].len();
        let (x, y) = credential.encrypted_secret.split_at(2 + field);
        let point = [&[4], &x[2..], &y[2..]].concat();
        let peer = aws::UnparsedPublicKey::new(curve, point);
        let derive = |z: &[u8]| Ok(kdfe(hash, z, b"IDENTITY", &x[2..], &spec.unique[0], hash.digest_length()).unwrap());
        let seed = aws::agree(&key, peer, (), derive).unwrap();
        let secret = activate(hash, usize::from(bits), &seed, &ak, &credential.credential_blob);
        assert_eq!(secret.unwrap(), SECRET);
        assert_eq!(activate(hash, usize::from(bits), &seed, &ak_name(), &credential.credential_blob), None);
    }
}

#[test]
fn e5_no_two_credentials_are_alike() {
    let (ek, ak) = (PublicSpec::rsa_ek(&RSA_A).public(), ak_name());
    let (one, two) = (make(&ek, &ak), make(&ek, &ak));
    assert_ne!(one.credential_blob, two.credential_blob);
    assert_ne!(one.encrypted_secret, two.encrypted_secret);
}

#[test]
fn e5_keys_that_cannot_take_a_credential_are_refused() {
    let make =
        |spec: &PublicSpec, secret: &[u8]| make_credential(&spec.public(), &ak_name(), secret, &SystemRandom::new());
    let ek = PublicSpec::rsa_ek(&RSA_A);
    make(&ek, &[1]).unwrap();
    for (spec, secret) in [
        (ek.clone(), vec![]),
        (ek.clone(), vec![0; 33]),
        (PublicSpec { symmetric: None, ..ek.clone() }, vec![1]),
        (PublicSpec { symmetric: Some([0x0006, 128, 0x0040]), ..ek.clone() }, vec![1]),
        (PublicSpec { name_alg: 0x0004, ..ek.clone() }, vec![1]),
        // A point that is not on the curve.
        (PublicSpec { kind: 0x0023, curve: 3, unique: vec![vec![1; 32], vec![1; 32]], ..ek.clone() }, vec![1]),
    ] {
        assert!(matches!(make(&spec, &secret), Err(Refused::E5Credential { .. })));
    }
}

#[test]
fn e5_the_secret_is_compared_once_and_in_time() {
    let pending = || PendingActivation::restore(&mut SECRET.clone(), NOW);
    assert_eq!(pending().redeem(&SECRET, NOW), Ok(()));
    assert_eq!(pending().redeem(&SECRET, NOW + 1), Err(Refused::E5Expired { expired_at: NOW, now: NOW + 1 }));
    let mut wrong = SECRET;
    wrong[31] ^= 1;
    for wrong in [&wrong[..], &SECRET[..31], &[]] {
        assert_eq!(pending().redeem(wrong, NOW), Err(Refused::E5Secret));
    }
    let (one, two) = (
        PendingActivation::generate(NOW, &SystemRandom::new()).unwrap(),
        PendingActivation::generate(NOW, &SystemRandom::new()).unwrap(),
    );
    assert_ne!(one.secret(), two.secret());
    assert!(!format!("{one:?}").contains("secret"));
    let mut source = SECRET;
    PendingActivation::restore(&mut source, NOW);
    assert_eq!(source, [0; 32]);
}
