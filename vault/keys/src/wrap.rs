//! Key wrapping: AES-256-GCM with the row's identity as AAD (NIST SP 800-38D).
//!
//! Wrapped form: `nonce (12) || ciphertext || tag (16)`. Nonces are random; one wrapping key
//! wraps far fewer than 2^32 keys, the bound of SP 800-38D §8.3. AAD = label || 0x00 || identity.

use crate::KeysError;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use strongroom_envelope::Secret;
use zeroize::Zeroizing;

/// What is wrapped: a label of its own, so that no ciphertext can stand for another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Identity,
    TenantKey,
    VersionKey,
    LeaseSecret,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Identity => "strongroom/wrap/identity/v1",
            Self::TenantKey => "strongroom/wrap/tenant/v1",
            Self::VersionKey => "strongroom/wrap/version/v1",
            Self::LeaseSecret => "strongroom/wrap/lease/v1",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity key",
            Self::TenantKey => "tenant key",
            Self::VersionKey => "key version",
            Self::LeaseSecret => "lease secret",
        }
    }

    fn aad(self, identity: &[u8]) -> Vec<u8> {
        [self.label().as_bytes(), &[0], identity].concat()
    }
}

pub(crate) fn wrap(by: &[u8; 32], kind: Kind, identity: &[u8], secret: &Secret<32>) -> Result<Vec<u8>, KeysError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| KeysError::NoRandomness)?;
    let mut buffer = Zeroizing::new(secret.expose().to_vec());
    let tag = key(by, kind)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(kind.aad(identity)),
            buffer.as_mut_slice(),
        )
        .map_err(|_| KeysError::WrappedKeyRefused { what: kind.name() })?;
    Ok([nonce.as_slice(), buffer.as_slice(), tag.as_ref()].concat())
}

pub(crate) fn unwrap(by: &[u8; 32], kind: Kind, identity: &[u8], wrapped: &[u8]) -> Result<Secret<32>, KeysError> {
    let refused = || KeysError::WrappedKeyRefused { what: kind.name() };
    let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let plain = key(by, kind)?
        .open_in_place(nonce, Aad::from(kind.aad(identity)), buffer.as_mut_slice())
        .map_err(|_| refused())?;
    Secret::copy_from(plain).ok_or_else(refused)
}

fn key(by: &[u8; 32], kind: Kind) -> Result<LessSafeKey, KeysError> {
    UnboundKey::new(&AES_256_GCM, by)
        .map(LessSafeKey::new)
        .map_err(|_| KeysError::WrappedKeyRefused { what: kind.name() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_unwraps_in_its_own_row_only() {
        let secret = Secret::take(&mut [3; 32]);
        let wrapped = wrap(&[1; 32], Kind::VersionKey, b"row", &secret).unwrap();
        assert_eq!(unwrap(&[1; 32], Kind::VersionKey, b"row", &wrapped).unwrap().expose(), &[3; 32]);
        let refused = Err(KeysError::WrappedKeyRefused { what: "key version" });
        let no_secret = |r: Result<Secret<32>, KeysError>| r.map(|_| ());
        assert_eq!(no_secret(unwrap(&[2; 32], Kind::VersionKey, b"row", &wrapped)), refused);
        assert_eq!(no_secret(unwrap(&[1; 32], Kind::VersionKey, b"other", &wrapped)), refused);
        assert!(unwrap(&[1; 32], Kind::LeaseSecret, b"row", &wrapped).is_err());
        for length in 0..wrapped.len() {
            assert_eq!(no_secret(unwrap(&[1; 32], Kind::VersionKey, b"row", &wrapped[..length])), refused);
        }
        for byte in 0..wrapped.len() {
            let mut wrong = wrapped.clone();
            wrong[byte] ^= 0x80;
            assert_eq!(no_secret(unwrap(&[1; 32], Kind::VersionKey, b"row", &wrong)), refused);
        }
    }

    #[test]
    fn wrapping_twice_uses_two_nonces() {
        let secret = Secret::take(&mut [3; 32]);
        let wrap_once = || wrap(&[1; 32], Kind::VersionKey, b"row", &secret).unwrap();
        assert_ne!(wrap_once()[..NONCE_LEN], wrap_once()[..NONCE_LEN]);
    }
}
