//! What a TDX quote shows (row T1).

use crate::identity::{Identity, IdentityKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a quote of Intel TDX showed, every part of row T1 held. Hexadecimal is in lower case; registers have 48 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxClaims {
    /// The processor package and its certificate.
    pub platform: TdxPlatform,
    /// What Intel's collateral says of the platform's firmware.
    pub tcb: TdxTcb,
    /// The TDX module that runs the guest.
    pub module: TdxModule,
    /// The guest (trust domain).
    pub guest: TdxGuest,
    /// What the event log explains; null where no log was given.
    pub log: Option<TdxLog>,
}

impl TdxClaims {
    /// The identity of the machine that the quote shows.
    pub fn identity(&self) -> Identity {
        Identity { kind: IdentityKind::TdxPpid, value: self.platform.ppid.clone() }
    }
}

/// The platform, from its provisioning certificate (PCK).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxPlatform {
    /// Provisioning id, 16 bytes: the machine.
    pub ppid: String,
    /// Family, model, stepping, platform, SKU, 6 bytes: what Intel's collateral is looked up by.
    pub fmspc: String,
    /// Id of the provisioning certification enclave, 2 bytes.
    pub pce_id: String,
    /// Security versions of the processor's firmware as certified, 16 bytes.
    pub cpu_svn: String,
    /// Security version of the provisioning certification enclave.
    pub pce_svn: u16,
    /// Instance of a platform of several packages, 16 bytes; null where the certificate has none.
    pub instance_id: Option<String>,
    /// Simultaneous multithreading is on; null where the certificate does not say.
    pub smt: Option<bool>,
}

/// Intel's verdict on the platform's trusted computing base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxTcb {
    /// The verdict over processor, module and quoting enclave.
    pub status: TdxTcbStatus,
    /// Advisories that apply at this level, such as `INTEL-SA-00828`.
    pub advisories: Vec<String>,
    /// When Intel introduced the level that the platform meets, Unix seconds.
    pub date: u64,
    /// The lower `tcbEvaluationDataNumber` of TCB info and enclave identity: how new Intel's data are.
    pub evaluation_data_number: u32,
    /// When the first of collateral, revocation lists and certificates expires, Unix seconds.
    pub collateral_expires: u64,
}

/// Intel's names for the state of a platform. A revoked platform is always refused, so it has no name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TdxTcbStatus {
    /// Nothing is amiss.
    UpToDate,
    /// Software in the guest has to mitigate something.
    #[serde(rename = "SWHardeningNeeded")]
    SwHardeningNeeded,
    /// The platform has to be configured otherwise.
    ConfigurationNeeded,
    /// Both.
    #[serde(rename = "ConfigurationAndSWHardeningNeeded")]
    ConfigurationAndSwHardeningNeeded,
    /// Firmware is behind.
    OutOfDate,
    /// Firmware is behind, and the platform has to be configured otherwise.
    OutOfDateConfigurationNeeded,
    /// The module was updated under the guest, which was started by an older one.
    #[serde(rename = "TDRelaunchAdvised")]
    TdRelaunchAdvised,
    /// The same, and the platform has to be configured otherwise.
    #[serde(rename = "TDRelaunchAdvisedConfigurationNeeded")]
    TdRelaunchAdvisedConfigurationNeeded,
}

impl TdxTcbStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::UpToDate,
        Self::SwHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSwHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::TdRelaunchAdvised,
        Self::TdRelaunchAdvisedConfigurationNeeded,
    ];

    /// Intel's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::TdRelaunchAdvised => "TDRelaunchAdvised",
            Self::TdRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
        }
    }
}

impl fmt::Display for TdxTcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The TDX module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxModule {
    /// MRSEAM: the module's measurement. Its signer is Intel: MRSIGNERSEAM is zero, or the quote was refused.
    pub mr_seam: String,
    /// Security versions with which the guest was launched, 16 bytes.
    pub tee_tcb_svn: String,
    /// Security versions as they are now, 16 bytes; null before TDX 1.5.
    pub current_tee_tcb_svn: Option<String>,
}

/// The guest. It is not under debug, and bound to no service domain: those are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxGuest {
    /// MRTD: what the guest was built from.
    pub mrtd: String,
    /// RTMR0: firmware's configuration, Secure Boot.
    pub rtmr0: String,
    /// RTMR1: boot loader and kernel, as firmware started them.
    pub rtmr1: String,
    /// RTMR2: what the boot loader measured, such as the command line.
    pub rtmr2: String,
    /// RTMR3: what the running system extends.
    pub rtmr3: String,
    /// MRCONFIGID.
    pub mr_config_id: String,
    /// MROWNER.
    pub mr_owner: String,
    /// MROWNERCONFIG.
    pub mr_owner_config: String,
    /// Names of the attribute bits that are set.
    pub attributes: Vec<TdxAttribute>,
    /// XFAM, the extended features that the guest may use: 16 digits, the most significant first.
    pub xfam: String,
    /// Id of this instance of the guest, 32 bytes; null where the quote does not have it.
    pub td_id: Option<String>,
}

/// An attribute bit of a guest that this verifier knows (Intel TDX Module ABI, `ATTRIBUTES`). All others are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TdxAttribute {
    /// Bit 16: a defence against single-stepping is on.
    Icssd,
    /// Bit 27: linear address space separation.
    Lass,
    /// Bit 28: no #VE on pages that the host took away. Always required.
    SeptVeDisable,
    /// Bit 30: supervisor protection keys.
    Pks,
    /// Bit 31: Key Locker.
    Kl,
    /// Bit 62: the guest is a provisioning agent of TDX Connect.
    Tpa,
    /// Bit 63: performance monitoring.
    Perfmon,
}

impl TdxAttribute {
    /// Every attribute with its bit.
    pub const ALL: [(Self, u32); 7] = [
        (Self::Icssd, 16),
        (Self::Lass, 27),
        (Self::SeptVeDisable, 28),
        (Self::Pks, 30),
        (Self::Kl, 31),
        (Self::Tpa, 62),
        (Self::Perfmon, 63),
    ];
}

/// What the event log (CCEL) explains: it leads to the quoted RTMRs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxLog {
    /// Events that extend a register.
    pub events: u32,
    /// Texts whose digests extend RTMR2, in order: a boot loader's commands and the kernel's command line.
    pub texts: Vec<String>,
    /// Events of RTMR2 whose digests are of no text that is known. Where this is not 0, the texts are not all.
    pub unread: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_intels_name() {
        for status in TdxTcbStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert!(serde_json::from_str::<TdxTcbStatus>("\"Revoked\"").is_err());
    }
}
