//! Secret types, key derivation from version to object, and the HPKE envelope of a release.
//!
//! Shared by the vault, which seals, and the SDK, which opens.
//!
//! ```text
//! VersionKey ──writer_key──> WriterKey ──object_key──> ObjectKey ──> strongroom-sealed
//! RecipientKey::generate ──public──> statement;  seal_payload ──Envelope──> open_payload ──> ReleasePayload
//! ```
//!
//! To extend it: a new kind of key is a new type here with its own derivation label; no secret
//! type has `Debug`, `Clone` or `Serialize`, and all are zeroed when dropped.

mod hpke_envelope;
mod keys;
mod payload;
mod sealing;
mod secret;

pub use hpke_envelope::{EnvelopeError, RecipientKey, open};
pub use keys::{ObjectKey, VersionKey, WriterKey};
pub use payload::{LeaseTerms, PayloadError, ReleasePayload, ReleasedKey};
pub use sealing::seal;
pub use secret::Secret;
