//! AMD SEV-SNP: chains of ARK, ASK or ASVK, VCEK or VLEK with AMD's own encodings, and reports of versions 2 to 5.
//!
//! ```text
//! Snp { ark, intermediate, leaf, crl, report }   plain fields, honest by default
//!     ├─report_bytes()─> ATTESTATION_REPORT, laid out by version and signed by the leaf's key
//!     ├─chain()────────> DER of the leaf and of what is above it
//!     └─pins()─────────> the root as a set of pins: data for a verifier that is to trust this stand-in
//! ```
//!
//! The default holds from January 2025 to January 2035, its revocation list around [`AT`].
#![allow(clippy::unwrap_used, reason = "a stand-in that cannot be made ends the test that wants it")]

mod report;

pub use report::Report;

use crate::certificate::{Certificate, Crl, Extension, Key, Name, Written};
use std::sync::OnceLock;

/// 1 June 2026, Unix seconds: a time at which the default holds.
pub const AT: u64 = 1_780_272_000;

/// `structVersion`.
pub const STRUCT_VERSION: [u64; 9] = [1, 3, 6, 1, 4, 1, 3704, 1, 1];
/// `productName`.
pub const PRODUCT_NAME: [u64; 9] = [1, 3, 6, 1, 4, 1, 3704, 1, 2];
/// What the parts of the TCB are under.
const PARTS: [u64; 9] = [1, 3, 6, 1, 4, 1, 3704, 1, 3];
/// `hwID`.
pub const HWID: [u64; 9] = [1, 3, 6, 1, 4, 1, 3704, 1, 4];
/// `cspID`.
pub const CSP_ID: [u64; 9] = [1, 3, 6, 1, 4, 1, 3704, 1, 5];

/// The object identifier of a part of the TCB: 1 boot loader, 2 TEE, 3 SNP, 4 to 7 reserved, 8 microcode, 9 FMC.
pub fn part(last: u64) -> Vec<u64> {
    [&PARTS[..], &[last]].concat()
}

/// A line of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// As AMD writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }
}

/// What signs reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// The chip's key.
    Vcek,
    /// A cloud provider's key.
    Vlek,
}

/// The keys of this process: RSA keys of 4,096 bits are slow to make.
pub struct Keys {
    /// Of the roots.
    pub ark: Key,
    /// Of the ASK.
    pub ask: Key,
    /// Of the ASVK.
    pub asvk: Key,
    /// Of nobody: what a forger has.
    pub forger: Key,
    /// Of the leaf.
    pub leaf: Key,
    /// Another leaf's.
    pub other: Key,
}

/// The keys, made at the first call.
pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        ark: Key::rsa_4096(),
        ask: Key::rsa_4096(),
        asvk: Key::rsa_4096(),
        forger: Key::rsa_4096(),
        leaf: Key::p384(),
        other: Key::p384(),
    })
}

/// A machine that makes reports, and what AMD says of its key.
#[derive(Clone)]
pub struct Snp {
    /// The line of processors.
    pub product: Product,
    /// The root.
    pub ark: Certificate,
    /// ASK or ASVK.
    pub intermediate: Certificate,
    /// VCEK or VLEK.
    pub leaf: Certificate,
    /// The root's list.
    pub crl: Crl,
    /// The report.
    pub report: Report,
    /// The key that signs reports.
    pub report_key: &'static Key,
}

impl Default for Snp {
    fn default() -> Self {
        Self::new(Product::Genoa, Leaf::Vcek)
    }
}

impl Snp {
    /// An honest machine, with a report of version 3.
    pub fn new(product: Product, kind: Leaf) -> Self {
        let report = Report::new(product, kind);
        let line = product.name();
        let (middle, middle_key, leaf) = match kind {
            Leaf::Vcek => (Name::of(&format!("SEV-{line}")), &keys().ask, "SEV-VCEK"),
            Leaf::Vlek => (Name::of(&format!("SEV-VLEK-{line}")), &keys().asvk, "SEV-VLEK"),
        };
        let ark = Name::of(&format!("ARK-{line}"));
        let authority = |serial: &[u8], subject: &Name, key: &Key, length: Option<u8>| Certificate {
            version: 2,
            serial: serial.to_vec(),
            issuer: ark.clone(),
            subject: subject.clone(),
            not_before: "200101000000Z".to_owned(),
            not_after: "450101000000Z".to_owned(),
            spki: key.spki(),
            extensions: vec![Extension::basic_constraints(true, length), Extension::key_usage(0b0110_0000)],
            algorithm: Written::PssTrailer,
            inner: None,
            signed_by: &keys().ark,
        };
        let leaf = Certificate {
            version: 2,
            serial: vec![0],
            issuer: middle.clone(),
            subject: Name::of(leaf),
            not_before: "250101000000Z".to_owned(),
            not_after: "350101000000Z".to_owned(),
            spki: keys().leaf.spki(),
            extensions: leaf_extensions(product, kind, &report),
            algorithm: Written::PssTrailer,
            inner: None,
            signed_by: middle_key,
        };
        let crl = Crl {
            issuer: ark.clone(),
            this_update: "260520000000Z".to_owned(),
            next_update: Some("260620000000Z".to_owned()),
            revoked: vec![vec![1, 2, 3]],
            extensions: Vec::new(),
            algorithm: Written::PssTrailer,
            inner: None,
            signed_by: &keys().ark,
        };
        Self {
            product,
            ark: authority(&[1, 0, 0], &ark, &keys().ark, None),
            intermediate: authority(&[1, 0, 1], &middle, middle_key, Some(0)),
            leaf,
            crl,
            report,
            report_key: &keys().leaf,
        }
    }

    /// The report, laid out and signed.
    pub fn report_bytes(&self) -> Vec<u8> {
        self.report.sign(self.report_key)
    }

    /// Leaf and intermediate (DER).
    pub fn chain(&self) -> Vec<Vec<u8>> {
        vec![self.leaf.der(), self.intermediate.der()]
    }

    /// A set of pins (JSON) of which the root (DER) is the only one, for its product.
    pub fn pins(&self, ark: &[u8]) -> Vec<u8> {
        let digest = ring::digest::digest(&ring::digest::SHA256, ark);
        let sha256 = crate::text::hex(digest.as_ref());
        let product = self.product.name();
        format!(
            r#"{{"pins":[{{"kind":"amd-ark","name":"a stand-in","product":"{product}","sha256":"{sha256}","source":"made for a test"}}]}}"#
        )
        .into_bytes()
    }
}

/// An INTEGER as DER has it: two bytes from 0x80 on.
pub fn integer(value: u8) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_u8(value))
}

/// What AMD's certificates say of a leaf, for the reported TCB and the chip of `report`.
pub fn leaf_extensions(product: Product, kind: Leaf, report: &Report) -> Vec<Extension> {
    let text = |text: &str| yasna::construct_der(|writer| writer.write_ia5_string(text));
    let name = match (product, kind) {
        (Product::Milan, Leaf::Vcek) => "Milan-B0",
        _ => product.name(),
    };
    let mut all = vec![Extension::plain(&STRUCT_VERSION, integer(0)), Extension::plain(&PRODUCT_NAME, text(name))];
    let tcb = report.reported_tcb;
    let parts: Vec<(u64, u8)> = match (product, tcb) {
        (Product::Turin, [fmc, boot_loader, tee, snp, a, b, c, microcode]) => {
            vec![(9, fmc), (1, boot_loader), (2, tee), (3, snp), (5, a), (6, b), (7, c), (8, microcode)]
        }
        (_, [boot_loader, tee, a, b, c, d, snp, microcode]) => {
            vec![(1, boot_loader), (2, tee), (4, a), (5, b), (6, c), (7, d), (3, snp), (8, microcode)]
        }
    };
    all.extend(parts.into_iter().map(|(last, value)| Extension::plain(&part(last), integer(value))));
    all.push(match kind {
        Leaf::Vcek => {
            let length = if product == Product::Turin { 8 } else { 64 };
            Extension::plain(&HWID, report.chip_id.iter().take(length).copied().collect())
        }
        Leaf::Vlek => Extension::plain(&CSP_ID, text("CN=cloud.example")),
    });
    all
}
