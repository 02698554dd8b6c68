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
    if origin.is_empty() || origin.chars().any(char::is_control) {
        return Err("its origin is empty or has control characters");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EMPTY_ROOT, Prover, sample};

    /// The example of the standard.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

    #[test]
    fn the_example_of_the_standard_is_read_and_written_back() {
        let signed = SignedCheckpoint::parse(EXAMPLE).unwrap();
        assert_eq!(signed.unverified().origin, "example.com/behind-the-sofa");
        assert_eq!(signed.unverified().size, 20_852_163);
        assert_eq!(signed.note().signatures()[0].key_id, 0x033d_e0ae);
        assert_eq!(signed.to_string(), EXAMPLE);
    }

    #[test]
    fn each_deviation_is_refused() {
        let root = STANDARD.encode(EMPTY_ROOT);
        assert!(format!("log\n0\n{root}\n").parse::<Checkpoint>().is_ok());
        for wrong in [
            format!("log\n0\n{root}"),
            format!("\n0\n{root}\n"),
            format!("l\tog\n0\n{root}\n"),
            format!("log\n00\n{root}\n"),
            format!("log\n+1\n{root}\n"),
            format!("log\n-1\n{root}\n"),
            format!("log\n\n{root}\n"),
            format!("log\n{}\n{root}\n", MAX_SIZE + 1),
            format!("log\n99999999999999999999\n{root}\n"),
            format!("log\n0\n{}\n", STANDARD.encode([0; 31])),
            format!("log\n0\n{}\n", root.replace('=', "")),
            format!("log\n0\n {root}\n"),
            format!("log\n0\n{root}\nextension\n"),
            format!("log\n0\n{root}\n\n"),
            "log\n0\n".into(),
            String::new(),
        ] {
            assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong:?}");
        }
        assert!(format!("log\n{MAX_SIZE}\n{root}\n").parse::<Checkpoint>().is_ok());
    }

    #[test]
    fn a_checkpoint_is_of_the_log_whose_key_signed_it() {
        let (log, key, other) = (sample::Log::of([sample::act(0)]), sample::key(1), sample::key(2));
        let signed = SignedCheckpoint::parse(&log.signed(&key).to_string()).unwrap();
        assert_eq!(signed.verify(&[other.verifier.clone(), key.verifier.clone()]).unwrap(), &log.checkpoint());
        assert_eq!(signed.verify(&[other.verifier]), Err(LedgerError::NotSigned));
        assert_eq!(signed.verify(&[]), Err(LedgerError::NotSigned));

        // A trusted key of another name does not speak for this log, though it is the same key pair.
        let renamed = VerifierKey::new("strongroom/other", *key.verifier.public_key()).unwrap();
        let note = SignedNote::sign(log.checkpoint().to_string(), &renamed, &key.pair).unwrap();
        let stranger = SignedCheckpoint::parse(&note.to_string()).unwrap();
        let refused = Err(LedgerError::OriginNotSigner { origin: sample::ORIGIN.into() });
        assert_eq!(stranger.verify(std::slice::from_ref(&renamed)), refused);
        assert!(log.checkpoint().sign(&renamed, &key.pair).is_err());
    }

    #[test]
    fn nothing_is_signed_that_nobody_would_read() {
        let key = sample::key(1);
        let mut checkpoint = sample::Log::default().checkpoint();
        assert!(checkpoint.sign(&key.verifier, &key.pair).is_ok());
        checkpoint.size = MAX_SIZE + 1;
        assert!(checkpoint.sign(&key.verifier, &key.pair).is_err());
    }

    #[test]
    fn a_key_that_is_not_its_public_half_is_found_before_anything_is_published() {
        let (right, wrong) = (sample::key(1), sample::key(2));
        let refused = sample::Log::default().checkpoint().sign(&right.verifier, &wrong.pair);
        assert_eq!(refused, Err(LedgerError::SignatureWrong { name: sample::ORIGIN.into() }));
    }

    #[test]
    fn a_checkpoint_extends_the_same_log_only() {
        let mut log = sample::Log::of((0..5).map(sample::act));
        let older = log.checkpoint();
        log.write(vec![b"more".to_vec()]);
        let proof = Prover::new(&log.tiles, 6).consistency(5).unwrap();
        assert_eq!(log.checkpoint().check_extends(&older, &proof), Ok(()));
        assert!(older.check_extends(&log.checkpoint(), &proof).is_err());

        let mut fork = sample::Log::of((1..6).map(sample::act));
        fork.write(vec![b"more".to_vec()]);
        let proof = Prover::new(&fork.tiles, 6).consistency(5).unwrap();
        let refused = Err(LedgerError::NotConsistent { old: 5, new: 6 });
        assert_eq!(fork.checkpoint().check_extends(&older, &proof), refused);

        let elsewhere = Checkpoint { origin: "other".into(), ..older.clone() };
        assert!(matches!(elsewhere.check_extends(&older, &[]), Err(LedgerError::OtherLog { .. })));
    }
}
