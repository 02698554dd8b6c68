//! An NVIDIA GPU in confidential mode: five certificates, a report, and the manifests that fit it.
//!
//! ```text
//! Gpu { chain (root .. reporting key), dice, report } ──certificates(), report_bytes()──> evidence
//! Manifest { signer (root .. signer), document, signature } ──text()──> SWID tag with its XML signature
//! Status { this, next, revoked } ──crl(issuer), ocsp(..)──> stored revocation
//! ```
//!
//! The default holds on [`AT`].
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::redundant_closure_for_method_calls,
    reason = "a stand-in that cannot be made ends the test that wants it; yasna's writers need closures for their lifetimes"
)]

mod certificates;
mod manifest;
mod report;
mod status;

pub use crate::issued::Date;
pub use certificates::{Certificate, Chain, Dice, Form, Key};
pub use manifest::{Manifest, Resource, Signature};
pub use rcgen::KeyUsagePurpose;
pub use report::{Block, Report};
pub use status::{Responder, Status};

use crate::text::hex;

/// 22 November 2026, Unix seconds: a time at which the default holds.
pub const AT: u64 = 1_795_305_600;

/// Roots of devices and of manifests as a set of pins: data for a verifier that is to trust these stand-ins.
pub fn pins(devices: &[&Chain], signers: &[&Chain]) -> String {
    let pin = |kind: &str, chain: &Chain| {
        let sha256 = hex(&chain.root_sha256());
        format!(r#"{{"kind":"{kind}","name":"stand-in","sha256":"{sha256}","source":"made for a test"}}"#)
    };
    let devices = devices.iter().map(|chain| pin("nvidia-device-root", chain));
    let pins: Vec<String> = devices.chain(signers.iter().map(|chain| pin("nvidia-rim-root", chain))).collect();
    format!(r#"{{"pins":[{}]}}"#, pins.join(","))
}

/// A GPU with its keys.
pub struct Gpu {
    /// From the root to the reporting key.
    pub chain: Chain,
    /// The extension of the reporting key's certificate.
    pub dice: Dice,
    /// The report, before it is signed.
    pub report: Report,
}

impl Default for Gpu {
    fn default() -> Self {
        Self { chain: Chain::of_device(), dice: Dice::default(), report: Report::default() }
    }
}

impl Gpu {
    /// The chain as DER, leaf first.
    pub fn certificates(&self) -> Vec<Vec<u8>> {
        self.chain.ders_with(self.dice.extension(&self.chain))
    }

    /// Request and response, signed by the reporting key.
    pub fn report_bytes(&self) -> Vec<u8> {
        self.report.bytes(&self.chain.leaf().key)
    }
}
