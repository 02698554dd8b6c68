//! Quotes for `evidence verify`: rows E1 to E6, Q1 to Q8, and the rows of the logs beside them.

use super::{
    given::{Ak, BareKey},
    logs,
    pcrs::ReferenceFile,
    quote_file::QuoteFile,
    verdict::Found,
};
use crate::output::Failure;
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fmt::Write as _};
use strongroom::protocol::sha256;
use strongroom_attest::{
    EkIdentity, Refused, TrustAnchors, Verdict,
    enrol::{check_ak, verify_ek_certificate},
    log::BootLog,
    quote::{self, ExaminedQuote, Known, Values},
    rows::{ENROLMENT, Row},
    tpm::{Attest, HashAlg, Public, Signature, qualified_name},
    workload::{self, Sources},
};

/// What a person gives beside a quote.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub ak: Option<Ak>,
    /// The EK certificate, then intermediates, DER.
    pub certificates: Vec<Vec<u8>>,
    pub roots: Option<TrustAnchors>,
    /// Unix seconds.
    pub at: u64,
    pub bind: Option<Vec<u8>>,
    pub reference: Option<ReferenceFile>,
    pub allow_violations: bool,
}

/// What an EK certificate is good for here.
struct Endorsement {
    /// Rows E1 to E3.
    rows: [(Verdict, Option<String>); 3],
    identity: Option<EkIdentity>,
}

pub(super) fn judge(file: &QuoteFile, beside: &Beside) -> Result<Found, Failure> {
    let (reading, signer) = best_reading(file, beside.ak.as_ref());
    let attest = Attest::parse(&file.message).ok();
    let mut endorsement = Endorsement::of(beside);
    // The TPM itself computes the signer's qualified name from the EK's public area: where it is that of the default
    // template with the certified key, the quote proves that this is the EK.
    let area = match &beside.ak {
        Some(Ak::Area(public)) => Some(public),
        _ => None,
    };
    let proved = endorsement.identity.as_ref().filter(|identity| {
        let expected = area.and_then(|ak| qualified_name(identity.ek_name(), &ak.name()));
        expected.is_some() && expected == attest.as_ref().map(|attest| attest.qualified_signer.clone())
    });
    let ek_name = proved.map(|identity| identity.ek_name().to_vec());
    if ek_name.is_some() {
        endorsement.rows[2] = (Verdict::Passed, None);
    }
    let quoted = file.quoted_bank();
    let wanted = beside.reference.as_ref().map(|reference| &reference.values);
    let wanted = wanted.and_then(|values| values.bank(|bank| Some(bank) == quoted).or_else(|| values.bank(|_| true)));
    let wanted: Option<(HashAlg, BTreeSet<u8>)> = wanted.map(|(bank, values)| (bank, values.keys().copied().collect()));
    let known = Known {
        ak: signer.as_ref(),
        ek_name: ek_name.as_deref(),
        extra_data: beside.bind.as_deref(),
        wanted: wanted.as_ref().map(|(bank, pcrs)| (*bank, pcrs)),
    };
    let found = quote::Found {
        message: &file.message,
        signature: &reading,
        values: file.values.as_ref().map(|(bank, values)| (*bank, values)),
        exact: file.exact,
    };
    let examined = quote::examine_found(&found, &known);
    if let Some(refused) = &examined.malformed {
        return Ok(Found::malformed(refused.to_string()));
    }
    let mut answer = Found { rows: enrolment(&endorsement, file, area), ..Found::default() };
    answer.rows.extend(examined.report.rows.iter().cloned());
    answer.quoted.clone_from(&examined.values);
    for bank in &file.beside {
        answer.not_compared("Q7", *bank, "the quote is of another bank");
    }
    answer.vouched.insert("tpm", examined.vouches());
    answer.claims.insert("tpm".to_owned(), claims(&examined, area));
    answer.text.push_str(&summary(&examined));
    if let Some(identity) = &endorsement.identity {
        answer.members.insert("ek".to_owned(), json!(identity));
        let _ = writeln!(answer.text, "EK certificate: {}", crate::plain::line(&identity.to_string()));
    }
    beside_quote(&mut answer, file, &examined, beside)?;
    Ok(answer)
}

/// The reading of the signature that the AK made, with the AK as a key of its scheme; the first if there is none.
pub(super) fn best_reading(file: &QuoteFile, ak: Option<&Ak>) -> (Vec<u8>, Option<Public>) {
    let read = |signature: &Vec<u8>| {
        let scheme = Signature::parse(signature).ok().map(|signature| signature.scheme());
        (signature.clone(), ak.and_then(|ak| ak.signing(scheme)))
    };
    let good = |(signature, ak): &(Vec<u8>, Option<Public>)| {
        let found = quote::Found { message: &file.message, signature, values: None, exact: false };
        let known = Known { ak: ak.as_ref(), ..Known::default() };
        quote::examine_found(&found, &known).report.verdict("Q1") == Some(Verdict::Passed)
    };
    let readings = || file.signatures.iter().map(read);
    readings().find(good).or_else(|| readings().next()).unwrap_or_default()
}

impl Endorsement {
    fn of(beside: &Beside) -> Self {
        let later = |why: &str| (Verdict::NotChecked, Some(why.to_owned()));
        let chain: Vec<&[u8]> = beside.certificates.iter().map(Vec::as_slice).collect();
        let Some(leaf) = chain.first() else {
            let why = "no EK certificate was given";
            return Self { rows: [later(why), later(why), later(why)], identity: None };
        };
        let e3 = "the EK's public area was not given";
        let key = BareKey::of_certificate(leaf);
        let default = key.as_ref().and_then(BareKey::default_ek);
        // Any EK will do for the rows before E3.
        let ek = default.or_else(|| {
            BareKey::Ecc { curve: strongroom_attest::tpm::Curve::P256, x: vec![1], y: vec![1] }.default_ek()
        });
        let Some(ek) = ek else { return Self { rows: [later(e3), later(e3), later(e3)], identity: None } };
        let none = TrustAnchors::default();
        let roots = beside.roots.as_ref().unwrap_or(&none);
        let outcome = verify_ek_certificate(&chain, &ek, roots, &[], beside.at);
        let no_roots = beside.roots.is_none();
        let e2 = match &outcome {
            _ if no_roots => later("no roots were given"),
            _ => later("path and validity hold; revocation was not checked: no CRL was given"),
        };
        let passed = (Verdict::Passed, None);
        let rows = match &outcome {
            Err(refused) if refused.row() == "E1" => {
                let why = "an earlier row refused";
                [(Verdict::Refused, Some(refused.to_string())), later(why), later(why)]
            }
            Err(refused) if refused.row() == "E2" && !no_roots => {
                [passed, (Verdict::Refused, Some(refused.to_string())), later("an earlier row refused")]
            }
            _ => [passed, e2, later(e3)],
        };
        Self { rows, identity: outcome.ok() }
    }
}

fn enrolment(endorsement: &Endorsement, file: &QuoteFile, area: Option<&Public>) -> Vec<Row> {
    let later = |why: &str| (Verdict::NotChecked, Some(why.to_owned()));
    let e4 = match area.or(file.ak.as_ref()) {
        None => later("the AK's public area was not given: its attributes are not known"),
        Some(ak) => match check_ak(ak) {
            Ok(_) if area.is_some() => (Verdict::Passed, None),
            Ok(_) => later("the AK beside the quote has the right attributes; nobody vouches that it is the AK"),
            Err(refused) => (Verdict::Refused, Some(refused.to_string())),
        },
    };
    let presented = area.map(|ak| (sha256(&ak.name()), ak.name()));
    let e6 = match (file.ak_sha256, presented) {
        (Some(said), Some((sha256, name))) if said != sha256 => {
            let enrolled = format!("the one whose name has the SHA-256 {}", hex::encode(said));
            (Verdict::Refused, Some(Refused::E6OtherAk { enrolled, presented: hex::encode(name) }.to_string()))
        }
        _ => later("no record of a node was given"),
    };
    let [e1, e2, e3] = endorsement.rows.clone();
    let verdicts = [e1, e2, e3, e4, later("only the TPM itself can answer a credential"), e6];
    let row = |((row, title), (verdict, note)): (&(&'static str, &'static str), _)| Row { row, title, verdict, note };
    ENROLMENT.iter().zip(verdicts).map(row).collect()
}

/// The claims of a quote, as a vault would name them; null where there is no quote to read.
fn claims(examined: &ExaminedQuote, ak: Option<&Public>) -> Value {
    let Some(attest) = &examined.attest else { return Value::Null };
    let (bank, values) = match &examined.values {
        Some((bank, values)) => {
            let values: Map<_, _> =
                values.iter().map(|(pcr, value)| (pcr.to_string(), json!(hex::encode(value)))).collect();
            (json!(bank), Value::Object(values))
        }
        None => (Value::Null, json!({})),
    };
    json!({
        "ak_name": ak.map(|ak| hex::encode(ak.name())),
        "bank": bank,
        "pcrs": values,
        "reset_count": attest.clock_info.reset_count,
        "restart_count": attest.clock_info.restart_count,
        "safe": attest.clock_info.safe,
        "clock": attest.clock_info.clock,
        "firmware_version": format!("{:016x}", attest.firmware_version),
        "qualified_signer": hex::encode(&attest.qualified_signer),
        "tolerances": examined.tolerances,
        "extra_data": hex::encode(&attest.extra_data),
        "scheme": examined.scheme.map(|scheme| scheme.to_string()),
    })
}

fn summary(examined: &ExaminedQuote) -> String {
    let mut text = String::new();
    if let Some(attest) = &examined.attest {
        let counters = &attest.clock_info;
        let _ = writeln!(
            text,
            "quote: reset {} restart {}, clock {} ms{}, firmware {:016x}",
            counters.reset_count,
            counters.restart_count,
            counters.clock,
            if counters.safe { "" } else { " (not safe: it may have gone back)" },
            attest.firmware_version
        );
    }
    if let Some((bank, values)) = &examined.values {
        let pcrs: Vec<_> = values.keys().map(u8::to_string).collect();
        let _ = writeln!(text, "quoted: {bank} PCRs {}", pcrs.join(", "));
    }
    text
}

/// Logs and reference values, held against the values that the quote is of.
fn beside_quote(
    answer: &mut Found,
    file: &QuoteFile,
    examined: &ExaminedQuote,
    beside: &Beside,
) -> Result<(), Failure> {
    let quoted = examined.values.as_ref().map(|(bank, values)| (*bank, values));
    let signed = examined.vouches();
    if let Some(log) = &file.boot_log {
        answer.take(logs::boot_log(log, quoted));
        answer.only_quoted();
        answer.vouched.entry("boot").and_modify(|held| *held &= signed);
    }
    let lists = beside.reference.as_ref().map(|reference| &reference.files);
    if let Some(log) = &file.ima_log {
        if file.ima_offset == 0 {
            answer.take(logs::ima_log(log, quoted, beside.allow_violations, lists));
            if answer.vouched.get("ima") == Some(&true) {
                answer.explained_by_ima();
            }
            answer.vouched.entry("ima").and_modify(|held| *held &= signed);
        } else {
            answer.take(logs::ima_part(log, file.ima_offset));
        }
    }
    if file.boot_log.is_some() || file.ima_log.is_some() {
        workload(answer, file, quoted, signed, beside);
    }
    if let Some(reference) = &beside.reference {
        answer.compare(&reference.values, |bank, pcr| {
            quoted.filter(|(of, _)| *of == bank).and_then(|(_, values)| values.get(&pcr).cloned())
        })?;
    }
    Ok(())
}

/// Row L9: what runs, from logs that lead to the quoted values. Without a caller nobody can say whether it was measured.
fn workload(answer: &mut Found, file: &QuoteFile, quoted: Option<(HashAlg, &Values)>, signed: bool, beside: &Beside) {
    let log = file.boot_log.as_ref().and_then(|bytes| BootLog::parse(bytes).ok());
    let boot = log.as_ref().and_then(|log| {
        let (bank, _) = quoted?;
        Some((log.in_bank(bank), logs::verified(log, quoted?)?))
    });
    let files = file.ima_log.as_ref().filter(|_| file.ima_offset == 0);
    let files = files.and_then(|bytes| logs::measured(bytes, quoted?, beside.allow_violations));
    let sources = Sources {
        boot: boot.as_ref().map(|(log, claims)| (&**log, claims)),
        files: files.as_ref(),
        ..Sources::default()
    };
    let (report, claims) = workload::examine(&sources);
    answer.vouched.insert("workload", signed && report.verdict("L9") == Some(Verdict::Passed));
    answer.rows.extend(report.rows);
    answer.claims.insert("workload".to_owned(), json!(claims));
}
