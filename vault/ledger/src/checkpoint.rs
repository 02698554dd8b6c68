//! Checkpoints: the signed head of the tree (C2SP tlog-checkpoint).

use crate::{Frontier, Hash, LedgerError, MAX_SIZE, SignedNote, Signer, VerifierKey, verify_consistency};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};
use strongroom_protocol::VaultId;

/// The origin of a vault's log, where its owner did not name one: `strongroom/<vault id>`. It stays
/// when the identity key has a successor: origin and key name are the log's name, not the key's.
pub fn default_origin(vault: VaultId) -> String {
    format!("strongroom/{vault}")
}

/// The head of a log's tree. By itself it says nothing about who vouches for it:
/// [`SignedCheckpoint::verify`] does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Entries in the tree.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
}

impl Checkpoint {
    /// The checkpoint of the tree that `frontier` ends.
    pub fn of(origin: impl Into<String>, frontier: &Frontier) -> Self {
        Self { origin: origin.into(), size: frontier.size(), root: frontier.root() }
    }

    /// Signs with the key whose name is the origin. One must never sign two checkpoints of which
    /// neither extends the other: see [`Checkpoint::check_extends`].
    pub fn sign(&self, key: &VerifierKey, signer: &(impl Signer + ?Sized)) -> Result<SignedCheckpoint, LedgerError> {
        if key.name() != self.origin {
            return Err(LedgerError::OriginNotSigner { origin: self.origin.clone() });
        }
        // Reading it back refuses an origin, or a size, that nobody else would accept.
        let checkpoint = self.to_string().parse()?;
        Ok(SignedCheckpoint { note: SignedNote::sign(self.to_string(), key, signer)?, checkpoint })
    }

    /// Whether `proof` ([`crate::Prover::consistency`]) shows that this checkpoint extends `older`.
    pub fn check_extends(&self, older: &Self, proof: &[Hash]) -> Result<(), LedgerError> {
        if self.origin != older.origin {
            return Err(LedgerError::OtherLog { known: older.origin.clone(), actual: self.origin.clone() });
        }
        verify_consistency(older.size, &older.root, self.size, &self.root, proof)
    }
}

/// The note's text: origin, size and root, each on its line.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

/// Extension lines are refused: the standard advises against them, since nobody can audit them, and
/// this log signs none.
impl FromStr for Checkpoint {
    type Err = LedgerError;
    fn from_str(text: &str) -> Result<Self, LedgerError> {
        read(text).map_err(|problem| LedgerError::CheckpointMalformed { problem })
    }
}

fn read(text: &str) -> Result<Checkpoint, &'static str> {
    let mut lines = text.strip_suffix('\n').ok_or("its last line is not ended")?.split('\n');
    let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
        return Err("fewer than three lines");
    };
    if lines.next().is_some() {
        return Err("extension lines are not accepted");
    }
    if origin.is_empty() {
        return Err("an empty origin");
    }
    let size = read_decimal(size).ok_or("its size is not a decimal below 2^53")?;
    let root = read_hash(root).ok_or("its root is not a base64 SHA-256")?;
    Ok(Checkpoint { origin: origin.to_owned(), size, root })
}

/// A decimal without leading zeroes or signs, at most [`MAX_SIZE`].
pub(crate) fn read_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number <= MAX_SIZE && number.to_string() == text).then_some(number)
}

/// A hash in standard base64.
pub(crate) fn read_hash(text: &str) -> Option<Hash> {
    if text.len() != 44 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// A checkpoint as it travels: a signed note. Its text is its own spelling of what was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: SignedNote,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Reads a signed checkpoint, without trusting it.
    pub fn parse(note: &str) -> Result<Self, LedgerError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = note.text().parse()?;
        Ok(Self { note, checkpoint })
    }

    /// The checkpoint, if a key among `keys` whose name is the origin signed it. `keys` are the
    /// caller's own copies: never take them from where the checkpoint came from.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&Checkpoint, LedgerError> {
        if self.note.verify(keys)?.iter().any(|key| key.name() == self.checkpoint.origin) {
            Ok(&self.checkpoint)
        } else {
            Err(LedgerError::OriginNotSigner { origin: self.checkpoint.origin.clone() })
        }
    }

    /// What it claims, for messages and for the one who signed it.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all its signatures.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }
}

/// The signed note.
impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}
