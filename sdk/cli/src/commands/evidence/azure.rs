//! Evidence of Azure's confidential machines for `evidence verify`: row S12, those of the report, those of the quote.

use super::{
    given::Ak,
    hardware::Grounds,
    quote_file::QuoteFile,
    sev_snp::{compare, describe},
    tpm2::best_reading,
    verdict::Found,
};
use crate::output::Failure;
use serde_json::{Map, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use strongroom::protocol::{
    bytes::Bytes,
    claims::AzureClaims,
    evidence::{AzureSnpVtpmEvidence, PcrBank},
    sha256,
};
use strongroom_attest::{
    azure::{AzureRefused, Envelope, ExaminedAzure, RuntimeData, examine},
    quote::{self, Known},
    rows::QUOTE,
    snp::SnpRefused,
    tpm::HashAlg,
};

/// The envelope, with what lay beside it.
#[derive(Debug)]
pub(super) struct Given {
    envelope: Vec<u8>,
    certificates: Vec<Bytes>,
    quote: Option<QuoteFile>,
}

impl Given {
    /// An envelope as the NV index gives it.
    pub(super) fn of_envelope(envelope: Vec<u8>) -> Self {
        Self { envelope, certificates: Vec::new(), quote: None }
    }

    pub(super) fn of_item(item: AzureSnpVtpmEvidence) -> Self {
        let quote = QuoteFile::of_parts(item.message, item.signature, item.pcrs);
        Self { envelope: item.hcl_report.0, certificates: item.certificates, quote: Some(quote) }
    }

    /// The AK of the runtime data, by which a signature without its scheme is read.
    pub(super) fn ak(&self) -> Option<Ak> {
        let envelope = Envelope::parse(&self.envelope).ok()?;
        RuntimeData::parse(envelope.runtime_data).ok().map(|runtime| Ak::Area(runtime.ak))
    }
}

pub(super) fn judge(given: &Given, grounds: &Grounds) -> Result<Found, Failure> {
    if let Err(refused) = Envelope::parse(&given.envelope)
        && is_no_envelope(&refused)
    {
        return Ok(Found::malformed(refused.to_string()));
    }
    let report = Envelope::parse(&given.envelope).map(|envelope| envelope.report).unwrap_or_default();
    let file = grounds.quote.as_ref().or(given.quote.as_ref());
    let reading = file.map(|file| best_reading(file, given.ak().as_ref()));
    let quoted = file.zip(reading.as_ref()).map(|(file, (signature, _))| quote::Found {
        message: &file.message,
        signature,
        values: file.values.as_ref().map(|(bank, values)| (*bank, values)),
        exact: file.exact,
    });
    let pcrs = grounds.reference.as_ref().map(|reference| &reference.values);
    let bank = file.and_then(QuoteFile::quoted_bank);
    let wanted = pcrs.and_then(|values| values.bank(|of| Some(of) == bank).or_else(|| values.bank(|_| true)));
    let wanted: Option<(HashAlg, BTreeSet<u8>)> = wanted.map(|(bank, values)| (bank, values.keys().copied().collect()));
    let known = Known {
        extra_data: grounds.bound.as_deref(),
        wanted: wanted.as_ref().map(|(bank, pcrs)| (*bank, pcrs)),
        ..Known::default()
    };
    let examined = grounds.with_snp(report, |roots, store| {
        let quote = quoted.as_ref().map(|quoted| (quoted, &known));
        examine(&given.envelope, &given.certificates, quote, &grounds.requirements.snp, roots, store, grounds.at)
    });
    if let Some(refused) = examined.quote.as_ref().and_then(|quote| quote.malformed.as_ref()) {
        return Ok(Found::malformed(refused.to_string()));
    }
    let mut found = Found { rows: examined.report.rows.clone(), ..Found::default() };
    if examined.quote.is_none() {
        let why = "the vTPM's quote was not given: without it, the report may be of any time";
        found.not_checked(&QUOTE, why);
    }
    found.vouched = BTreeMap::from([("azure", examined.vouches())]);
    found.claims = Map::from_iter([("azure".to_owned(), json!(claims(&examined)))]);
    if let Some(snp) = &examined.snp {
        describe(&mut found, snp);
    }
    if let Some(runtime) = &examined.runtime {
        let _ = writeln!(found.text, "machine: {}", runtime.vm_id.as_deref().unwrap_or("without an id"));
        found.members.insert("vm_id".to_owned(), json!(runtime.vm_id));
    }
    let values = examined.quote.as_ref().and_then(|quote| quote.values.as_ref());
    if let Some(reference) = &grounds.reference {
        if !reference.values.0.is_empty() {
            found.compare(&reference.values, |bank, pcr| {
                values.filter(|(of, _)| *of == bank).and_then(|(_, values)| values.get(&pcr).cloned())
            })?;
        }
        if let Some(snp) = examined.snp.as_ref().filter(|_| {
            // A set may be of the vTPM's PCRs alone.
            !reference.snp.is_empty() || reference.values.0.is_empty()
        }) {
            compare(&mut found, snp, &reference.snp.measurements)?;
        }
    }
    Ok(found)
}

/// Bytes that are another thing altogether, rather than an envelope in which something is wrong.
fn is_no_envelope(refused: &AzureRefused) -> bool {
    match refused {
        AzureRefused::S12Length { .. } | AzureRefused::Snp(SnpRefused::S1Length { .. }) => true,
        AzureRefused::S12Envelope { field, .. } => *field == "signature",
        _ => false,
    }
}

/// The claims that a vault would make; `None` where a row refused, or there is no quote with its values.
fn claims(examined: &ExaminedAzure) -> Option<AzureClaims> {
    let (snp, runtime) = (examined.snp.as_ref()?.claims.clone()?, examined.runtime.as_ref()?);
    let (bank, values) = examined.quote.as_ref()?.values.as_ref()?;
    let pcr_bank = match bank {
        HashAlg::Sha256 => PcrBank::Sha256,
        HashAlg::Sha384 => PcrBank::Sha384,
        _ => return None,
    };
    examined.report.holds().then(|| AzureClaims {
        snp,
        vm_id: runtime.vm_id.clone(),
        ak_sha256: hex::encode(sha256(&runtime.ak.spki_der())),
        user_data: runtime.user_data.clone(),
        secure_boot: runtime.secure_boot,
        console_enabled: runtime.console_enabled,
        pcr_bank,
        pcrs: values.iter().map(|(pcr, value)| (*pcr, hex::encode(value))).collect(),
    })
}
