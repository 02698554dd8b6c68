//! What a file holds, told by its content. Nothing here is believed: it only says who has to judge it.

use super::{quote_file::base64, verify::Kind};
use crate::output::Failure;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::Value;
use std::path::{Path, PathBuf};
use strongroom::protocol::{
    evidence::{Evidence, EvidenceKind},
    limits, objects, unambiguous,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// A file that was read.
#[derive(Debug, Clone)]
pub(super) struct GivenFile {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// What bytes look like.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Evidence of a kind, raw.
    Evidence(Kind, Vec<u8>),
    /// Items as the vault reads them.
    Items(Vec<Evidence>),
    /// A GPU's report with its chain (DER), as NVIDIA's tools write both into one document.
    GpuDocument(Vec<GpuDocument>),
    /// Certificates and revocation lists (DER).
    Pem { certificates: Vec<Vec<u8>>, lists: Vec<Vec<u8>> },
    /// An OCSP answer (DER).
    Answer(Vec<u8>),
    /// Intel's collateral (JSON).
    Collateral(Vec<u8>),
    /// A manifest of NVIDIA's (XML).
    Manifest(Vec<u8>),
    /// The table of certificates that a host lays beside a report of SEV-SNP.
    Table(Vec<u8>),
    /// None of these; text that is nothing but hexadecimal comes as the bytes that it stands for.
    Unknown(Vec<u8>),
}

/// A GPU's report with the certificates beside it (DER).
#[derive(Debug, Clone)]
pub(super) struct GpuDocument {
    pub report: Vec<u8>,
    pub certificates: Vec<Vec<u8>>,
}

/// Bytes of an entry of a table of certificates: what it is said to be, where it starts, how long it is.
const TABLE_ENTRY: usize = 24;
/// What the structures of a TPM begin with that it has formed itself.
const GENERATED: &[u8] = b"\xff\x54\x43\x47";
/// The beginning of SPDM's `GET_MEASUREMENTS`, as drivers send it.
const GET_MEASUREMENTS: &[u8] = b"\x11\xe0\x01\xff";
/// Where a crypto-agile log says so: after PCR, type, SHA-1 digest and size of its first event.
const SPEC_ID: std::ops::Range<usize> = 32..47;

impl Content {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let text = bytes.trim_ascii_start();
        match text.first() {
            Some(b'{' | b'[') => return Self::document(bytes),
            Some(b'<') => return Self::Manifest(bytes.to_vec()),
            _ if text.starts_with(b"\xef\xbb\xbf<") => return Self::Manifest(bytes.to_vec()),
            _ => {}
        }
        // Quotes of TDX have PEM in them: what begins as evidence is evidence, and PEM is text throughout.
        if kind_of(bytes).is_none()
            && str::from_utf8(bytes).is_ok_and(|text| text.contains("-----BEGIN "))
            && let Some(pem) = Self::pem(bytes)
        {
            return pem;
        }
        if let Some(der) = Self::der(bytes) {
            return der;
        }
        let bytes = unhexed(bytes).unwrap_or_else(|| bytes.to_vec());
        match kind_of(&bytes) {
            Some(Kind::NvidiaGpu) => Self::Evidence(Kind::NvidiaGpu, without_padding(bytes)),
            Some(kind) => Self::Evidence(kind, bytes),
            None if is_table(&bytes) => Self::Table(bytes),
            None => Self::Unknown(bytes),
        }
    }

    fn document(bytes: &[u8]) -> Self {
        let Ok(value) = unambiguous::from_slice(bytes) else { return Self::Unknown(bytes.to_vec()) };
        let listed = |value: &Value| match value {
            Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        if value.get("Quote").is_some() {
            return Self::Evidence(Kind::Tpm2, bytes.to_vec());
        }
        if value.get("tcb_info").or(value.get("tcbInfo")).is_some() {
            return Self::Collateral(bytes.to_vec());
        }
        let nested = value.get("evidence").filter(|evidence| evidence.is_array());
        let items = listed(nested.or(value.get("evidence_list")).unwrap_or(&value));
        if let Some(documents) =
            items.iter().map(GpuDocument::of).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
        {
            return Self::GpuDocument(documents);
        }
        // The vault reads items strictly, and so are they read here.
        match objects::from_slice::<Vec<Evidence>>(&serde_json::to_vec(&items).unwrap_or_default()) {
            Ok(items) => Self::Items(items),
            Err(_) => Self::Unknown(bytes.to_vec()),
        }
    }

    /// `None` where a block is neither certificate nor list, such as a public key.
    fn pem(bytes: &[u8]) -> Option<Self> {
        let (mut certificates, mut lists) = (Vec::new(), Vec::new());
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            match section.ok()? {
                (SectionKind::Certificate, der) => certificates.push(der),
                (SectionKind::Crl, der) => lists.push(der),
                _ => return None,
            }
        }
        (!certificates.is_empty() || !lists.is_empty()).then_some(Self::Pem { certificates, lists })
    }

    fn der(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&0x30) {
            return None;
        }
        if X509Certificate::from_der(bytes).is_ok() {
            return Some(Self::Pem { certificates: vec![bytes.to_vec()], lists: Vec::new() });
        }
        if CertificateRevocationList::from_der(bytes).is_ok() {
            return Some(Self::Pem { certificates: Vec::new(), lists: vec![bytes.to_vec()] });
        }
        // OCSPResponse: a sequence whose first element is ENUMERATED, one byte (RFC 6960, §4.2.1).
        let head = match bytes.get(1)? {
            0x81 => 3,
            0x82 => 4,
            0..=0x7f => 2,
            _ => return None,
        };
        let answer = bytes.get(head..)?.starts_with(&[0x0a, 0x01]);
        answer.then(|| Self::Answer(bytes.to_vec()))
    }

    /// The kinds of evidence in it; none where it is something that goes with evidence, or nothing that is known.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Evidence(kind, _) => vec![*kind],
            Self::GpuDocument(_) => vec![Kind::NvidiaGpu],
            Self::Items(items) => {
                let mut kinds: Vec<Kind> = items.iter().map(|item| Kind::of(item.kind())).collect();
                kinds.dedup();
                kinds
            }
            _ => Vec::new(),
        }
    }
}

impl GpuDocument {
    /// `{"evidence": …, "certificate": …}`: report in base64 or hexadecimal, chain in PEM or that in base64.
    fn of(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let report = text("evidence").filter(|_| value.get("type").is_none())?;
        let report = unhexed(report.as_bytes()).or_else(|| {
            let bytes = base64(report)?;
            Some(unhexed(&bytes).unwrap_or(bytes))
        })?;
        let chain = text("certificate")?;
        let chain = if chain.contains("-----BEGIN ") { chain.as_bytes().to_vec() } else { base64(chain)? };
        match Content::pem(&chain)? {
            Content::Pem { certificates, .. } => Some(Self { report: without_padding(report), certificates }),
            _ => None,
        }
    }
}

/// The one kind of evidence that files hold, where that is certain.
pub(super) fn recognised(files: &[GivenFile]) -> Result<Kind, Failure> {
    let mut kinds: Vec<Kind> = files.iter().flat_map(|file| Content::of(&file.bytes).kinds()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let names = |kinds: &[Kind]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    match kinds.as_slice() {
        [kind] => Ok(*kind),
        [] => {
            let paths: Vec<_> = files.iter().map(|file| file.path.display().to_string()).collect();
            let all = names(&Kind::ALL);
            Err(Failure::usage(format!(
                "{}: no evidence that is known by its beginning: give --kind: {all}",
                paths.join(" ")
            )))
        }
        several => Err(Failure::usage(format!("evidence of several kinds: say which by --kind: {}", names(several)))),
    }
}

/// What bytes are, by what only their kind begins with.
fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let word = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word));
    let quote = bytes.get(2..).is_some_and(|sized| sized.starts_with(GENERATED));
    if bytes.starts_with(b"HCLA") {
        return Some(Kind::AzureSnpVtpm);
    }
    if bytes.len() == limits::SNP_REPORT && matches!(word(0), Some(2..=5)) {
        return Some(Kind::SevSnp);
    }
    // Version 4 or 5, key of kind 2, a TDX guest.
    if matches!(word(0), Some(0x0002_0004 | 0x0002_0005)) && word(4) == Some(0x81) {
        return Some(Kind::Tdx);
    }
    if bytes.starts_with(GET_MEASUREMENTS) {
        return Some(Kind::NvidiaGpu);
    }
    if bytes.starts_with(GENERATED) || quote || is_container(bytes) {
        return Some(Kind::Tpm2);
    }
    if word(0) == Some(0) && bytes.get(SPEC_ID).is_some_and(|id| id == b"Spec ID Event03") {
        return Some(Kind::TcgLog);
    }
    let mut words = bytes.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let ascii = words.next() == Some(b"10") && words.next().is_some_and(|hash| unhexed(hash).is_some());
    let binary = word(0) == Some(10) && bytes.get(28..).is_some_and(|name| name.starts_with(b"ima"));
    (ascii || binary).then_some(Kind::ImaLog)
}

/// Signature and `TPMS_ATTEST`, each after its length in eight bytes.
fn is_container(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    let length =
        length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= limits::TPM_STRUCTURE);
    length.and_then(|length| bytes.get(length.saturating_add(16)..)).is_some_and(|rest| rest.starts_with(GENERATED))
}

/// Whether the first entry of a table of certificates names a place in it where DER begins.
fn is_table(bytes: &[u8]) -> bool {
    let word = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word));
    let place = |at: usize| word(at).and_then(|word| usize::try_from(word).ok());
    let (Some(start), Some(length)) = (place(16), place(20)) else { return false };
    let whole = start.checked_add(length).is_some_and(|end| end <= bytes.len());
    whole && start >= 2 * TABLE_ENTRY && length > 0 && bytes.get(start) == Some(&0x30)
}

/// Hexadecimal with white space, commas and `0x`, as tools print it: the bytes. `None` where there is anything else.
pub(super) fn unhexed(text: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(text).ok()?;
    let separates = |c: char| c.is_ascii_whitespace() || c == ',' || c == '\0';
    let words = text.split(separates).filter(|word| !word.is_empty());
    let digits: String =
        words.map(|word| word.strip_prefix("0x").or(word.strip_prefix("0X")).unwrap_or(word)).collect();
    if digits.is_empty() { None } else { hex::decode(digits).ok() }
}

/// A GPU's report without the zeros that fill the driver's buffer behind it: request, response, its record, nonce,
/// opaque data, signature (DMTF DSP0274, 10.11).
fn without_padding(mut bytes: Vec<u8>) -> Vec<u8> {
    const HEADS: usize = 37 + 8;
    let record = bytes
        .get(42..45)
        .and_then(<[u8]>::first_chunk::<3>)
        .map(|[low, middle, high]| usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16);
    let opaque = record.and_then(|record| {
        let at = HEADS.checked_add(record)?.checked_add(32)?;
        let length = bytes.get(at..)?.first_chunk().map(|length| u16::from_le_bytes(*length))?;
        at.checked_add(2 + usize::from(length) + 96)
    });
    if let Some(end) = opaque
        && bytes.get(end..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    {
        bytes.truncate(end);
    }
    bytes
}

impl Kind {
    fn of(kind: EvidenceKind) -> Self {
        match kind {
            EvidenceKind::Tpm2 => Self::Tpm2,
            EvidenceKind::SevSnp => Self::SevSnp,
            EvidenceKind::Tdx => Self::Tdx,
            EvidenceKind::NvidiaGpu => Self::NvidiaGpu,
            EvidenceKind::AzureSnpVtpm => Self::AzureSnpVtpm,
        }
    }
}

/// Reads a file of evidence whole, none without content.
pub(super) fn read(path: &Path, limit: usize) -> Result<GivenFile, Failure> {
    let bytes = crate::context::read_capped(path, limit as u64)?;
    if bytes.is_empty() {
        return Err(Failure::usage(format!("{}: the file is empty", path.display())));
    }
    Ok(GivenFile { path: path.to_owned(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> Vec<Kind> {
        Content::of(bytes).kinds()
    }

    fn report(version: u8) -> Vec<u8> {
        let mut report = vec![0; limits::SNP_REPORT];
        report[0] = version;
        report
    }

    #[test]
    fn evidence_is_told_by_its_beginning() {
        assert_eq!(kind(&report(2)), [Kind::SevSnp]);
        assert_eq!(kind(&report(5)), [Kind::SevSnp]);
        for unlike in [report(1), report(6), report(3)[1..].to_vec(), vec![0; 64], b"hello".to_vec(), Vec::new()] {
            assert!(kind(&unlike).is_empty(), "{:?}", unlike.first());
        }
        assert_eq!(kind(b"HCLA and more"), [Kind::AzureSnpVtpm]);
        assert_eq!(kind(b"\x04\x00\x02\x00\x81\x00\x00\x00 and more"), [Kind::Tdx]);
        assert!(kind(b"\x04\x00\x02\x00\x00\x00\x00\x00 a quote of SGX").is_empty());
        assert_eq!(kind(b"\x11\xe0\x01\xff and more"), [Kind::NvidiaGpu]);
        assert_eq!(kind(b"\xff\x54\x43\x47\x80\x18"), [Kind::Tpm2]);
        assert_eq!(kind(b"\x00\x91\xff\x54\x43\x47\x80\x18"), [Kind::Tpm2]);
        let container = [&2_u64.to_le_bytes()[..], b"si", &4_u64.to_le_bytes(), GENERATED].concat();
        assert_eq!(kind(&container), [Kind::Tpm2]);
        assert_eq!(kind(format!("10 {} ima-ng sha256:00 /init\n", "ab".repeat(20)).as_bytes()), [Kind::ImaLog]);
        assert!(kind(b"10 green bottles").is_empty());
    }

    #[test]
    fn hexadecimal_stands_for_its_bytes_however_it_is_spaced() {
        let digits = hex::encode(report(3));
        let pairs: Vec<&str> = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect();
        let spaced = format!("0x{}", pairs.join(", 0x"));
        for text in [digits.clone(), format!("0x{digits}\n"), digits.to_uppercase(), spaced, format!("{digits}\0")] {
            assert_eq!(kind(text.as_bytes()), [Kind::SevSnp], "{}", &text[..16]);
        }
        assert_eq!(unhexed(b"0"), None);
        assert_eq!(unhexed(b" \n"), None);
        assert_eq!(unhexed(b"0x0x00"), None);
    }

    #[test]
    fn a_drivers_buffer_ends_where_its_report_does() {
        let report = [
            &b"\x11\xe0\x01\xff"[..],
            &[7; 33],
            b"\x11\x60\x00\x07\x01\x04\x00\x00",
            &[1; 4],
            &[2; 32],
            &[3, 0, 9, 9, 9],
            &[4; 96],
        ]
        .concat();
        let padded = [&report[..], &[0; 100]].concat();
        let Content::Evidence(Kind::NvidiaGpu, read) = Content::of(&padded) else { panic!("no report") };
        assert_eq!(read, report);
        // What is not zero stays, and is refused by who judges it.
        let followed = [&report[..], &[0, 1]].concat();
        let Content::Evidence(_, read) = Content::of(&followed) else { panic!("no report") };
        assert_eq!(read, followed);
    }

    #[test]
    fn evidence_with_certificates_in_it_is_evidence() {
        let pem = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(matches!(Content::of(pem), Content::Pem { .. }));
        assert!(matches!(Content::of(&[&b"subject=somebody\n"[..], pem, b"\0"].concat()), Content::Pem { .. }));
        assert_eq!(kind(&[&b"\x04\x00\x02\x00\x81\x00\x00\x00"[..], pem].concat()), [Kind::Tdx]);
        // Cut off at its beginning it is nothing that is known, and no file of certificates.
        assert!(matches!(Content::of(&[&b"\x02\x00\x81\xff"[..], pem].concat()), Content::Unknown(_)));
    }

    #[test]
    fn a_table_is_told_by_its_form() {
        let entry = |start: u32, length: u32| [&[7; 16][..], &start.to_le_bytes(), &length.to_le_bytes()].concat();
        let table = [entry(48, 2), entry(0, 0), vec![0x30, 0]].concat();
        assert!(matches!(Content::of(&table), Content::Table(_)));
        for unlike in [[entry(48, 3), entry(0, 0), vec![0x30, 0]].concat(), [entry(24, 2), vec![0x30, 0]].concat()] {
            assert!(matches!(Content::of(&unlike), Content::Unknown(_)));
        }
    }

    #[test]
    fn documents_are_told_by_their_members() {
        assert_eq!(kind(br#"{"Quote": {}}"#), [Kind::Tpm2]);
        assert_eq!(
            kind(br#"[{"type": "tdx", "quote": "AAAA"}, {"type": "sev-snp", "report": "AAAA"}]"#),
            [Kind::Tdx, Kind::SevSnp]
        );
        assert_eq!(kind(br#"{"evidence": [{"type": "tdx", "quote": "AAAA"}]}"#), [Kind::Tdx]);
        assert!(matches!(Content::of(br#"{"tcb_info": "{}"}"#), Content::Collateral(_)));
        // A key that is given twice is believed by nobody.
        assert!(matches!(Content::of(br#"{"type": "tdx", "quote": "AAAA", "quote": "AAAB"}"#), Content::Unknown(_)));
        assert!(kind(b"[]").is_empty() && kind(b"{").is_empty());
    }

    #[test]
    fn without_a_kind_it_must_be_certain() {
        let file = |bytes: &[u8]| GivenFile { path: "f".into(), bytes: bytes.to_vec() };
        assert_eq!(recognised(&[file(&report(3)), file(b"-----BEGIN ")]).ok(), Some(Kind::SevSnp));
        let several = recognised(&[file(&report(3)), file(b"HCLA")]).map_err(|failure| failure.message).unwrap_err();
        assert!(several.contains("sev-snp, azure-snp-vtpm"), "{several}");
        let none = recognised(&[file(b"hello")]).map_err(|failure| failure.message).unwrap_err();
        assert!(none.contains("give --kind"), "{none}");
    }
}
