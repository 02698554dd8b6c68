//! What is asked of a GPU beyond what any GPU must show (row G5).

use crate::claims::GpuMode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A week, seconds.
const WEEK: u64 = 7 * 24 * 60 * 60;

/// What is asked. The default is the strictest that a GPU of today can meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GpuRequirements {
    /// The modes that are accepted. By default those in which no link between GPUs is in the clear.
    pub modes: BTreeSet<GpuMode>,
    /// Whose word is enough that the GPU is not in DEVTOOLS mode, in which it can be debugged.
    pub not_devtools: DevtoolsWord,
    /// Whether both manifests must be there, so that every golden value is compared.
    pub manifests: bool,
    /// The ids of accepted manifests, of drivers and of VBIOSes; where there are none, any that was given is accepted.
    pub manifest_ids: Option<BTreeSet<String>>,
    /// Revocation lists or answers must cover the certificates, and none may be older than this, seconds; null where
    /// they may be missing.
    pub revocation_max_age: Option<u64>,
}

/// Whose word on DEVTOOLS is enough. No field of a report shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DevtoolsWord {
    /// That of the measured guest, which asks its driver.
    #[default]
    Guest,
    /// Also that every golden value matched: in DEVTOOLS mode measurements differ from those of NVIDIA's manifests.
    /// That was seen with drivers of 2024 (nvtrust issue 35); NVIDIA does not promise it.
    Measurements,
}

impl Default for GpuRequirements {
    fn default() -> Self {
        Self {
            modes: [GpuMode::Single, GpuMode::Multi].into(),
            not_devtools: DevtoolsWord::Guest,
            manifests: true,
            manifest_ids: None,
            revocation_max_age: Some(WEEK),
        }
    }
}
