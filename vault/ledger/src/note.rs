//! Signed notes with Ed25519 (C2SP signed-note).

use crate::LedgerError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest::{Context, SHA256},
    signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey},
};
use std::{fmt, str::FromStr};
use strongroom_protocol::VaultId;

/// A note, bytes: 16 signatures of the largest kind in use (5 kB each, in base64) fit.
pub(crate) const NOTE_BYTES: usize = 128 << 10;
/// Signatures on a note.
const SIGNATURES: usize = 64;
/// Signature type identifier of Ed25519.
const TYPE_ED25519: u8 = 1;
/// A key's name, bytes.
const NAME_BYTES: usize = 255;

/// Signs with the vault's identity key, wherever that is kept.
pub trait Signer {
    /// The Ed25519 signature over `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

impl Signer for Ed25519KeyPair {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = Ed25519KeyPair::sign(self, message);
        // An Ed25519 signature always has 64 bytes; were it otherwise, zeroes would not verify.
        signature.as_ref().try_into().unwrap_or([0; 64])
    }
}

/// A public key with the name that it signs under; in text `name+hash+base64(0x01 || key)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    public_key: [u8; 32],
}

impl VerifierKey {
    /// A name has 1 to 255 bytes, no spaces or control characters, and no plus sign.
    pub fn new(name: impl Into<String>, public_key: [u8; 32]) -> Result<Self, LedgerError> {
        let name = name.into();
        check_name(&name).map_err(|problem| LedgerError::VerifierKeyMalformed { problem })?;
        Ok(Self { name, public_key })
    }

    /// The key's name: the origin of the log that it signs for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 public key (RFC 8032).
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The vault whose identity key this is, if it is one: the SHA-256 of the public key. A client that
    /// pins vault ids compares it before it trusts a verifier key from anywhere.
    pub fn vault_id(&self) -> VaultId {
        VaultId::from(strongroom_protocol::sha256(&self.public_key))
    }

    /// `SHA-256(name || 0x0A || 0x01 || public key)[:4]`, big-endian.
    pub fn key_id(&self) -> u32 {
        let mut context = Context::new(&SHA256);
        context.update(self.name.as_bytes());
        context.update(&[b'\n', TYPE_ED25519]);
        context.update(&self.public_key);
        context.finish().as_ref().first_chunk().map_or(0, |id| u32::from_be_bytes(*id))
    }

    fn made(&self, signature: &NoteSignature, text: &str) -> Result<(), LedgerError> {
        UnparsedPublicKey::new(&ED25519, &self.public_key)
            .verify(text.as_bytes(), &signature.bytes)
            .map_err(|_| LedgerError::SignatureWrong { name: self.name.clone() })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![TYPE_ED25519];
        key.extend_from_slice(&self.public_key);
        write!(f, "{}+{:08x}+{}", self.name, self.key_id(), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = LedgerError;
    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let malformed = |problem| LedgerError::VerifierKeyMalformed { problem };
        if text.len() > NAME_BYTES + 1 + 8 + 1 + 44 {
            return Err(malformed("too long"));
        }
        // The base64 part may itself contain a plus sign; name and hash may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("not three parts"));
        };
        let key = STANDARD.decode(key).map_err(|_| malformed("the key is not base64"))?;
        let public_key = match key.split_first() {
            Some((&TYPE_ED25519, key)) => key.try_into().map_err(|_| malformed("an Ed25519 key has 32 bytes"))?,
            _ => return Err(malformed("another signature type than Ed25519")),
        };
        let read = Self::new(name, public_key)?;
        if format!("{:08x}", read.key_id()) == hash { Ok(read) } else { Err(malformed("its hash is another key's")) }
    }
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub key_id: u32,
    /// The signature; its length depends on the key's algorithm.
    pub bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key_id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        writeln!(f, "\u{2014} {} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A text with its signatures. Trust nothing in it before [`SignedNote::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Signs `text`, which ends in a newline, and checks the signature against the key's public half,
    /// so that a wrong pair of keys is found before anything leaves the process.
    pub fn sign(
        text: impl Into<String>,
        key: &VerifierKey,
        signer: &(impl Signer + ?Sized),
    ) -> Result<Self, LedgerError> {
        let text = text.into();
        check_text(&text).map_err(|problem| LedgerError::NoteMalformed { problem })?;
        let bytes = signer.sign(text.as_bytes()).to_vec();
        let signature = NoteSignature { name: key.name.clone(), key_id: key.key_id(), bytes };
        key.made(&signature, &text)?;
        Ok(Self { text, signatures: vec![signature] })
    }

    /// Reads a note. What it says is not yet trusted.
    pub fn parse(note: &str) -> Result<Self, LedgerError> {
        read(note).map_err(|problem| LedgerError::NoteMalformed { problem })
    }

    /// The signed text, its last newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, those by unknown keys too.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The keys among `keys` that signed, at least one. Signatures by other keys are passed over; one
    /// that names a key of `keys` and is not by it refuses the whole note.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, LedgerError> {
        let mut signed = Vec::new();
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| key.name == signature.name && key.key_id() == signature.key_id) {
                key.made(signature, &self.text)?;
                signed.push(key);
            }
        }
        if signed.is_empty() { Err(LedgerError::NotSigned) } else { Ok(signed) }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

fn read(note: &str) -> Result<SignedNote, &'static str> {
    if note.len() > NOTE_BYTES {
        return Err("too long");
    }
    // The last empty line separates the text from the signatures: the text may have empty lines too.
    let (text, lines) = note.rsplit_once("\n\n").ok_or("no signatures")?;
    let text = format!("{text}\n");
    check_text(&text)?;
    let lines = lines.strip_suffix('\n').ok_or("its last line is not ended")?;
    let signatures = lines.split('\n').map(read_signature).collect::<Result<Vec<_>, _>>()?;
    if signatures.len() > SIGNATURES {
        return Err("too many signatures");
    }
    Ok(SignedNote { text, signatures })
}

fn read_signature(line: &str) -> Result<NoteSignature, &'static str> {
    let (name, signature) =
        line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' ')).ok_or("not a signature line")?;
    check_name(name)?;
    let bytes = STANDARD.decode(signature).map_err(|_| "a signature is not base64")?;
    match bytes.split_first_chunk() {
        Some((id, bytes)) if !bytes.is_empty() => {
            Ok(NoteSignature { name: name.to_owned(), key_id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
        }
        _ => Err("a signature is too short"),
    }
}

fn check_text(text: &str) -> Result<(), &'static str> {
    if text.len() > NOTE_BYTES / 2 {
        Err("its text is too long")
    } else if !text.ends_with('\n') {
        Err("its text does not end in a newline")
    } else if text.chars().any(|c| c < ' ' && c != '\n') {
        Err("a control character in its text")
    } else {
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if !(1..=NAME_BYTES).contains(&name.len()) {
        Err("a key's name has 1 to 255 bytes")
    } else if name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control()) {
        Err("a key's name has no spaces, control characters or plus signs")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// The example of golang.org/x/mod/sumdb/note, which the standard grew out of.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn peter() -> VerifierKey {
        PETER.parse().unwrap()
    }

    #[test]
    fn the_known_note_verifies_under_its_known_key() {
        assert_eq!(peter().key_id(), 0xc74f_20a3);
        assert_eq!(peter().to_string(), PETER);
        assert_eq!(*peter().vault_id().as_array(), strongroom_protocol::sha256(peter().public_key()));
        let note = SignedNote::parse(NOTE).unwrap();
        assert_eq!(note.to_string(), NOTE);
        assert_eq!(note.verify(&[peter()]).unwrap(), [&peter()]);
    }

    #[test]
    fn each_changed_character_of_the_text_or_signature_is_refused() {
        let keys = [peter()];
        for (at, c) in NOTE.char_indices() {
            let other = if c == 'A' { 'B' } else { 'A' };
            let changed = format!("{}{other}{}", &NOTE[..at], &NOTE[at + c.len_utf8()..]);
            assert!(SignedNote::parse(&changed).and_then(|note| note.verify(&keys).map(|_| ())).is_err(), "{changed}");
        }
    }

    #[test]
    fn unknown_signatures_are_passed_over_and_wrong_ones_refuse_the_note() {
        let unknown = format!("{NOTE}\u{2014} somebody {}\n", STANDARD.encode([9; 68]));
        assert!(SignedNote::parse(&unknown).unwrap().verify(&[peter()]).is_ok());

        // The name alone, or the id alone, of a known key does not make a signature its own.
        let id = 0xc74f_20a3_u32.to_be_bytes();
        let same_name = format!("{NOTE}\u{2014} PeterNeumann {}\n", STANDARD.encode([9; 68]));
        assert!(SignedNote::parse(&same_name).unwrap().verify(&[peter()]).is_ok());
        let same_id = format!("{NOTE}\u{2014} somebody {}\n", STANDARD.encode([&id[..], &[9; 64]].concat()));
        assert!(SignedNote::parse(&same_id).unwrap().verify(&[peter()]).is_ok());
        let both = format!("{NOTE}\u{2014} PeterNeumann {}\n", STANDARD.encode([&id[..], &[9; 64]].concat()));
        let refused = Err(LedgerError::SignatureWrong { name: "PeterNeumann".into() });
        assert_eq!(SignedNote::parse(&both).unwrap().verify(&[peter()]), refused);

        assert_eq!(SignedNote::parse(NOTE).unwrap().verify(&[sample::key(1).verifier]), Err(LedgerError::NotSigned));
    }

    #[test]
    fn each_malformed_note_is_refused() {
        let line = NOTE.rsplit_once("\n\n").unwrap().1;
        assert!(SignedNote::parse(&format!("a\n\n{line}")).is_ok());
        assert!(SignedNote::parse(&format!("a\n\nb\n\n{line}")).is_ok(), "a text may have empty lines");
        for wrong in [
            String::new(),
            "a\n".into(),
            "a\n\n".into(),
            format!("a\n{line}"),
            format!("a\n\n{}", line.trim_end()),
            format!("a\n\n{line}\n"),
            format!("a\t\n\n{line}"),
            format!("a\r\n\n{line}"),
            format!("a\n\n{}", line.replacen('\u{2014}', "-", 1)),
            format!("a\n\n{}", line.replacen("Peter", "Peter+", 1)),
            format!("a\n\n{}", line.replacen("Peter", "Peter\u{a0}", 1)),
            format!("a\n\n{}", line.replacen("PeterNeumann", "", 1)),
            format!("a\n\n{}", line.replacen("JnAM=", "JnAM", 1)),
            format!("a\n\n{}", line.replacen("JnAM=", "JnAN=", 1)),
            "a\n\n\u{2014} somebody AAAAAA==\n".into(),
            format!("a\n\n{}", line.repeat(SIGNATURES + 1)),
            format!("a\n\n\u{2014} somebody {}\n", STANDARD.encode(vec![9; NOTE_BYTES])),
            format!("{}\n\n{line}", "a".repeat(NOTE_BYTES / 2)),
        ] {
            assert!(matches!(SignedNote::parse(&wrong), Err(LedgerError::NoteMalformed { .. })), "{wrong:?}");
        }
        assert!(SignedNote::parse(&format!("a\n\n{}", line.repeat(SIGNATURES))).is_ok());
    }

    #[test]
    fn each_malformed_verifier_key_is_refused() {
        let other_type = STANDARD.encode([&[4], &peter().public_key()[..]].concat());
        let short = STANDARD.encode([&[1], &peter().public_key()[1..]].concat());
        for wrong in [
            String::new(),
            "PeterNeumann+c74f20a3".into(),
            PETER.replace("c74f20a3", "c74f20a4"),
            PETER.replace("c74f20a3", "C74F20A3"),
            PETER.replace("Peter", "Petra"),
            PETER.replace("PeterNeumann", ""),
            PETER.replace("Peter", "Peter "),
            PETER.replace("10TW", "10TX"),
            format!("{PETER}AAAA"),
            format!("PeterNeumann+c74f20a3+{other_type}"),
            format!("PeterNeumann+c74f20a3+{short}"),
            format!("{}{PETER}", "a".repeat(NAME_BYTES + 50)),
        ] {
            assert!(matches!(wrong.parse::<VerifierKey>(), Err(LedgerError::VerifierKeyMalformed { .. })), "{wrong}");
        }
        assert!(VerifierKey::new("a".repeat(NAME_BYTES), [0; 32]).is_ok());
        assert!(VerifierKey::new("a".repeat(NAME_BYTES + 1), [0; 32]).is_err());
    }

    #[test]
    fn only_text_that_ends_its_last_line_is_signed() {
        let key = sample::key(1);
        assert!(SignedNote::sign("a\n", &key.verifier, &key.pair).is_ok());
        for wrong in ["", "a", "a\u{7}\n"] {
            assert!(SignedNote::sign(wrong, &key.verifier, &key.pair).is_err());
        }
    }
}
