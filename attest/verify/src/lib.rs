//! Evidence in, claims out: verification of TPM enrolment, TPM quotes, boot logs and IMA logs.
//!
//! Pure: no I/O, no clock, no system library, no unsafe code. Time, trust anchors, CRLs and the
//! recorded identity are arguments, so that the same bytes give the same verdict tomorrow.
//!
//! ```text
//! enrolment   certificates + EK public ──verify_ek_certificate──> EkIdentity     rows E1 E2 E3 (E6: node id)
//!             AK public ──check_ak──> AkProfile                                  row  E4
//!             EK + AK name ──make_credential──> Credential, PendingActivation    row  E5
//!             enrolled record ──check_same_identity──>                           row  E6
//! release     QuoteEvidence + QuoteExpectation ──quote::verify──> TpmClaims      rows Q1 to Q8
//! logs        boot log, quoted PCRs ──log::verify──> BootClaims                   rows L1 to L7
//!             IMA log, PCR 10 ──ima::verify──> Measured ──claims(lists)──> ImaClaims   row  L8
//!             both, caller ──workload::claims──> WorkloadClaims                  row  L9
//!             SEV-SNP report, certificates ──snp::verify──> SnpClaims             rows S1 to S9, S11, S13
//!             Azure's envelope and quote ──azure::verify──> AzureClaims           row  S12
//!             TDX quote, collateral, CCEL ──tdx::verify──> TdxClaims              row  T1
//! together    what each item showed, one approved record ──composite::check──> Devices   row  E7
//! ahead       a unified kernel image ──Uki::parse──> what PCR 11 will hold
//!             firmware, kernel, CPUs ──snp::launch::measurement──> what a report will hold   row  S10
//! stored      what vendors publish ──endorsements::Store──> certificates, lists, collateral, manifests; `pins`
//! either      Refused { row, what was wrong, what to do };  rows::Report lists each row's verdict
//! ```
//!
//! Each check has a row id. A row is a variant (or several) of [`Refused`] whose name starts with
//! the id, and a test named after it that shows one accepted and one refused input. To add a check:
//! give it a row in [`rows`], a variant in [`Refused`], the test, and put it where the cheapest
//! refusal comes first but after the signature that makes its input worth reading. To add another
//! kind of evidence: a module with its parser (caps before allocation, a fuzz target in `fuzz/`),
//! an evidence struct, an expectation struct, and a claims type whose only constructor is the
//! verification.

pub mod azure;
pub mod composite;
mod der;
pub mod endorsements;
pub mod enrol;
pub mod ima;
pub mod log;
pub mod nvidia;
pub mod pins;
pub mod quote;
mod refused;
pub mod rows;
pub mod snp;
pub mod tdx;
pub mod tpm;
pub mod uki;
pub mod workload;
pub mod x509;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod stand_in;

pub use enrol::{EkIdentity, TrustAnchors};
pub use pins::{Pin, PinKind, Pins};
pub use quote::{BootCounters, QuoteEvidence, QuoteExpectation, TpmClaims};
pub use refused::Refused;
pub use rows::{Report, Verdict};
pub use strongroom_protocol::claims::Tolerance;
pub use uki::{Uki, UkiRefused};
