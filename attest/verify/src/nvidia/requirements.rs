//! What is asked of a GPU beyond what any GPU must show (row G5), and the word of the guest that holds it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use strongroom_protocol::requirements::{DevtoolsWord, GpuRequirements};

/// What the measured guest says of the driver's state (`nvmlSystemGetConfComputeState`).
///
/// Nothing that the GPU signs covers it. It may be given only where the guest is one whose software was measured and
/// accepted, and its evidence binds these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestWord {
    /// Confidential computing is on.
    pub confidential: bool,
    /// DEVTOOLS mode is on.
    pub devtools: bool,
}
