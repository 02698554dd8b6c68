//! What policy may demand of a TDX guest beyond what always holds. The default is strict.

use super::registers::{Mask, Registers};
use crate::claims::{TdxAttribute, TdxTcbStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Requirements of row T1. What is not named keeps its default, which accepts the least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TdxRequirements {
    /// States of the platform's firmware that are accepted. Default: `UpToDate`.
    pub tcb_statuses: BTreeSet<TdxTcbStatus>,
    /// The least `tcbEvaluationDataNumber` of Intel's data. Default: 0; collateral must be current in any case.
    pub min_evaluation_data_number: u32,
    /// Attribute bits that may be set beside `sept_ve_disable`. Default: none.
    pub permitted_attributes: BTreeSet<TdxAttribute>,
    /// XFAM bits that may be set. Default: x87, SSE, AVX, AVX-512, PKRU, CET and AMX state; no tracing.
    pub permitted_xfam: Mask,
    /// MRCONFIGID. Default: zero.
    pub mr_config_id: Registers,
    /// MROWNER. Default: zero.
    pub mr_owner: Registers,
    /// MROWNERCONFIG. Default: zero.
    pub mr_owner_config: Registers,
    /// MRSEAM, the module's own measurement. Default: any that Intel's collateral accepts.
    pub mr_seam: Registers,
    /// MRTD. Default: any; reference values are compared by policy.
    pub mrtd: Registers,
    /// RTMR0 to RTMR3, by number. Default: any.
    pub rtmrs: BTreeMap<u8, Registers>,
    /// An event log must be given. Default: no; one that is given must lead to the RTMRs in any case.
    pub log: bool,
}

impl Default for TdxRequirements {
    fn default() -> Self {
        Self {
            tcb_statuses: BTreeSet::from([TdxTcbStatus::UpToDate]),
            min_evaluation_data_number: 0,
            permitted_attributes: BTreeSet::new(),
            permitted_xfam: Mask(0x0006_1ae7),
            mr_config_id: Registers::Zero,
            mr_owner: Registers::Zero,
            mr_owner_config: Registers::Zero,
            mr_seam: Registers::Any,
            mrtd: Registers::Any,
            rtmrs: BTreeMap::new(),
            log: false,
        }
    }
}
