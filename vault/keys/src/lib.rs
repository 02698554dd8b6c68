//! Custody of the root key, and the tree of wrapped keys below it.
//!
//! ```text
//! Custody ──unlock──> RootKey ──matches its commitment──> KeyTree
//!   root ─┬─ wraps the vault's identity (Ed25519: responses, checkpoints)
//!         ├─ wraps the tenant's key ──┬─ wraps each key version (AAD: asset, version)
//!         │                           └─ wraps each lease secret (AAD: lease)
//!         └─ derives the challenge MAC's key
//! ```
//!
//! Only the root stays in memory for long, where the caller puts it (a key page); everything else
//! is unwrapped for one use and zeroed. The one exception is the identity's key pair, which `ring`
//! keeps in its own form on the heap.
//!
//! To extend it: another custody is another [`Custody`]; another wrapped thing gets its own label in
//! `wrap`, so that no ciphertext can stand for another.

pub mod custody;
mod identity;
mod tree;
mod wrap;

pub use custody::{Custody, CustodyError, FileCustody};
pub use identity::Identity;
pub use tree::{KeyTree, NewVault};

use strongroom_envelope::Secret;

/// The root key: 32 bytes from which everything else can be unwrapped. No `Debug`, no `Clone`.
pub struct RootKey(Secret<32>);

impl RootKey {
    /// A fresh root key.
    pub fn generate() -> Result<Self, KeysError> {
        Secret::random().map(Self).map_err(|_| KeysError::NoRandomness)
    }

    /// Wraps 32 secret bytes that custody yielded.
    pub fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be put into a key page.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// Where the root key lives while the vault is unlocked: 32 bytes that its owner protects and zeroes.
pub trait ProtectedKey: Send + Sync {
    /// The bytes, for the time of one operation.
    fn expose(&self) -> &[u8; 32];
}

impl ProtectedKey for RootKey {
    fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// Why a key could not be made, wrapped or unwrapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The operating system has no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    /// Custody yielded another root key than the one this vault was made with.
    #[error("custody yielded a root key that is not this vault's: its commitment differs; nothing was unlocked")]
    RootMismatch,
    /// A wrapped key does not unwrap: it was changed, or moved from another row.
    #[error("the wrapped {what} does not unwrap: it was changed, or belongs to another row")]
    WrappedKeyRefused {
        /// What was to be unwrapped.
        what: &'static str,
    },
}
