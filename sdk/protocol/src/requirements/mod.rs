//! What a site asks of confidential hardware beyond what always holds. A policy carries these in `data.settings`,
//! and the verifiers of `strongroom-attest` keep to them; nothing here is checked by itself.
//!
//! To ask for more: a field whose default is the strictest that sound machines meet, its check in the verifier, and a
//! test that this check alone refuses.

mod gpu;
mod registers;
mod snp;
mod tdx;

pub use gpu::{DevtoolsWord, GpuRequirements};
pub use registers::{Mask, Register, Registers};
pub use snp::{MinimumTcb, MinimumTcbs, SnpRequirements};
pub use tdx::TdxRequirements;
