//! Signed notes with Ed25519 (C2SP signed-note).

use crate::LedgerError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest::{Context, SHA256},
    signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey},
};
use std::{fmt, str::FromStr};

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
