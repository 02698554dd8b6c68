//! A quote for people who have only a part of what a vault has: rows Q1 to Q8, each judged by itself.

use super::{MEASURED_BY_FIRMWARE, hex};
use crate::{
    Refused, Report, Tolerance, Verdict, rows,
    tpm::{Attest, BankSelection, HashAlg, ParseError, Public, Scheme, Signature, SigningScheme, qualified_name},
};
use std::collections::{BTreeMap, BTreeSet};

/// Values of one bank, by the PCR that they are said to be of.
pub type Values = BTreeMap<u8, Vec<u8>>;

/// Bytes of a bitmap of 24 PCRs.
const BITMAP: usize = 3;

/// A quote as it was found in files.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// `TPMS_ATTEST`.
    pub message: &'a [u8],
    /// `TPMT_SIGNATURE`.
    pub signature: &'a [u8],
    /// Values beside it with their bank, where there are some.
    pub values: Option<(HashAlg, &'a Values)>,
    /// The values came with the quote, so that there must be no others than the quoted ones. False where they were
    /// read apart from it, perhaps all that the TPM has.
    pub exact: bool,
}

/// What is known of what the quote should be. A row whose input is `None` is not checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The AK.
    pub ak: Option<&'a Public>,
    /// The name of the EK that the AK was made under.
    pub ek_name: Option<&'a [u8]>,
    /// What the quote must bind.
    pub extra_data: Option<&'a [u8]>,
    /// PCRs that must be quoted, with their bank. Others may be quoted beside them.
    pub wanted: Option<(HashAlg, &'a BTreeSet<u8>)>,
}

/// What became of each row of a quote, and what could be read of it.
#[derive(Debug, Clone)]
pub struct ExaminedQuote {
    /// Rows Q1 to Q8.
    pub report: Report,
    /// The quote; `None` where Q2 refused. Believe it only if Q1 passed.
    pub attest: Option<Attest>,
    /// The scheme of the signature; `None` where it cannot be read.
    pub scheme: Option<SigningScheme>,
    /// The quoted values with their bank, as the signed selection labels them; `None` where they are not all there.
    /// Believe them only if Q1 and Q7 passed.
    pub values: Option<(HashAlg, Values)>,
    /// Deviations that were accepted.
    pub tolerances: Vec<Tolerance>,
    /// Why the bytes are no quote at all: cut off, or larger than any. There is nothing to judge then.
    pub malformed: Option<Refused>,
}

impl ExaminedQuote {
    /// True if an AK that was given has signed the quote, and the values are those that it is of.
    pub fn vouches(&self) -> bool {
        ["Q1", "Q2", "Q7"].iter().all(|row| self.report.verdict(row) == Some(Verdict::Passed))
            && self.report.verdict("Q6") != Some(Verdict::Refused)
    }
}

/// Judges a quote row by row: each says for itself what is wrong.
pub fn examine_found(found: &Found<'_>, known: &Known<'_>) -> ExaminedQuote {
    let signature = Signature::parse(found.signature);
    let attest = Attest::parse(found.message);
    let malformed = [
        signature.as_ref().err().filter(|error| cut(error)).cloned().map(Refused::Q1Malformed),
        attest.as_ref().err().filter(|error| cut(error)).cloned().map(Refused::Q2Structure),
    ];
    let quote = attest.as_ref().ok();
    let bank = quote.and_then(|attest| one_bank(attest).ok());
    let values = bank.and_then(|(bank, pcrs)| labelled(found, bank, &pcrs).ok().flatten().map(|values| (bank, values)));
    let mut tolerances = Vec::new();
    let (q1, tolerance) = signed(found.message, &signature, known.ak);
    tolerances.extend(tolerance);
    let outcomes: [Outcome; 8] = [
        q1,
        attest.as_ref().map(|_| None).map_err(|error| Refused::Q2Structure(error.clone())),
        with(quote, |attest| bound(attest, known)),
        with(quote, |attest| signer(attest, known)),
        Ok(Some("no lease was given whose boot the quote could be compared with".to_owned())),
        with(quote, |attest| selected(attest, found, known)),
        with(quote, |attest| digest(attest, values.as_ref(), signature.as_ref().ok())),
        measured(values.as_ref()),
    ];
    let judged: BTreeMap<&str, &Outcome> = rows::QUOTE.iter().map(|(row, _)| *row).zip(&outcomes).collect();
    let report = Report::of_each(&rows::QUOTE, |row| match judged.get(row) {
        Some(Ok(None)) => (Verdict::Passed, None),
        Some(Ok(Some(reason))) => (Verdict::NotChecked, Some(reason.clone())),
        Some(Err(refused)) => (Verdict::Refused, Some(refused.to_string())),
        None => (Verdict::NotChecked, None),
    });
    ExaminedQuote {
        report,
        scheme: signature.ok().map(|signature| signature.scheme()),
        attest: attest.ok(),
        values,
        tolerances,
        malformed: malformed.into_iter().flatten().next(),
    }
}

/// `None`: it holds; a text: why it was not checked.
type Outcome = Result<Option<String>, Refused>;

fn with(quote: Option<&Attest>, judge: impl FnOnce(&Attest) -> Outcome) -> Outcome {
    quote.map_or_else(|| Ok(Some("there is no quote to read".to_owned())), judge)
}

/// Whether bytes end too early, or are more than any such structure has.
fn cut(error: &ParseError) -> bool {
    matches!(error, ParseError::Truncated { .. } | ParseError::TooLong { .. } | ParseError::Oversized { .. })
}

fn signed(
    message: &[u8],
    signature: &Result<Signature, ParseError>,
    ak: Option<&Public>,
) -> (Outcome, Option<Tolerance>) {
    let signature = match signature {
        Ok(signature) if signature.scheme().hash == HashAlg::Sha1 => return (Err(Refused::Q1Sha1), None),
        Ok(signature) => signature,
        Err(error) => return (Err(Refused::Q1Malformed(error.clone())), None),
    };
    let Some(ak) = ak else {
        return (Ok(Some("the AK was not given: who signed the quote is not known".to_owned())), None);
    };
    let got = signature.scheme();
    if ak.scheme() != Scheme::Signing(got) {
        let expected = match ak.scheme() {
            Scheme::Signing(scheme) => scheme.to_string(),
            Scheme::Null | Scheme::Other(_) => "by no fixed scheme".to_owned(),
        };
        return (Err(Refused::Q1Scheme { expected, got }), None);
    }
    match signature.verify(ak, message) {
        Some(good) => (Ok(None), good.tolerance()),
        None => (Err(Refused::Q1Signature), None),
    }
}

fn bound(attest: &Attest, known: &Known<'_>) -> Outcome {
    let got = hex(&attest.extra_data);
    match known.extra_data {
        None => Ok(Some(format!("what the quote must bind was not given; it binds {}", or_nothing(&got)))),
        Some(expected) if expected == attest.extra_data => Ok(None),
        Some(expected) => Err(Refused::Q3ExtraData { expected: hex(expected), got }),
    }
}

fn or_nothing(hex: &str) -> &str {
    if hex.is_empty() { "nothing" } else { hex }
}

fn signer(attest: &Attest, known: &Known<'_>) -> Outcome {
    let (Some(ak), Some(ek_name)) = (known.ak, known.ek_name) else {
        return Ok(Some("the EK's name, or the whole public area of the AK, was not given".to_owned()));
    };
    let expected = qualified_name(ek_name, &ak.name()).ok_or_else(|| Refused::Q4Record { ek_name: hex(ek_name) })?;
    if attest.qualified_signer == expected {
        Ok(None)
    } else {
        Err(Refused::Q4Signer { expected: hex(&expected), got: hex(&attest.qualified_signer) })
    }
}

/// The bank and the PCRs that are quoted: one bank, in a bitmap of three bytes.
fn one_bank(attest: &Attest) -> Result<(HashAlg, BTreeSet<u8>), Refused> {
    let refused = || {
        let got: Vec<_> = attest.selection.iter().map(BankSelection::describe).collect();
        let got = if got.is_empty() { "no PCR".to_owned() } else { got.join("; ") };
        Refused::Q6Selection { expected: "one bank, sha256 or sha384".to_owned(), got }
    };
    let [selection] = attest.selection.as_slice() else { return Err(refused()) };
    let bank = HashAlg::from_id(selection.bank).filter(|bank| matches!(bank, HashAlg::Sha256 | HashAlg::Sha384));
    let bank = bank.filter(|_| selection.bitmap.len() == BITMAP).ok_or_else(refused)?;
    let chosen = |pcr: &u8| selection.bitmap.get(usize::from(pcr / 8)).is_some_and(|bits| bits >> (pcr % 8) & 1 == 1);
    let pcrs: BTreeSet<u8> = (0..24).filter(chosen).collect();
    if pcrs.is_empty() { Err(refused()) } else { Ok((bank, pcrs)) }
}

/// The values that the selection names. The selection is signed: it says what they are values of, never their place.
fn labelled(found: &Found<'_>, bank: HashAlg, pcrs: &BTreeSet<u8>) -> Result<Option<Values>, Refused> {
    let Some((of, values)) = found.values else { return Ok(None) };
    if of != bank {
        return Err(Refused::Q6Bank { expected: bank, got: of });
    }
    let missing: Vec<u8> = pcrs.iter().filter(|pcr| !values.contains_key(pcr)).copied().collect();
    let extra: Vec<u8> = values.keys().filter(|pcr| found.exact && !pcrs.contains(pcr)).copied().collect();
    if !(missing.is_empty() && extra.is_empty()) {
        return Err(Refused::Q6Values { missing, extra });
    }
    let expected = bank.digest_length();
    let mut quoted = Values::new();
    for (&pcr, value) in values.iter().filter(|(pcr, _)| pcrs.contains(pcr)) {
        if value.len() != expected {
            return Err(Refused::Q6Length { pcr, expected, actual: value.len() });
        }
        quoted.insert(pcr, value.clone());
    }
    Ok(Some(quoted))
}

fn selected(attest: &Attest, found: &Found<'_>, known: &Known<'_>) -> Outcome {
    let (bank, pcrs) = one_bank(attest)?;
    if let Some((wanted, of)) = known.wanted
        && !(wanted == bank && of.is_subset(&pcrs))
    {
        let list: Vec<_> = of.iter().map(u8::to_string).collect();
        let got: Vec<_> = attest.selection.iter().map(BankSelection::describe).collect();
        return Err(Refused::Q6Selection { expected: format!("{wanted}:{}", list.join(",")), got: got.join("; ") });
    }
    match (labelled(found, bank, &pcrs)?, known.wanted) {
        (None, _) => Ok(Some("the values of the PCRs were not given".to_owned())),
        (Some(_), None) => {
            Ok(Some("the values are labelled as the selection says; which PCRs are wanted was not given".to_owned()))
        }
        (Some(_), Some(_)) => Ok(None),
    }
}

fn digest(attest: &Attest, values: Option<&(HashAlg, Values)>, signature: Option<&Signature>) -> Outcome {
    let Some((_, values)) = values else { return Ok(Some("the quoted values are not all there".to_owned())) };
    let Some(signature) = signature else {
        return Ok(Some("the signature says by which hash, and cannot be read".to_owned()));
    };
    let values: Vec<_> = values.values().map(Vec::as_slice).collect();
    let digest = signature.scheme().hash.digest(&values);
    if digest == attest.pcr_digest {
        Ok(None)
    } else {
        Err(Refused::Q7Digest { expected: hex(&attest.pcr_digest), got: hex(&digest) })
    }
}

fn measured(values: Option<&(HashAlg, Values)>) -> Outcome {
    let Some((_, values)) = values else { return Ok(Some("the quoted values are not all there".to_owned())) };
    for pcr in MEASURED_BY_FIRMWARE {
        let Some(value) = values.get(&pcr) else {
            return Ok(Some(format!("PCR {pcr} was not quoted, so nothing shows that firmware measured the boot")));
        };
        for byte in [0x00, 0xff] {
            if value.iter().all(|&b| b == byte) {
                return Err(Refused::Q8NotMeasured { pcr, byte });
            }
        }
    }
    Ok(None)
}
