//! TPM 2.0 structures as they travel (TCG TPM 2.0 Library, Part 2): own parsers, capped, big-endian.
//!
//! Every parser takes exactly one structure, refuses trailing bytes, allocates only what it has
//! already seen, and never panics. What it accepts it has understood wholly; what it does not
//! understand it refuses by name.

mod algorithm;
mod attest;
mod public;
mod reader;
mod signature;

pub use algorithm::{Curve, HashAlg, SigningAlg, SigningScheme, Symmetric};
pub use attest::{Attest, BankSelection, ClockInfo};
pub(crate) use public::uncompressed_point;
pub use public::{Attributes, Key, Public, Scheme, qualified_name};
pub use reader::ParseError;
pub use signature::{Signature, SignatureValue};

#[cfg(test)]
mod tests;
