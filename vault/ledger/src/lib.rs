//! The append-only Merkle log: records, entries, tiles, checkpoints, receipts, and their verification.
//!
//! A specification crate. It knows no runtime, no database, no clock and does no I/O: the store
//! keeps what it computes, the vault's identity key signs through [`Signer`], and a client or an
//! auditor verifies with the same code on a machine that has neither. The formats are those of
//! RFC 6962 and of C2SP (signed-note, tlog-checkpoint, tlog-tiles, tlog-proof), so that tools
//! which nobody here wrote can check the log too.
//!
//! ```text
//! Record ──to_canonical──> bytes ──entry_hash(salt)──> entry ──leaf_hash──> leaf
//!                                                        │
//! Frontier + right-edge tiles ──append(entries)──> Append { frontier, tiles }
//!                                                        │
//! Checkpoint::of(frontier) ──sign──> SignedCheckpoint ───┴─ Prover::inclusion ──> Receipt
//!
//! client:  check_release_record(record, salt, receipt, keys) ──> CheckedRecord
//! auditor: verify_export(lines, keys, known)                 ──> ExportReport
//! ```
//!
//! A store appends a batch so, inside one transaction, and keeps `frontier` and the tiles:
//!
//! ```
//! use ring::signature::{Ed25519KeyPair, KeyPair};
//! use strongroom_ledger::{
//!     Checkpoint, Frontier, Prover, Receipt, TileSet, VerifierKey, append, edge_tiles, entry_hash,
//! };
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let identity = Ed25519KeyPair::from_seed_unchecked(&[1; 32])?;
//! # let (stored_frontier, stored_tiles) = (Frontier::new().to_bytes(), TileSet::new());
//! let key = VerifierKey::new("strongroom/example", identity.public_key().as_ref().try_into()?)?;
//! let frontier = Frontier::from_bytes(&stored_frontier)?;
//! let mut tiles = TileSet::new();
//! for id in edge_tiles(frontier.size()) {
//!     // tiles.insert(id.level(), id.index(), <the row's bytes>);
//! }
//! let entries = [entry_hash(&[7; 16], b"the bytes of Record::to_canonical")];
//! let appended = append(&frontier, &entries, &tiles)?;
//! // ... write appended.tiles and appended.frontier.to_bytes() ...
//! let signed = Checkpoint::of(key.name(), &appended.frontier).sign(&key, &identity)?;
//! // ... write signed.to_string(), commit; only then answer each waiter:
//! tiles.extend(appended.tiles);
//! let mut prover = Prover::new(&tiles, appended.frontier.size());
//! let receipt = Receipt::new(0, prover.inclusion(0)?, signed).encode();
//!
//! let shown = Receipt::parse(&receipt)?.verify(&entries[0], &[key])?;
//! assert_eq!(shown.index, 0);
//! # Ok(())
//! # }
//! ```
//!
//! What may be written is exactly what can be read: [`Record::to_canonical`] applies the rules that
//! [`Record::parse`] applies, so no record can enter the log that an auditor's copy would refuse.
//!
//! To extend it: a new act is a line in [`Action`] (names are stable, never reused); a new field of
//! [`Record`] is optional and absent when empty, so that old records keep their bytes; a new rule
//! for a field goes into `Record::check`, and a new rule for the whole log into `verify_export`.

mod action;
mod append;
mod checkpoint;
mod error;
mod export;
mod frontier;
mod hash;
mod names;
mod note;
mod proof;
mod prover;
mod receipt;
mod record;
mod release;
#[cfg(test)]
mod sample;
mod subject;
mod tile;
mod timestamp;

pub use action::Action;
pub use append::{Append, append};
pub use checkpoint::{Checkpoint, SignedCheckpoint, default_origin};
pub use error::LedgerError;
pub use export::{CLOCK_TOLERANCE_MILLIS, ClockStep, ExportError, ExportReport, parse_export_line, verify_export};
pub use frontier::{Frontier, MAX_SIZE};
pub use hash::{EMPTY_ROOT, Hash, entry_hash, leaf_hash, node_hash};
pub use names::UnknownName;
pub use note::{NoteSignature, SignedNote, Signer, VerifierKey};
pub use proof::{verify_consistency, verify_inclusion};
pub use prover::{Prover, consistency_tiles, inclusion_tiles};
pub use receipt::{Receipt, VerifiedReceipt};
pub use record::{KeyGrant, PolicyMode, PolicyRef, RECORD_BYTES, Record, Verdict};
pub use release::{CheckedRecord, check_release_record};
pub use subject::{Actor, ActorKind, Subject, SubjectKind};
pub use tile::{Tile, TileId, TilePath, TileSet, TileSource, decode_bundle, edge_tiles, encode_bundle};
pub use timestamp::Timestamp;
