//! The sender's half of HPKE (RFC 9180), base mode, for X-Wing, HKDF-SHA-256 and AES-256-GCM.
//!
//! A vault seals thousands of envelopes a second and opens none: its half is written out over
//! aws-lc-rs (ML-KEM-768) and ring (X25519, HMAC, AES-GCM), which take a third of the `hpke` crate's
//! time. The receiver's half stays with that crate, and the tests hold the two against each other.
//!
//! ```text
//! X-Wing (draft-connolly-cfrg-xwing-kem): public key  ML-KEM-768 (1184) || X25519 (32)
//!                                         ciphertext  ML-KEM-768 (1088) || X25519 (32)
//! shared secret = SHA3-256( ss_M || ss_X || ct_X || pk_X || "\.//^\" )
//! ```

use crate::hpke_envelope::EnvelopeError;
use aws_lc_rs::{
    digest::{self, SHA3_256},
    kem::{EncapsulationKey, ML_KEM_768},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    hmac,
    rand::SystemRandom,
};
use strongroom_protocol::{Bytes, release::Envelope};
use zeroize::Zeroizing;

/// Bytes of an ML-KEM-768 public key.
const ML_KEM_PUBLIC: usize = 1184;
/// Bytes of an X25519 public key.
const X25519_PUBLIC: usize = 32;
/// X-Wing's label, an ASCII drawing of one.
const X_WING_LABEL: &[u8] = br"\.//^\";
/// "HPKE" || KEM 0x647a || KDF 0x0001 || AEAD 0x0002 (RFC 9180, section 5.1).
const SUITE: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x02";

/// Seals `plaintext` to an X-Wing public key.
pub fn seal(public_key: &[u8], info: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Envelope, EnvelopeError> {
    let (enc, shared) = encapsulate(public_key)?;
    let (key, nonce) = key_schedule(&shared, info);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| EnvelopeError::Seal)?);
    // Sealed in place: of the plaintext no copy is left.
    let mut sealed = Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(plaintext);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed)
        .map_err(|_| EnvelopeError::Seal)?;
    Ok(Envelope { enc: Bytes(enc), ciphertext: Bytes(sealed) })
}

/// X-Wing's `Encapsulate`: the encapsulated key and the shared secret.
fn encapsulate(public_key: &[u8]) -> Result<(Vec<u8>, Zeroizing<[u8; 32]>), EnvelopeError> {
    let recipient = || EnvelopeError::RecipientKey;
    let (ml_kem, x25519) = public_key.split_at_checked(ML_KEM_PUBLIC).ok_or_else(recipient)?;
    if x25519.len() != X25519_PUBLIC {
        return Err(recipient());
    }
    // It checks that the key's coefficients are reduced (FIPS 203, section 7.2).
    let (ml_kem_ciphertext, ml_kem_secret) =
        EncapsulationKey::new(&ML_KEM_768, ml_kem).map_err(|_| recipient())?.encapsulate().map_err(|_| recipient())?;
    let ephemeral = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| EnvelopeError::Seal)?;
    let ours = ephemeral.compute_public_key().map_err(|_| EnvelopeError::Seal)?;
    // A key of low order makes a secret that everybody knows: ring refuses it.
    let shared = agree_ephemeral(ephemeral, &UnparsedPublicKey::new(&X25519, x25519), |x25519_secret| {
        let mut hash = digest::Context::new(&SHA3_256);
        for part in [ml_kem_secret.as_ref(), x25519_secret, ours.as_ref(), x25519, X_WING_LABEL] {
            hash.update(part);
        }
        let mut shared = Zeroizing::new([0; 32]);
        shared.copy_from_slice(hash.finish().as_ref());
        shared
    })
    .map_err(|_| recipient())?;
    Ok(([ml_kem_ciphertext.as_ref(), ours.as_ref()].concat(), shared))
}

/// `KeySchedule` of RFC 9180, section 5.1, in base mode: the key and the nonce of the first message.
fn key_schedule(shared: &[u8; 32], info: &[u8]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
    let psk_id_hash = labeled_extract(&[], b"psk_id_hash", &[]);
    let info_hash = labeled_extract(&[], b"info_hash", info);
    let context = [&[0], psk_id_hash.as_ref(), info_hash.as_ref()].concat();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, labeled_extract(shared, b"secret", &[]).as_ref());
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(labeled_expand(&secret, b"key", &context, 32).as_ref());
    let mut nonce = [0; 12];
    let expanded = labeled_expand(&secret, b"base_nonce", &context, 12);
    nonce.iter_mut().zip(expanded.as_ref()).for_each(|(to, from)| *to = *from);
    (key, nonce)
}

/// `LabeledExtract` of RFC 9180, section 4.
fn labeled_extract(salt: &[u8], label: &[u8], ikm: &[u8]) -> hmac::Tag {
    let mut extract = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    for part in [b"HPKE-v1", SUITE, label, ikm] {
        extract.update(part);
    }
    extract.sign()
}

/// `LabeledExpand` of RFC 9180, section 4, of at most 32 bytes: one block of HKDF-Expand, whose first
/// `length` bytes count.
fn labeled_expand(secret: &hmac::Key, label: &[u8], info: &[u8], length: u8) -> hmac::Tag {
    let mut expand = hmac::Context::with_key(secret);
    for part in [&[0, length], b"HPKE-v1".as_slice(), SUITE, label, info, &[1]] {
        expand.update(part);
    }
    expand.sign()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RecipientKey, open};
    use hpke::{
        Deserializable as _, Kem as _, OpModeS, Serializable as _, aead::AesGcm256, kdf::HkdfSha256, kem::XWing,
    };

    /// The `hpke` crate is the oracle: it opens what is sealed here, and its own sender agrees with it.
    #[test]
    fn the_crate_opens_what_is_sealed_here_whatever_its_length() {
        let key = RecipientKey::generate().unwrap();
        for length in [0, 1, 31, 32, 1000, 100_000] {
            let (info, aad, plaintext) = (vec![1; length], vec![2; length], vec![3; length]);
            let envelope = seal(key.public_key(), &info, &aad, &plaintext).unwrap();
            assert_eq!((envelope.enc.0.len(), envelope.ciphertext.0.len()), (1120, length + 16));
            assert_eq!(open(&key, &info, &aad, &envelope).unwrap().as_slice(), plaintext);

            let recipient = <XWing as hpke::Kem>::PublicKey::from_bytes(key.public_key()).unwrap();
            let (enc, ciphertext) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, XWing>(
                &OpModeS::Base,
                &recipient,
                &info,
                &plaintext,
                &aad,
            )
            .unwrap();
            let envelope = Envelope { enc: Bytes(enc.to_bytes().to_vec()), ciphertext: Bytes(ciphertext) };
            assert_eq!(open(&key, &info, &aad, &envelope).unwrap().as_slice(), plaintext);
        }
    }

    #[test]
    fn no_two_envelopes_share_a_key() {
        let key = RecipientKey::generate().unwrap();
        let [one, other] = [(); 2].map(|()| seal(key.public_key(), b"", b"", b"the same").unwrap());
        assert_ne!(one.enc.0[..ML_KEM_PUBLIC - 96], other.enc.0[..ML_KEM_PUBLIC - 96]);
        assert_ne!(one.enc.0[ML_KEM_PUBLIC - 96..], other.enc.0[ML_KEM_PUBLIC - 96..]);
        assert_ne!(one.ciphertext, other.ciphertext);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let (_, public) = XWing::derive_keypair(&[7; 32]);
        let good = public.to_bytes().to_vec();
        assert!(seal(&good, b"", b"", b"").is_ok());
        let changed = |at: std::ops::Range<usize>, to: u8| {
            let mut wrong = good.clone();
            wrong[at].fill(to);
            wrong
        };
        let wrong = [
            good[..1215].to_vec(),
            [good.as_slice(), &[0]].concat(),
            vec![],
            // Coefficients of 4095, which are not below 3329; a point of low order.
            changed(0..3, 0xff),
            changed(ML_KEM_PUBLIC..1216, 0),
        ];
        for key in wrong {
            assert_eq!(seal(&key, b"", b"", b"").err(), Some(EnvelopeError::RecipientKey), "{}", key.len());
        }
    }
}
