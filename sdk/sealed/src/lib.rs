//! The sealed file format, version 1: one file, one object, encrypted so that any part of it can be
//! read, verified and decrypted at its final place, by several threads.
//!
//! ```text
//! WriterKey + WriteSpec ──> Writer (a stream)  ─┐                ┌─> Reader::read_into, read_range, read_ranges
//!                           seal_file (parallel)─┴─> file.sealed ─┤
//!                                                                 └─> SealedRead (Read + Seek)
//! ReadAt + Expected ──Opening::start──> header (ask for the key) ──with_key(ObjectKey)──> Reader
//! ```
//!
//! A file is header (4,096 bytes, in clear) | ciphertext, as long as the plaintext | encrypted index |
//! trailer: byte *x* of the plaintext is byte 4,096 + *x* of the file. The header's commitment is
//! compared before anything is decrypted, the index verifies before any plaintext leaves, and each
//! chunk before any byte of it does. A read that fails zeroes its whole destination.
//!
//! Format and derivation are fixed by known answers in `vectors/v1.json`, which the independent
//! `vectors/check.py` makes and checks.
//!
//! ## What it protects against, and what not
//! Whoever has no key learns a file's length, chunk size, asset name, version, writer and object id,
//! and can change nothing unnoticed. Not noticed without a manifest or an expected object id: an older
//! or another object of the same asset put in place of the right one. GCM's tags do not commit to a
//! plaintext: whoever holds an object's *key* can make another chunk with the same tag. Where readers
//! do not trust one another and can write the storage, hashes of the ciphertext chunks are needed
//! ([`WriteSpec::hashes`], [`Opening::require_hashes`]); they cost a pass of BLAKE3 over the data.
//!
//! ## Bounds
//! Each object has data keys of its own (its id is random, its salt of 24 random bytes is drawn for
//! each writing), so the bounds hold for one file; files add up linearly. At the largest plaintext,
//! n = 2^48 bytes, chunks have at least 2^22 bytes:
//! - *Nonces* are deterministic (NIST SP 800-38D §8.2.1): the chunk's number XOR a derived 96-bit
//!   value. Under one data key none repeats. There are at most 2^26 of them, where §8.3 allows 2^32
//!   even for random ones; a chunk has at most 2^24 bytes, where §5.2.1.1 allows 2^36 - 32.
//! - *Forgery* (SP 800-38D appendix B): a chunk of ℓ blocks passes with a wrong content with
//!   probability at most (ℓ + 1) / 2^128 for each attempt. For one attempt on every chunk of a file
//!   this adds up to (n/16 + 2^26) / 2^128: below 2^-83. A chunk of 1 MiB alone: 2^-112.
//! - *Distinguishing* (Iwata, Ohashi and Minematsu 2012, for 96-bit nonces): with σ = n/16 = 2^44 blocks
//!   under one data key, (σ + 2^26 + 1)² / 2^129: about 2^-41. For a file of 1 TiB: 2^-57.
//! - *Salt*: 2^32 writings of one object id draw the same 192 bits with probability 2^-129.
//! - *Commitment*: 256 bits of HKDF-SHA-256; two keys or headers with the same one are a collision in
//!   SHA-256, at 2^128 work. The derivation follows the manner of C2SP's chunked-encryption.
//!
//! ## To extend it
//! A new fact about a file is a new key of the index (readers ignore keys that they do not know). A
//! new cipher is a new suite in the header. A new kind of storage implements [`ReadAt`]. Anything that
//! changes a byte of what is written needs a new magic and new vectors.

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("strongroom-sealed is for 64-bit Unix: chunks are placed at offsets beyond 4 GiB");

mod aead;
mod cbor;
mod derivation;
mod error;
mod fetch;
mod geometry;
mod header;
mod index;
mod owner;
mod partial;
mod plain_file;
mod progress;
mod reader;
mod runs;
mod seal_file;
mod sealing;
mod source;
mod stream;
mod writer;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod vectors;

pub use aead::Engine;
pub use error::SealedError;
pub use header::{ChunkSize, HEADER, Header};
pub use index::Metadata;
pub use owner::{FileGeneration, Generation};
pub use partial::PartialFile;
pub use plain_file::check_plain_file;
pub use progress::Progress;
pub use reader::{Expected, Inspection, Opening, Reader, inspect};
pub use seal_file::seal_file;
pub use sealing::{WriteSpec, Written};
pub use source::{DirectFile, NotRegular, ReadAt, Seekable, open_regular, spool};
pub use stream::SealedRead;
pub use writer::Writer;

/// The suffix of sealed files, after the original name.
pub const SUFFIX: &str = ".sealed";

/// For fuzzing only: reads an index's plaintext as if it had been decrypted.
#[doc(hidden)]
pub fn fuzz_index(plain: &[u8], n: u64, chunk_size: ChunkSize) -> Result<Metadata, SealedError> {
    index::Index::decode(zeroize::Zeroizing::new(plain.to_vec()), n, chunk_size).map(|index| index.metadata)
}
