//! Stand-ins for confidential hardware: certificate chains, reports, envelopes, each made from keys of its own.
//!
//! Whoever has this crate can sign for a machine of the test's own roots, and for no other. It is a package of
//! its own, which no package of a release may depend on (`.ci/arrows`).
//!
//! Every field can be made wrong: a stand-in is a struct of plain fields with an honest `Default`, and is laid
//! out and signed only when it is asked for its bytes.

pub mod azure;
pub mod certificate;
mod issued;
pub mod nvidia;
pub mod snp;
pub mod tdx;
mod text;
