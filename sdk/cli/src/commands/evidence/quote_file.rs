//! Quotes in files, in the forms in which people have them: told by their content.

use super::{
    contents::GivenFile,
    given::{Ak, BareKey},
    pcrs::{PcrValues, bank_named},
};
use crate::output::Failure;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use strongroom::protocol::{
    bytes::{Bytes, Fixed},
    evidence::{Evidence, PcrBank, Pcrs, Tpm2Evidence},
    objects,
};
use strongroom_attest::{
    quote::Values,
    tpm::{Attest, HashAlg, Key, ParseError, Public, Signature},
};

/// What the structures of a TPM begin with that it has formed itself.
const GENERATED: &[u8] = b"\xff\x54\x43\x47";
/// Kinds of signatures, as `TPMT_SIGNATURE` begins with them.
const SIGNATURES: [&[u8]; 3] = [b"\x00\x14", b"\x00\x16", b"\x00\x18"];
/// Hashes by their `TPM_ALG_ID`, the likely one first.
const HASHES: [HashAlg; 3] = [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];

/// A quote with what lay beside it.
#[derive(Debug, Default)]
pub(super) struct QuoteFile {
    /// `TPMS_ATTEST`.
    pub message: Vec<u8>,
    /// The signature as `TPMT_SIGNATURE`: as it was found, or every reading of one that does not say its scheme.
    pub signatures: Vec<Vec<u8>>,
    /// Values, and whether they came with the quote.
    pub values: Option<(HashAlg, Values)>,
    pub exact: bool,
    /// Banks of which values were given too, and which the quote is not of.
    pub beside: Vec<HashAlg>,
    /// SHA-256 of the name of the AK that the evidence says it is by.
    pub ak_sha256: Option<[u8; 32]>,
    /// The AK that lay beside the quote. Nobody vouches for it.
    pub ak: Option<Public>,
    pub boot_log: Option<Vec<u8>>,
    pub ima_log: Option<Vec<u8>>,
    /// Bytes of the IMA log that stand before the part that is here.
    pub ima_offset: u64,
}

/// The document that go-attestation writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attestation {
    #[serde(rename = "AK")]
    ak: Option<AttestationKey>,
    quote: AttestationQuote,
    log: Option<AttestationLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttestationKey {
    public: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttestationQuote {
    quote: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttestationLog {
    #[serde(rename = "PCRs", default)]
    pcrs: Vec<AttestationPcr>,
    raw: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttestationPcr {
    index: u8,
    digest: String,
}

impl QuoteFile {
    /// The quote of one to three files. A quote in raw files needs two: `TPMS_ATTEST` and its signature.
    pub(super) fn of(files: &[GivenFile], ak: Option<&Ak>, pcrs: Option<&PcrValues>) -> Result<Self, Failure> {
        let mut quote = match files {
            [GivenFile { path, bytes }] => Self::one(path, bytes, ak)?,
            [first, second] => Self::raw(first, second, None, ak)?,
            [first, second, third] => Self::raw(first, second, Some(third), ak)?,
            _ => return Err(Failure::usage("a quote is one file, or two or three: TPMS_ATTEST, signature, values")),
        };
        if let Some(pcrs) = pcrs {
            let quoted = quote.quoted_bank();
            let values = pcrs.bank(|bank| quoted.is_none_or(|quoted| bank == quoted)).or_else(|| pcrs.bank(|_| true));
            quote.beside = values.iter().flat_map(|(bank, _)| pcrs.beside(*bank)).map(|(bank, _)| bank).collect();
            quote.values = values.map(|(bank, values)| (bank, values.clone()));
            quote.exact = false;
        }
        Ok(quote)
    }

    /// The quote of an item, in its parts.
    pub(super) fn of_parts(message: Bytes, signature: Bytes, pcrs: Pcrs) -> Self {
        let bank = match pcrs.bank {
            PcrBank::Sha256 => HashAlg::Sha256,
            PcrBank::Sha384 => HashAlg::Sha384,
        };
        Self {
            message: message.0,
            signatures: vec![signature.0],
            values: Some((bank, pcrs.values.0.into_iter().map(|(pcr, value)| (pcr, value.0)).collect())),
            exact: true,
            ..Self::default()
        }
    }

    fn one(path: &Path, bytes: &[u8], ak: Option<&Ak>) -> Result<Self, Failure> {
        let wrong = |problem: &str| Failure::usage(format!("{}: {problem}", path.display()));
        if let Some(b'{' | b'[') = bytes.trim_ascii_start().first() {
            return Self::document(bytes).map_err(|problem| wrong(&problem));
        }
        if bytes.starts_with(GENERATED) {
            return Err(wrong("this is a TPMS_ATTEST: give the file with its signature too"));
        }
        Self::container(bytes, ak).ok_or_else(|| {
            wrong(
                "no quote: give an evidence item in JSON, as `strongroom evidence collect` prints it; or TPMS_ATTEST \
                 and signature in two files; or Azure's container of signature, TPMS_ATTEST and values",
            )
        })
    }

    fn document(bytes: &[u8]) -> Result<Self, String> {
        let value = strongroom::protocol::unambiguous::from_slice(bytes).map_err(|e| format!("no JSON: {e}"))?;
        if value.get("Quote").is_some() {
            let document =
                Attestation::deserialize(&value).map_err(|e| format!("no document of go-attestation: {e}"))?;
            return Self::attestation(&document);
        }
        // The vault reads items strictly, and so are they read here.
        let items: Vec<Evidence> = match &value {
            Value::Array(_) => objects::from_slice(bytes).map_err(|e| e.to_string()),
            Value::Object(object) if object.get("evidence").is_some_and(Value::is_array) => {
                serde_json::from_value(object.get("evidence").cloned().unwrap_or_default()).map_err(|e| e.to_string())
            }
            _ => objects::from_slice(bytes).map(|item| vec![item]).map_err(|e| e.to_string()),
        }
        .map_err(|e| format!("no item of evidence: {e}; give one as `strongroom evidence collect` prints it"))?;
        if let [other] = items.as_slice()
            && other.as_tpm2().is_none()
        {
            return Err(format!("an item of type {}, not tpm2", other.kind()));
        }
        // Beside the quote there may be what other devices gave.
        match <[Tpm2Evidence; 1]>::try_from(items.into_iter().filter_map(Evidence::into_tpm2).collect::<Vec<_>>()) {
            Ok([item]) => Ok(Self::item(item)),
            Err(items) => Err(format!("{} items of type tpm2: give one", items.len())),
        }
    }

    fn item(item: Tpm2Evidence) -> Self {
        let Fixed(ak_sha256) = item.ak;
        Self {
            ak_sha256: Some(ak_sha256),
            boot_log: item.boot_log.map(|log| log.0),
            ima_log: item.ima_log.map(|log| log.0),
            ima_offset: item.ima_offset.unwrap_or_default(),
            ..Self::of_parts(item.message, item.signature, item.pcrs)
        }
    }

    fn attestation(document: &Attestation) -> Result<Self, String> {
        let bytes = |name: &str, text: &str| base64(text).ok_or_else(|| format!("{name} is not base64"));
        let mut quote = Self {
            message: bytes("Quote.Quote", &document.quote.quote)?,
            signatures: vec![bytes("Quote.Signature", &document.quote.signature)?],
            ..Self::default()
        };
        if let Some(AttestationKey { public }) = &document.ak {
            quote.ak = Public::parse(&bytes("AK.Public", public)?).ok();
        }
        if let Some(log) = &document.log {
            quote.boot_log = log.raw.as_deref().map(|raw| bytes("Log.Raw", raw)).transpose()?;
            let mut values = Values::new();
            for pcr in &log.pcrs {
                if values.insert(pcr.index, bytes("Log.PCRs", &pcr.digest)?).is_some() {
                    return Err(format!("Log.PCRs has PCR {} twice", pcr.index));
                }
            }
            let length = values.values().next().map_or(0, Vec::len);
            if values.values().any(|value| value.len() != length) {
                return Err("Log.PCRs has values of several banks".to_owned());
            }
            let bank = bank_named("sha1").into_iter().chain(HASHES).find(|bank| bank.digest_length() == length);
            quote.values = bank.map(|bank| (bank, values));
        }
        Ok(quote)
    }

    /// u64 little-endian length and signature, length and `TPMS_ATTEST`, number of values, the values.
    fn container(bytes: &[u8], ak: Option<&Ak>) -> Option<Self> {
        let mut rest = bytes;
        let signature = sized(&mut rest)?;
        let message = sized(&mut rest)?.to_vec();
        let count = number(&mut rest).filter(|count| (1..=24).contains(count))?;
        let length = rest.len() / count;
        let bank = HASHES.into_iter().find(|bank| bank.digest_length() == length)?;
        if rest.len() != count * length {
            return None;
        }
        let values: Vec<Vec<u8>> = rest.chunks_exact(length).map(<[u8]>::to_vec).collect();
        // 24 values are of all PCRs by index; fewer are those of the selection, in its order.
        let quoted = selected(&message);
        let labels: Vec<u8> = if count == 24 { (0..24).collect() } else { quoted };
        if labels.len() != values.len() {
            return None;
        }
        Some(Self {
            signatures: readings(signature, ak)?,
            message,
            values: Some((bank, labels.into_iter().zip(values).collect())),
            ..Self::default()
        })
    }

    fn raw(
        first: &GivenFile,
        second: &GivenFile,
        values: Option<&GivenFile>,
        ak: Option<&Ak>,
    ) -> Result<Self, Failure> {
        let (message, GivenFile { path, bytes: signature }) = match (first, second) {
            (first, second) if unsized_attest(&first.bytes).is_some() => (&first.bytes, second),
            (first, second) if unsized_attest(&second.bytes).is_some() => (&second.bytes, first),
            (first, second) => {
                return Err(Failure::usage(format!(
                    "neither {} nor {} is a TPMS_ATTEST: it begins with ff544347; give it as the TPM made it",
                    first.path.display(),
                    second.path.display()
                )));
            }
        };
        let message = unsized_attest(message).unwrap_or_default().to_vec();
        let signatures = readings(signature, ak).ok_or_else(|| {
            Failure::usage(format!(
                "{}: no signature: give a TPMT_SIGNATURE, or a bare RSA or ECDSA signature",
                path.display()
            ))
        })?;
        let mut quote = Self { message, signatures, ..Self::default() };
        if let Some(GivenFile { path, bytes }) = values {
            quote.values =
                Some(quote.values_of(bytes).map_err(|problem| {
                    Failure::usage(format!("{}: {problem}; or give them by --pcrs", path.display()))
                })?);
        }
        Ok(quote)
    }

    /// Values in a file of their own: as `--pcrs` takes them, or bare, in the selection's order.
    fn values_of(&self, bytes: &[u8]) -> Result<(HashAlg, Values), String> {
        let quoted = selected(&self.message);
        if let Some(bank) = self.quoted_bank().filter(|bank| bytes.len() == bank.digest_length() * quoted.len()) {
            let values = bytes.chunks_exact(bank.digest_length()).map(<[u8]>::to_vec);
            return Ok((bank, quoted.into_iter().zip(values).collect()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "these are no values of the quoted PCRs".to_owned())?;
        let values = PcrValues::parse(text)?;
        let of = self.quoted_bank().filter(|bank| values.0.contains_key(bank));
        let found = values.bank(|bank| of.is_none_or(|of| of == bank));
        found.map(|(bank, values)| (bank, values.clone())).ok_or_else(|| "it holds no values".to_owned())
    }

    /// The bank that the quote says it is of, where it is one.
    pub(super) fn quoted_bank(&self) -> Option<HashAlg> {
        match Attest::parse(&self.message).ok()?.selection.as_slice() {
            [selection] => HashAlg::from_id(selection.bank),
            _ => None,
        }
    }
}

/// The PCRs that a quote says it is of, ascending, where they are of one bank.
fn selected(message: &[u8]) -> Vec<u8> {
    let Ok(attest) = Attest::parse(message) else { return Vec::new() };
    let [selection] = attest.selection.as_slice() else { return Vec::new() };
    let chosen = |pcr: &u8| selection.bitmap.get(usize::from(pcr / 8)).is_some_and(|bits| bits >> (pcr % 8) & 1 == 1);
    (0..24).filter(chosen).collect()
}

/// A `TPMS_ATTEST`, without the size that a `TPM2B_ATTEST` has before it.
fn unsized_attest(bytes: &[u8]) -> Option<&[u8]> {
    let inner = bytes.get(2..).filter(|inner| inner.starts_with(GENERATED));
    bytes.starts_with(GENERATED).then_some(bytes).or(inner)
}

/// A signature as every `TPMT_SIGNATURE` that it may be; `None` if it can be none.
fn readings(signature: &[u8], ak: Option<&Ak>) -> Option<Vec<Vec<u8>>> {
    // One that only has a kind that is not verified is read too, and refused by name.
    let known = match Signature::parse(signature) {
        Ok(_) | Err(ParseError::Trailing { .. }) => true,
        Err(_) => SIGNATURES.iter().any(|kind| signature.starts_with(kind)) && !bare(signature, ak),
    };
    if known {
        return Some(vec![signature.to_vec()]);
    }
    let sized = |bytes: &[u8]| Some([&u16::try_from(bytes.len()).ok()?.to_be_bytes()[..], bytes].concat());
    let tagged =
        |kind: u16, hash: HashAlg, fields: &[u8]| [&kind.to_be_bytes(), &hash.id().to_be_bytes(), fields].concat();
    let all = |kinds: &[u16], fields: &[u8]| {
        let each = |kind: &u16| HASHES.map(|hash| tagged(*kind, hash, fields));
        kinds.iter().flat_map(each).collect::<Vec<_>>()
    };
    if let Some((r, s)) = numbers(signature) {
        return Some(all(&[0x0018], &[sized(r)?, sized(s)?].concat()));
    }
    match signature.len() {
        64 | 96 => {
            let (r, s) = signature.split_at(signature.len() / 2);
            Some(all(&[0x0018], &[sized(r)?, sized(s)?].concat()))
        }
        256 | 384 | 512 => Some(all(&[0x0014, 0x0016], &sized(signature)?)),
        _ => None,
    }
}

/// Whether a signature is as long as one of this key without anything around it.
fn bare(signature: &[u8], ak: Option<&Ak>) -> bool {
    match ak {
        Some(Ak::Key(BareKey::Rsa(modulus))) => signature.len() == modulus.len(),
        Some(Ak::Area(public)) => {
            matches!(public.key(), Key::Rsa { modulus, .. } if signature.len() == modulus.len())
        }
        _ => false,
    }
}

/// r and s of an ECDSA signature in DER (RFC 3279, §2.2.3).
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let field = |tag: u8, bytes: &'_ [u8]| -> Option<(usize, usize)> {
        let [found, length, ..] = bytes else { return None };
        let length = usize::from(*length);
        (*found == tag && length < 0x80 && bytes.len() >= 2 + length).then_some((2, 2 + length))
    };
    let (start, end) = field(0x30, der)?;
    let inner = der.get(start..end).filter(|_| end == der.len())?;
    let (start, end) = field(0x02, inner)?;
    let (r, rest) = (inner.get(start..end)?, inner.get(end..)?);
    let (start, end) = field(0x02, rest)?;
    let s = rest.get(start..end).filter(|_| end == rest.len())?;
    let bare = |number: &'_ [u8]| number.iter().take_while(|&&byte| byte == 0).count();
    Some((r.get(bare(r)..)?, s.get(bare(s)..)?))
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let (number, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    usize::try_from(u64::from_le_bytes(*number)).ok()
}

fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

/// Base64 with padding, as Go writes byte strings.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    text.parse().ok().map(|Bytes(bytes)| bytes)
}
