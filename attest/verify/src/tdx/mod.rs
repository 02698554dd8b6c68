//! Intel TDX: row T1. A quote, Intel's collateral for its platform, the event log of the guest.
//!
//! ```text
//! bytes ──Quote::parse──> Quote ──key()──> which collateral the platform needs (FMSPC, CA)
//! stored JSON ──Collateral::parse──> Collateral
//! Evidence + Expectation ──verify──> TdxClaims             refuses at the first part that does not hold
//!                        └─examine─> Examined               judges every part by itself, for offline tools
//! ```
//!
//! `dcap-qvl` verifies what Intel signs: certificates, revocation lists, collateral, quoting enclave, quote, and finds
//! the level of the platform's firmware. What it leaves to its caller is here: that the root is pinned, what the quote
//! binds, attributes, XFAM, the registers, the minimum of Intel's evaluation data, the log. Nothing goes to it before
//! it was capped. To check more: a field of [`TdxRequirements`] with a strict default, a variant of [`TdxRefused`], a
//! part in `judge`.

mod ccel;
mod collateral;
mod examine;
mod judge;
mod quote;
mod refused;
mod requirements;

pub use ccel::Ccel;
pub use collateral::{COLLATERAL_BYTES, Collateral, CollateralError, CollateralKey, PckCa};
pub use examine::{Examined, examine};
pub use judge::Part;
pub use quote::Quote;
pub use refused::TdxRefused;
pub use requirements::{Mask, Register, Registers, TdxRequirements};

use crate::pins::Pins;
use judge::Judge;
use strongroom_protocol::claims::TdxClaims;

/// A quote with what goes with it, as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The quote with its certification data, at most [`strongroom_protocol::limits::TDX_QUOTE`] bytes; zeros behind
    /// it, with which collectors fill their buffers, are passed over.
    pub quote: &'a [u8],
    /// The event log (CCEL), where there is one, at most [`strongroom_protocol::limits::BOOT_LOG`] bytes.
    pub ccel: Option<&'a [u8]>,
}

/// What a quote must be. [`verify`] refuses where an input is not given; [`examine`] says so.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// What the quote must bind.
    pub report_data: Option<&'a [u8; 64]>,
    /// Intel's collateral for the platform.
    pub collateral: Option<&'a Collateral>,
    /// Which roots are trusted.
    pub pins: &'a Pins,
    /// The time of judgement, Unix seconds.
    pub at: u64,
    /// What else must hold.
    pub requirements: &'a TdxRequirements,
}

/// Verifies a quote: cheapest refusals first, what Intel signed before what the guest says.
pub fn verify(evidence: &Evidence<'_>, expect: &Expectation<'_>) -> Result<TdxClaims, TdxRefused> {
    let quote = Quote::parse(evidence.quote)?;
    let mut judge = Judge::new(evidence, expect, &quote);
    judge.strictly()?;
    judge.claims()
}
