//! The receiver's half of HPKE (RFC 9180), base mode: KEM X-Wing (0x647a), KDF HKDF-SHA-256, AEAD AES-256-GCM.

use crate::secret::Secret;
use hpke::{
    Deserializable, Kem as _, OpModeR, Serializable,
    aead::{AeadTag, AesGcm256},
    kdf::HkdfSha256,
    kem::XWing,
    single_shot_open_inout_detached,
};
use strongroom_protocol::release::Envelope;
use zeroize::Zeroizing;

/// Bytes of the AEAD tag at the end of a ciphertext.
const TAG: usize = 16;

/// Why an envelope could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The recipient's public key is not an X-Wing key.
    #[error("the recipient key is not an X-Wing public key")]
    RecipientKey,
    /// The encapsulated key is not an X-Wing ciphertext.
    #[error("the encapsulated key is not an X-Wing ciphertext")]
    EncapsulatedKey,
    /// Sealing failed inside the library.
    #[error("the envelope could not be sealed")]
    Seal,
    /// Wrong recipient, info or aad, or a changed ciphertext: they cannot be told apart.
    #[error("the envelope does not open: it was changed, or is not for this recipient, decision and statement")]
    Open,
}

/// A fresh X-Wing key pair: made for one statement, kept for its lease.
pub struct RecipientKey {
    seed: Secret<32>,
    public: Vec<u8>,
}

impl RecipientKey {
    /// Makes a key pair; an error only when the operating system has no random bytes.
    pub fn generate() -> Result<Self, ring::error::Unspecified> {
        let ikm = Secret::<32>::random()?;
        let (private, public) = XWing::derive_keypair(ikm.expose());
        let mut seed = Secret::zeroed();
        private.write_exact(seed.expose_mut());
        Ok(Self { seed, public: public.to_bytes().to_vec() })
    }

    /// Restores a key pair from its 32-byte private key, as kept in a key page.
    pub fn from_seed(seed: Secret<32>) -> Result<Self, EnvelopeError> {
        let private = private_key(&seed)?;
        let public = XWing::sk_to_pk(&private).to_bytes().to_vec();
        Ok(Self { seed, public })
    }

    /// The public key, 1,216 bytes.
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// The private key, to be put into a key page.
    pub fn seed(&self) -> &Secret<32> {
        &self.seed
    }
}

fn private_key(seed: &Secret<32>) -> Result<<XWing as hpke::Kem>::PrivateKey, EnvelopeError> {
    <XWing as hpke::Kem>::PrivateKey::from_bytes(seed.expose()).map_err(|_| EnvelopeError::Open)
}

/// Opens an envelope into memory that is zeroed on drop.
pub fn open(
    key: &RecipientKey,
    info: &[u8],
    aad: &[u8],
    envelope: &Envelope,
) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let private = private_key(&key.seed)?;
    let enc =
        <XWing as hpke::Kem>::EncappedKey::from_bytes(&envelope.enc.0).map_err(|_| EnvelopeError::EncapsulatedKey)?;
    let ciphertext = &envelope.ciphertext.0;
    let (body, tag) = ciphertext.split_at_checked(ciphertext.len().wrapping_sub(TAG)).ok_or(EnvelopeError::Open)?;
    let tag = AeadTag::<AesGcm256>::from_bytes(tag).map_err(|_| EnvelopeError::Open)?;
    let mut plaintext = Zeroizing::new(body.to_vec());
    single_shot_open_inout_detached::<AesGcm256, HkdfSha256, XWing>(
        &OpModeR::Base,
        &private,
        &enc,
        info,
        plaintext.as_mut_slice().into(),
        aad,
        &tag,
    )
    .map_err(|_| EnvelopeError::Open)?;
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal;

    #[test]
    fn what_is_sealed_opens_for_its_recipient_only() {
        let key = RecipientKey::generate().unwrap();
        assert_eq!(key.public_key().len(), 1216);
        let envelope = seal(key.public_key(), b"info", b"aad", b"plaintext").unwrap();
        assert_eq!(envelope.enc.0.len(), 1120);
        assert_eq!(open(&key, b"info", b"aad", &envelope).unwrap().as_slice(), b"plaintext");

        let again = RecipientKey::from_seed(Secret::copy_from(key.seed().expose()).unwrap()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(open(&again, b"info", b"aad", &envelope).unwrap().as_slice(), b"plaintext");

        let other = RecipientKey::generate().unwrap();
        assert_eq!(open(&other, b"info", b"aad", &envelope).err(), Some(EnvelopeError::Open));
        assert_eq!(open(&key, b"other", b"aad", &envelope).err(), Some(EnvelopeError::Open));
        assert_eq!(open(&key, b"info", b"other", &envelope).err(), Some(EnvelopeError::Open));
    }

    #[test]
    fn a_changed_or_cut_envelope_does_not_open() {
        let key = RecipientKey::generate().unwrap();
        let good = seal(key.public_key(), b"", b"", b"plaintext").unwrap();
        for byte in 0..good.ciphertext.0.len() {
            let mut wrong = good.clone();
            wrong.ciphertext.0[byte] ^= 1;
            assert_eq!(open(&key, b"", b"", &wrong).err(), Some(EnvelopeError::Open));
        }
        for length in 0..good.ciphertext.0.len() {
            let mut wrong = good.clone();
            wrong.ciphertext.0.truncate(length);
            assert!(open(&key, b"", b"", &wrong).is_err());
        }
        let mut wrong = good.clone();
        wrong.enc.0.pop();
        assert_eq!(open(&key, b"", b"", &wrong).err(), Some(EnvelopeError::EncapsulatedKey));
        assert_eq!(seal(&[0; 32], b"", b"", b"").err(), Some(EnvelopeError::RecipientKey));
    }
}
