//! Azure's evidence for people who have only a part of what a vault has: each row judged by itself.

use super::{AzureRefused, Envelope, RuntimeData, check_paravisor, report_evidence};
use crate::{
    Report, Verdict,
    quote::{ExaminedQuote, Found, Known, examine_found},
    rows,
    snp::{self, AttestationReport, ExaminedSnp, Place, SnpExpectation, SnpRequirements, SnpRoots, SnpStore},
};
use strongroom_protocol::bytes::Bytes;

/// What became of each row of Azure's evidence, and what could be read of it.
#[derive(Debug, Clone)]
pub struct ExaminedAzure {
    /// Row S12, those of the report, and those of the quote if there was one.
    pub report: Report,
    /// The report in the envelope; `None` where there is no envelope.
    pub snp: Option<ExaminedSnp>,
    /// The runtime data; `None` where they cannot be read. Believe them only if S3, S5, S11 and S12 passed
    /// ([`Self::vouches`]).
    pub runtime: Option<RuntimeData>,
    /// The quote; `None` where none was given.
    pub quote: Option<ExaminedQuote>,
    /// Why S12 was refused, where it was.
    pub refused: Option<AzureRefused>,
}

impl ExaminedAzure {
    /// True if AMD's key signed the report, an accepted paravisor asked for it, and the AK that it names has signed a
    /// quote of these values.
    pub fn vouches(&self) -> bool {
        ["S3", "S5", "S11", "S12"].iter().all(|row| self.report.verdict(row) == Some(Verdict::Passed))
            && self.quote.as_ref().is_some_and(ExaminedQuote::vouches)
    }
}

/// [`super::verify`] for people. `quote` is what was found of the quote, with what is known of it: its AK is that of
/// the runtime data, whatever `known` says.
pub fn examine(
    hcl_report: &[u8],
    certificates: &[Bytes],
    quote: Option<(&Found<'_>, &Known<'_>)>,
    requirements: &SnpRequirements,
    roots: &SnpRoots,
    store: &SnpStore<'_>,
    at: u64,
) -> ExaminedAzure {
    let envelope = Envelope::parse(hcl_report);
    let runtime = envelope.clone().and_then(|envelope| RuntimeData::parse(envelope.runtime_data));
    let binding = envelope.clone().and_then(|envelope| match AttestationReport::parse(envelope.report) {
        Ok(report) => envelope.check_binding(&report).and_then(|()| {
            if requirements.paravisors.is_empty() { Ok(()) } else { check_paravisor(&report, requirements) }
        }),
        Err(refused) => Err(refused.into()),
    });
    // A report that cannot be read is row S1's; S12 only cannot be judged then.
    let (row, refused) = match binding.and(runtime.as_ref().map(|_| ()).map_err(Clone::clone)) {
        Ok(()) if requirements.paravisors.is_empty() => {
            // The binding alone shows that some guest wrote them, and anybody can launch one.
            let unknown = "the report holds the runtime data, and whose they are was not judged: the launch \
                           measurements of accepted paravisors were not given (snp.paravisors of the settings)";
            ((Verdict::NotChecked, Some(unknown.to_owned())), None)
        }
        Ok(()) => ((Verdict::Passed, None), None),
        Err(AzureRefused::Snp(_)) => ((Verdict::NotChecked, Some("the report cannot be read".to_owned())), None),
        Err(refused) => ((Verdict::Refused, Some(refused.to_string())), Some(refused)),
    };
    let mut report = Report::of_each(&rows::AZURE, |_| row.clone());
    let snp = envelope.ok().map(|envelope| {
        let expect = SnpExpectation { report_data: Some(envelope.report_data()), requirements };
        snp::examine_at(&report_evidence(&envelope, certificates), &expect, roots, store, at, Place::Azure)
    });
    report.rows.extend(snp.iter().flat_map(|snp| snp.report.rows.clone()));
    let runtime = runtime.ok();
    let quote = quote.map(|(found, known)| {
        let known = Known { ak: runtime.as_ref().map(|runtime| &runtime.ak), ek_name: None, ..*known };
        let mut quote = examine_found(found, &known);
        for row in &mut quote.report.rows {
            let why = match row.row {
                "Q4" => "the report vouches for the AK, which has no EK here",
                "Q5" => "the AK lies in no hierarchy whose counters are the TPM's own",
                _ => continue,
            };
            row.verdict = Verdict::NotChecked;
            row.note = Some(why.to_owned());
        }
        quote
    });
    // The report was made at the start of the machine: it is of this request only through the quote.
    let bound = quote.as_ref().and_then(|quote| quote.report.verdict("Q3"));
    if bound != Some(Verdict::Passed) {
        for row in report.rows.iter_mut().filter(|row| row.row == "S9" && row.verdict == Verdict::Passed) {
            row.verdict = Verdict::NotChecked;
            row.note = Some(
                "the report holds its runtime data; what the request binds is the quote's, and row Q3 did not pass"
                    .to_owned(),
            );
        }
    }
    report.rows.extend(quote.iter().flat_map(|quote| quote.report.rows.clone()));
    ExaminedAzure { report, snp, runtime, quote, refused }
}
