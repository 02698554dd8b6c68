//! The vTPM of a confidential Azure machine: a report that the paravisor had made at the start, and quotes by the
//! key that the report names.

use crate::{
    collector::{CollectorConfig, Wanted},
    device::{Binding, ReportDevice},
    device_error::DeviceError,
    ek::{kind_of, nv_read},
    error::CollectError,
    quote::{self, Quote},
    tpm::{Step, TpmDevice},
};
use std::time::Duration;
use strongroom_protocol::{
    Bytes,
    evidence::{AzureSnpVtpmEvidence, Evidence, EvidenceKind},
    limits,
};
use tss_esapi::{
    Context,
    abstraction::nv,
    constants::response_code::Tss2ResponseCodeKind as Kind,
    handles::{KeyHandle, NvIndexTpmHandle, PersistentTpmHandle, TpmHandle},
    interface_types::{resource_handles::NvAuth, session_handles::AuthSession},
};

/// The NV index that holds the paravisor's envelope (HCL report).
pub const HCL_REPORT: u32 = 0x0140_0001;
/// The persistent handle of the key that the envelope names `HCLAkPub`.
pub const HCL_AK: u32 = 0x8100_0003;

/// The vTPM. Freshness comes from its quote alone: the report is as old as the machine's start.
pub struct AzureVtpm {
    tpm: TpmDevice,
}

impl AzureVtpm {
    /// The TPM that configuration names; not yet whether it is such a vTPM.
    pub fn open(config: &CollectorConfig) -> Result<Self, CollectError> {
        Ok(Self { tpm: TpmDevice::open_within(&config.tcti, Duration::from_secs(config.tpm_timeout_s))? })
    }
}

impl ReportDevice for AzureVtpm {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::AzureSnpVtpm
    }

    fn check(&self) -> Result<String, CollectError> {
        let length = self.tpm.run("looking for the HCL report", |ctx| {
            attestation_key(ctx)?;
            hcl_report(ctx).map(|report| report.len())
        })?;
        Ok(format!("{}: an HCL report of {length} bytes, and its key", self.tpm.tcti()))
    }

    fn evidence(&self, binding: &Binding<'_>, wanted: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
        let (tcti, extra_data, selection) = (self.tpm.tcti().clone(), binding.tpm(), wanted.selection.clone());
        if selection.bitmap().is_none() {
            return Err(CollectError::Selection);
        }
        let (report, quote) = self.tpm.run("quoting by the HCL's key", move |ctx| {
            let key = attestation_key(ctx)?;
            let report = hcl_report(ctx)?;
            Ok((report, quote::quote(ctx, &tcti, key, &extra_data, &selection)?))
        })?;
        let Quote { message, signature, pcrs } = quote;
        Ok(vec![Evidence::AzureSnpVtpm(AzureSnpVtpmEvidence {
            hcl_report: Bytes(report),
            message: Bytes(message),
            signature: Bytes(signature),
            pcrs,
            certificates: Vec::new(),
        })])
    }
}

/// The envelope as the paravisor wrote it.
fn hcl_report(ctx: &mut Context) -> Result<Vec<u8>, Step> {
    let handle = NvIndexTpmHandle::new(HCL_REPORT)?;
    let object = ctx
        .execute_without_session(|ctx| ctx.tr_from_tpm_public(TpmHandle::NvIndex(handle)))
        .map_err(|error| absent(error, |reason| DeviceError::HclMissing { index: HCL_REPORT, reason }))?;
    let (public, _) = ctx.execute_without_session(|ctx| ctx.nv_read_public(object.into()))?;
    let length = public.data_size();
    let size = |length| DeviceError::Size {
        device: EvidenceKind::AzureSnpVtpm,
        what: "the HCL report",
        length,
        expected: format!("{} to {}", limits::SNP_REPORT, limits::HCL_REPORT),
    };
    if !(limits::SNP_REPORT..=limits::HCL_REPORT).contains(&length) {
        return Err(size(length).into());
    }
    // The owner may read it, as Azure has it; else whoever has the index's own authorisation, which is empty.
    let by_owner =
        ctx.execute_with_session(Some(AuthSession::Password), |ctx| nv::read_full(ctx, NvAuth::Owner, handle));
    match by_owner {
        Err(error) if kind_of(error).is_some_and(is_closed) => nv_read(ctx, HCL_REPORT),
        other => Ok(other?),
    }
}

/// The vTPM's own attestation key.
fn attestation_key(ctx: &mut Context) -> Result<KeyHandle, Step> {
    let handle = PersistentTpmHandle::new(HCL_AK)?;
    let object = ctx
        .execute_without_session(|ctx| ctx.tr_from_tpm_public(TpmHandle::Persistent(handle)))
        .map_err(|error| absent(error, |reason| DeviceError::HclKeyMissing { handle: HCL_AK, reason }))?;
    Ok(object.into())
}

/// A handle that the TPM does not know, told from a TPM that is busy.
fn absent(error: tss_esapi::Error, missing: impl FnOnce(String) -> DeviceError) -> Step {
    match kind_of(error) {
        Some(Kind::Handle | Kind::Value | Kind::ReferenceH0 | Kind::NvUninitialized) => {
            missing(error.to_string()).into()
        }
        _ => Step::Tpm(error),
    }
}

fn is_closed(kind: Kind) -> bool {
    matches!(kind, Kind::NvAuthorization | Kind::AuthFail | Kind::BadAuth | Kind::AuthUnavailable | Kind::AuthType)
}
