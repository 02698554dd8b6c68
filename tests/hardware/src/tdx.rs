//! Intel TDX: a root, the PCK certificate of a platform, collateral, quotes of versions 4 and 5, event logs.
//!
//! ```text
//! Tdx { certificates, platform, tcb_info, qe_identity, lists, quote }   plain fields, honest by default
//!     ├─quote()──────> the quote: body signed by the attestation key, whose enclave report the PCK signs
//!     ├─collateral()─> Intel's documents, lists and chains as JSON
//!     └─pins()───────> the root as a set of pins: data for a verifier that is to trust this stand-in
//! Ccel { events } ──bytes()──> an event log,  ──rtmrs()──> what it leads to
//! ```
//!
//! The default holds from 20 May to 20 June 2026 ([`AT`] lies between).
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a stand-in that cannot be made ends the test that wants it"
)]

mod ccel;
mod certificates;
mod collateral;
mod quote;

pub use crate::issued::Date;
pub use ccel::{Ccel, CcelEvent};
pub use certificates::{Certificate, Certificates, Key, Platform};
pub use collateral::{Level, Lists, ModuleIdentity, QeIdentity, QeLevel, TcbInfo};
pub use quote::{Body, BodyKind, QeReport, Quote};

use crate::text::hex;

/// 1 June 2026, Unix seconds: a time at which the default holds.
pub const AT: u64 = 1_780_272_000;

/// A platform that quotes a guest, and what Intel says of it.
#[derive(Default)]
pub struct Tdx {
    /// Intel's certificates.
    pub certificates: Certificates,
    /// What the PCK certificate says of the platform.
    pub platform: Platform,
    /// The TCB info of the platform's kind.
    pub tcb_info: TcbInfo,
    /// The identity of the quoting enclave.
    pub qe_identity: QeIdentity,
    /// Revocation lists.
    pub lists: Lists,
    /// The quote.
    pub quote: Quote,
    /// The key that signs quotes; the enclave's report vouches for it.
    pub attestation_key: Key,
}

impl Tdx {
    /// The quote, laid out and signed.
    pub fn quote(&self) -> Vec<u8> {
        let chain = self.certificates.pck_chain(&self.platform);
        self.quote.sign(&self.attestation_key, &self.certificates.pck.key, &chain)
    }

    /// The collateral as JSON, in the form that `dcap-qvl` writes.
    pub fn collateral(&self) -> Vec<u8> {
        collateral::json(self)
    }

    /// The root's certificate (DER).
    pub fn root(&self) -> Vec<u8> {
        self.certificates.root_der()
    }

    /// A set of pins (JSON) of which the root is the only one.
    pub fn pins(&self) -> Vec<u8> {
        let sha256 = hex(ring::digest::digest(&ring::digest::SHA256, &self.root()).as_ref());
        let (name, source) = ("CN=Intel SGX Root CA", "a stand-in, made when the test runs");
        format!(r#"{{"pins":[{{"kind":"intel-sgx-root","name":"{name}","sha256":"{sha256}","source":"{source}"}}]}}"#)
            .into_bytes()
    }
}

/// RFC 3339, as Intel's documents have dates.
fn rfc3339((year, month, day): Date) -> String {
    format!("{year:04}-{month:02}-{day:02}T00:00:00Z")
}
