//! What runs on a node, from measured sources only (row L9).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The identity of the workload. Each fact is null where nothing that was measured shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadClaims {
    /// Whether IMA measured the caller's executable, by the digest that the agent gives; null without a caller,
    /// or without an IMA log that the quote covers.
    pub caller_measured: Option<bool>,
    /// The root hash of the dm-verity file system that a measured kernel command line names, lower-case hexadecimal;
    /// null unless the quote covers PCRs 8, 9, 11 and 12.
    pub verity_root: Option<String>,
    /// Digests of containers, as measured events name them: `sha256:` and lower-case hexadecimal, ascending. Null where
    /// the quote covers none of the PCRs 8, 9 and 11 to 15 that the log explains; of those that it does not cover,
    /// nothing is read.
    pub containers: Option<Vec<String>>,
}
