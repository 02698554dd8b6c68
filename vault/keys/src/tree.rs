//! The unlocked key tree.

use crate::{
    Identity, KeysError, ProtectedKey, RootKey,
    wrap::{self, Kind},
};
use ring::hmac;
use strongroom_envelope::{Secret, VersionKey};
use strongroom_protocol::{
    LeaseId, VaultId, binding,
    challenge::{Nonce, Purpose},
    length_prefixed,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What `init` keeps of a new vault: nothing in it is secret without the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVault {
    /// Commitment of the root key.
    pub root_commitment: [u8; 32],
    /// The identity's seed, wrapped by the root.
    pub wrapped_identity: Vec<u8>,
    /// The identity's public key.
    pub identity_key: [u8; 32],
    /// The tenant's key, wrapped by the root.
    pub wrapped_tenant_key: Vec<u8>,
}

impl NewVault {
    /// Makes the keys of a new vault under `root`.
    pub fn generate(root: &RootKey) -> Result<Self, KeysError> {
        let random = || Secret::<32>::random().map_err(|_| KeysError::NoRandomness);
        let seed = random()?;
        let tenant = random()?;
        Ok(Self {
            root_commitment: commitment(root.expose()),
            wrapped_identity: wrap::wrap(root.expose(), Kind::Identity, b"", &seed)?,
            identity_key: *Identity::from_seed(&seed)?.public_key(),
            wrapped_tenant_key: wrap::wrap(root.expose(), Kind::TenantKey, b"default", &tenant)?,
        })
    }
}

/// The key tree of an unlocked vault. No `Debug`, no `Clone`.
pub struct KeyTree {
    root: Box<dyn ProtectedKey>,
    identity: Identity,
    wrapped_tenant_key: Vec<u8>,
}

impl KeyTree {
    /// Unlocks the tree. The root must match its commitment before anything is unwrapped with it.
    pub fn unlock(root: Box<dyn ProtectedKey>, vault: &NewVault) -> Result<Self, KeysError> {
        if !bool::from(commitment(root.expose()).ct_eq(&vault.root_commitment)) {
            return Err(KeysError::RootMismatch);
        }
        let seed = wrap::unwrap(root.expose(), Kind::Identity, b"", &vault.wrapped_identity)?;
        let identity = Identity::from_seed(&seed)?;
        if identity.public_key() != &vault.identity_key {
            return Err(KeysError::WrappedKeyRefused { what: "identity key" });
        }
        let tree = Self { root, identity, wrapped_tenant_key: vault.wrapped_tenant_key.clone() };
        tree.tenant_key()?;
        Ok(tree)
    }

    /// The vault's identity.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The vault's id.
    pub fn vault_id(&self) -> VaultId {
        self.identity.vault_id()
    }

    /// A nonce for `purpose` that expires at `expiry` (Unix seconds).
    pub fn issue_nonce(&self, purpose: Purpose, expiry: u64) -> Result<Nonce, KeysError> {
        let mut random = [0; 16];
        let rng = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&rng, &mut random).map_err(|_| KeysError::NoRandomness)?;
        Ok(Nonce::new(random, expiry, self.nonce_mac(purpose, &random, expiry)))
    }

    /// True if this vault issued the nonce for this purpose; its expiry is the caller's to compare.
    pub fn issued_nonce(&self, purpose: Purpose, nonce: &Nonce) -> bool {
        let expected = self.nonce_mac(purpose, &nonce.random(), nonce.expiry());
        expected.ct_eq(&nonce.mac()).into()
    }

    /// Makes a key version and returns it wrapped, for the row of `asset@version`.
    pub fn new_version_key(&self, asset: &str, version: u32) -> Result<Vec<u8>, KeysError> {
        let key = Secret::<32>::random().map_err(|_| KeysError::NoRandomness)?;
        wrap::wrap(self.tenant_key()?.expose(), Kind::VersionKey, &version_identity(asset, version), &key)
    }

    /// Unwraps the key version of the row `asset@version`.
    pub fn version_key(&self, asset: &str, version: u32, wrapped: &[u8]) -> Result<VersionKey, KeysError> {
        wrap::unwrap(self.tenant_key()?.expose(), Kind::VersionKey, &version_identity(asset, version), wrapped)
            .map(VersionKey::new)
    }

    /// Wraps a lease's secret for its row.
    pub fn wrap_lease_secret(&self, lease: LeaseId, secret: &Secret<32>) -> Result<Vec<u8>, KeysError> {
        wrap::wrap(self.tenant_key()?.expose(), Kind::LeaseSecret, lease.as_array(), secret)
    }

    /// Unwraps a lease's secret.
    pub fn unwrap_lease_secret(&self, lease: LeaseId, wrapped: &[u8]) -> Result<Secret<32>, KeysError> {
        wrap::unwrap(self.tenant_key()?.expose(), Kind::LeaseSecret, lease.as_array(), wrapped)
    }

    fn tenant_key(&self) -> Result<Secret<32>, KeysError> {
        wrap::unwrap(self.root.expose(), Kind::TenantKey, b"default", &self.wrapped_tenant_key)
    }

    fn nonce_mac(&self, purpose: Purpose, random: &[u8; 16], expiry: u64) -> [u8; 16] {
        let key = derive(self.root.expose(), b"strongroom/challenge-mac/v1");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        let message = binding::nonce_message(purpose.as_str(), random, &expiry.to_be_bytes());
        let tag = hmac::sign(&key, &message);
        let mut out = [0; 16];
        // INVARIANT: HMAC-SHA-256 gives 32 bytes, of which the first 16 are taken.
        out.copy_from_slice(tag.as_ref().split_at(16).0);
        out
    }
}

/// The commitment of a root key: what an unlocked root must match.
fn commitment(root: &[u8; 32]) -> [u8; 32] {
    *derive(root, b"strongroom/root-commitment/v1")
}

/// HMAC-SHA-256 under the root over a label of its own: a pseudo-random function of the root, which
/// is uniform already, so that no extraction is needed (RFC 5869 §3.3).
fn derive(root: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, root), label);
    let mut out = Zeroizing::new([0; 32]);
    out.copy_from_slice(tag.as_ref());
    out
}

fn version_identity(asset: &str, version: u32) -> Vec<u8> {
    let mut identity = length_prefixed(asset.as_bytes());
    identity.extend_from_slice(&version.to_le_bytes());
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(byte: u8) -> RootKey {
        RootKey::new(Secret::take(&mut [byte; 32]))
    }

    fn tree() -> (KeyTree, NewVault) {
        let vault = NewVault::generate(&root(1)).unwrap();
        (KeyTree::unlock(Box::new(root(1)), &vault).unwrap(), vault)
    }

    #[test]
    fn another_root_does_not_unlock() {
        let (_, vault) = tree();
        assert_eq!(KeyTree::unlock(Box::new(root(2)), &vault).err(), Some(KeysError::RootMismatch));
    }

    #[test]
    fn an_identity_that_was_exchanged_is_refused() {
        let (_, mut vault) = tree();
        vault.identity_key = NewVault::generate(&root(1)).unwrap().identity_key;
        assert!(matches!(
            KeyTree::unlock(Box::new(root(1)), &vault).err(),
            Some(KeysError::WrappedKeyRefused { what: "identity key" })
        ));
    }

    #[test]
    fn a_nonce_is_for_one_purpose_of_one_vault() {
        let (tree, _) = tree();
        let nonce = tree.issue_nonce(Purpose::Release, 100).unwrap();
        assert!(tree.issued_nonce(Purpose::Release, &nonce));
        assert!(!tree.issued_nonce(Purpose::Possession, &nonce));
        let later = Nonce::new(nonce.random(), 101, nonce.mac());
        assert!(!tree.issued_nonce(Purpose::Release, &later));
        let other = NewVault::generate(&root(2)).unwrap();
        assert!(!KeyTree::unlock(Box::new(root(2)), &other).unwrap().issued_nonce(Purpose::Release, &nonce));
    }

    #[test]
    fn a_version_key_belongs_to_its_row() {
        let (tree, _) = tree();
        let wrapped = tree.new_version_key("a", 1).unwrap();
        let key = tree.version_key("a", 1, &wrapped).unwrap();
        assert_eq!(key.expose(), tree.version_key("a", 1, &wrapped).unwrap().expose());
        assert!(tree.version_key("b", 1, &wrapped).is_err());
        assert!(tree.version_key("a", 2, &wrapped).is_err());
    }

    #[test]
    fn a_lease_secret_belongs_to_its_lease() {
        let (tree, _) = tree();
        let (one, two) = (LeaseId::from([1; 16]), LeaseId::from([2; 16]));
        let wrapped = tree.wrap_lease_secret(one, &Secret::take(&mut [7; 32])).unwrap();
        assert_eq!(tree.unwrap_lease_secret(one, &wrapped).unwrap().expose(), &[7; 32]);
        assert!(tree.unwrap_lease_secret(two, &wrapped).is_err());
    }

    #[test]
    fn a_signature_verifies_under_the_identity() {
        let (tree, vault) = tree();
        let signature = tree.identity().sign(b"message");
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, vault.identity_key);
        assert!(key.verify(b"message", &signature).is_ok());
        assert!(key.verify(b"another", &signature).is_err());
    }
}
