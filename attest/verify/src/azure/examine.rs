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
    /// The runtime data; `None` where they cannot be read. Believe them only if S3, S5, S11 and S12 passed.
    pub runtime: Option<RuntimeData>,
    /// The quote; `None` where none was given.
    pub quote: Option<ExaminedQuote>,
    /// Why S12 was refused, where it was.
    pub refused: Option<AzureRefused>,
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
            let unknown = "which paravisor wrote the runtime data was not judged: no accepted measurements were given";
            ((Verdict::Passed, Some(unknown.to_owned())), None)
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
    report.rows.extend(quote.iter().flat_map(|quote| quote.report.rows.clone()));
    ExaminedAzure { report, snp, runtime, quote, refused }
}
