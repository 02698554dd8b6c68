//! PCR values and the quote over them.

use crate::{error::CollectError, tcti::TctiConfig, tpm::Step};
use std::collections::BTreeMap;
use strongroom_protocol::{
    Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection, Pcrs},
    sha256,
};
use tss_esapi::{
    Context,
    handles::KeyHandle,
    interface_types::{algorithm::HashingAlgorithm, session_handles::AuthSession},
    structures::{Attest, AttestInfo, Data, PcrSelectionList, PcrSelectionListBuilder, PcrSlot, SignatureScheme},
    traits::Marshall as _,
};

/// A program that extends a selected PCR without pause is a fault of the selection.
const ATTEMPTS: u32 = 8;
/// `TPML_DIGEST` holds eight.
const BATCH: usize = 8;

/// A quote and the values that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// `TPMS_ATTEST`.
    pub message: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
    /// The values, of exactly the PCRs selected.
    pub pcrs: Pcrs,
}

/// Reads, quotes, and starts again if a PCR changed in between. The digest in the quote decides,
/// not the TPM's update counter, which other PCRs move too.
pub(crate) fn quote(
    ctx: &mut Context,
    tcti: &TctiConfig,
    ak: KeyHandle,
    extra_data: &[u8; 32],
    selection: &PcrSelection,
) -> Result<Quote, Step> {
    let list = selection_list(selection.bank, &selection.pcrs)?;
    for _ in 0..ATTEMPTS {
        let pcrs = read_pcrs(ctx, tcti, selection)?;
        let extra_data = Data::try_from(extra_data.as_slice())?;
        let (attest, signature) = ctx.execute_with_session(Some(AuthSession::Password), |ctx| {
            ctx.quote(ak, extra_data, SignatureScheme::Null, list.clone())
        })?;
        if is_of(&attest, &pcrs) {
            return Ok(Quote { message: attest.marshall()?, signature: signature.marshall()?, pcrs });
        }
        tracing::debug!(device = %tcti, "a PCR changed between reading and quoting");
    }
    Err(CollectError::PcrsUnstable { device: tcti.clone(), attempts: ATTEMPTS }.into())
}

/// Whether the quote's digest is of these values: SHA-256, the hash that the AK signs with.
fn is_of(attest: &Attest, pcrs: &Pcrs) -> bool {
    let AttestInfo::Quote { info } = attest.attested() else { return false };
    let values: Vec<u8> = pcrs.values.0.values().flat_map(|value| value.0.iter().copied()).collect();
    info.pcr_digest().as_slice() == sha256(&values)
}

/// Reads the selected PCRs, as many at a time as the TPM gives.
pub(crate) fn read_pcrs(ctx: &mut Context, tcti: &TctiConfig, selection: &PcrSelection) -> Result<Pcrs, Step> {
    let mut values = BTreeMap::new();
    loop {
        let left: Vec<u8> =
            selection.pcrs.iter().copied().filter(|pcr| !values.contains_key(pcr)).take(BATCH).collect();
        let Some(&first) = left.first() else { break };
        let list = selection_list(selection.bank, &left)?;
        let (_, given, digests) = ctx.execute_without_session(|ctx| ctx.pcr_read(list))?;
        // What was read is labelled by the selection that the TPM returns, not by what was asked.
        let read: Vec<u8> = left.into_iter().filter(|pcr| is_selected(&given, selection.bank, *pcr)).collect();
        if read.is_empty() || read.len() != digests.value().len() {
            let bank = bank_name(selection.bank);
            return Err(CollectError::BankInactive { device: tcti.clone(), bank, pcr: first }.into());
        }
        values.extend(read.into_iter().zip(digests.value().iter().map(|digest| Bytes::from(digest.as_slice()))));
    }
    Ok(Pcrs { bank: selection.bank, values: PcrMap(values) })
}

fn is_selected(list: &PcrSelectionList, bank: PcrBank, pcr: u8) -> bool {
    let Ok(slot) = slot(pcr) else { return false };
    list.get_selections().iter().any(|s| s.hashing_algorithm() == algorithm(bank) && s.is_selected(slot))
}

fn selection_list(bank: PcrBank, pcrs: &[u8]) -> Result<PcrSelectionList, Step> {
    let slots = pcrs.iter().map(|pcr| slot(*pcr)).collect::<Result<Vec<_>, _>>()?;
    Ok(PcrSelectionListBuilder::new().with_selection(algorithm(bank), &slots).build()?)
}

fn slot(pcr: u8) -> Result<PcrSlot, Step> {
    let bit = 1_u32.checked_shl(u32::from(pcr)).ok_or(CollectError::Selection)?;
    Ok(PcrSlot::try_from(bit)?)
}

fn algorithm(bank: PcrBank) -> HashingAlgorithm {
    match bank {
        PcrBank::Sha256 => HashingAlgorithm::Sha256,
        PcrBank::Sha384 => HashingAlgorithm::Sha384,
    }
}

fn bank_name(bank: PcrBank) -> &'static str {
    match bank {
        PcrBank::Sha256 => "sha256",
        PcrBank::Sha384 => "sha384",
    }
}
