//! What a node showed last, as an endorser may propose it: PCR values, the events behind them, files.

use crate::{
    problem::{Answer, Refused},
    release::{ima_state::ImaState, verify::Claims},
    vault::Vault,
};
use strongroom_attest::{
    TpmClaims,
    log::{BootLog, events},
    tpm::HashAlg,
};
use strongroom_protocol::{
    admin::ReferenceValues,
    evidence::{PcrBank, PcrMap},
    requirements::Register,
};
use strongroom_store::model::NodeRow;

/// The PCR that the running kernel extends, in a log of its own.
pub(crate) const IMA_PCR: u8 = 10;

/// The hash of a bank.
pub(crate) fn hash_of(bank: PcrBank) -> HashAlg {
    match bank {
        PcrBank::Sha256 => HashAlg::Sha256,
        PcrBank::Sha384 => HashAlg::Sha384,
    }
}

/// The values that a quote vouches for, without PCR 10: it holds another value with each program that is
/// run, so no set could be matched by it.
pub(crate) fn of_quote(claims: &TpmClaims) -> ReferenceValues {
    let mut pcrs = claims.pcr_values().clone();
    pcrs.0.remove(&IMA_PCR);
    ReferenceValues::of(claims.bank(), pcrs)
}

/// What verified evidence shows, as a set may accept it: a machine's PCRs, or the measurement of a guest's launch.
pub(crate) fn of_claims(claims: &Claims) -> Option<ReferenceValues> {
    let register = |hex: &str| Register::try_from(hex.to_owned()).ok();
    let mut values = ReferenceValues::of(PcrBank::Sha256, PcrMap::default());
    if let Some(tpm) = claims.tpm() {
        return Some(of_quote(tpm));
    } else if let Some(snp) = claims.snp().or(claims.azure().map(|azure| &azure.snp)) {
        values.snp.measurements.extend(register(&snp.measurement));
    } else {
        values.tdx.mrtds.extend(register(&claims.tdx()?.guest.mrtd));
    }
    Some(values)
}

/// What a node showed when it last attested; PCR values alone if it only enrolled, none if it did neither.
pub(crate) async fn of_node(vault: &Vault, node: &NodeRow) -> Answer<Option<ReferenceValues>> {
    let Some(mut values) = node.last_pcrs.clone() else { return Ok(None) };
    // A vault of another time may have kept it.
    values.pcrs.0.remove(&IMA_PCR);
    let log = match node.last_boot_log {
        Some(sha256) => vault.store.blob(sha256).await?,
        None => None,
    };
    if let Some(log) = log {
        let bank = hash_of(values.bank);
        let listed = move || BootLog::parse(&log).map(|log| events::listed(&log, bank)).unwrap_or_default();
        values.events = tokio::task::spawn_blocking(listed).await.map_err(Refused::internal)?;
    }
    let measured = vault.store.measured(node.id).await?;
    if let Some(measured) = measured.filter(|measured| node.last_boot == Some(measured.row.boot)) {
        let ak = node.tpm.as_ref().map(|tpm| tpm.ak_sha256);
        let files = move || {
            let state = ImaState::read(&measured.row)?;
            Ok::<_, Refused>(ak.and_then(|ak| state.measured(ak).map(|measured| measured.files.clone())))
        };
        values.files.accepted = tokio::task::spawn_blocking(files).await.map_err(Refused::internal)??;
    }
    Ok(Some(values))
}
