//! The Strongroom SDK: attest, fetch keys, hold them under a lease, open and seal.
//!
//! ```text
//! JoinFile ──Room::connect──> Room ──release(attester, keys)──> Lease ──open──> OpenObject (arena)
//!    (pinned vaults)            │                                 ├────open_parts──> SealedFile (one chunk at a time)
//!                               │                                 ├────seal──> object file, SealStream
//!                               ├──enrol(device), identify(attester)   └── renewed, ended, zeroed
//!                               └──Admin (bearer token)
//! ```
//!
//! A key is believed only after the vault's pinned identity signed the response, the receipt proved
//! that the decision is in the ledger, and the record turned out to be this client's own. Keys lie
//! in key pages, plaintext in the arena; both are zeroed when the lease ends, expires or is revoked.
//!
//! To extend it: a new thing to ask of the vault is a method of [`Room`] or [`Admin`] over
//! `Transport`, which maps problem documents to [`Error::Refused`]; anything that shows plaintext
//! goes through [`Lease`], so that it ends with the lease.

mod admin;
mod boottime;
mod ending;
mod enrolment;
mod error;
mod held;
mod identify;
mod input;
mod keeper;
mod lease;
mod node;
mod obligation;
mod open;
mod open_stream;
mod patience;
mod pinned;
mod possession;
mod protection;
mod release;
mod room;
mod seal;
mod seal_stream;
mod spread;
mod tensors;
mod transport;

pub use admin::{Admin, Token};
pub use ending::Ending;
pub use enrolment::Enrolled;
pub use error::Error;
pub use identify::{Identified, evidence_to_look_at};
pub use input::open_input;
pub use keeper::Keeper;
pub use lease::{Lease, LeaseOver};
pub use node::attester;
pub use open::{OpenObject, Plaintext};
pub use open_stream::SealedFile;
pub use patience::{Patience, Waiting};
pub use protection::zero_on_termination;
pub use release::Request;
pub use room::{Options, Room};
pub use seal_stream::SealStream;
pub use tensors::{Tensor, TensorBytes, TensorFile, Tensors, TensorsError};

pub use strongroom_collect as collect;
pub use strongroom_memory as memory;
pub use strongroom_protocol as protocol;
pub use strongroom_sealed as sealed;
