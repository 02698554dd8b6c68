//! The vault's identity: an Ed25519 key that signs responses and checkpoints.

use crate::KeysError;
use ring::signature::{Ed25519KeyPair, KeyPair};
use strongroom_envelope::Secret;
use strongroom_protocol::{VaultId, sha256};

/// The identity key pair. Generated at init and wrapped by the root, never derived from it, so that
/// root rotation leaves it alone. No `Debug`, no `Clone`.
pub struct Identity {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Identity {
    pub(crate) fn from_seed(seed: &Secret<32>) -> Result<Self, KeysError> {
        let refused = KeysError::WrappedKeyRefused { what: "identity key" };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| refused.clone())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| refused)?;
        Ok(Self { pair, public })
    }

    /// The public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// SHA-256 of the public key.
    pub fn vault_id(&self) -> VaultId {
        VaultId::from(sha256(&self.public))
    }

    /// An Ed25519 signature (RFC 8032) over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        let signature = self.pair.sign(message);
        // INVARIANT: Ed25519 signatures have 64 bytes; the lengths would differ only in a broken `ring`.
        if signature.as_ref().len() == out.len() {
            out.copy_from_slice(signature.as_ref());
        }
        out
    }
}
