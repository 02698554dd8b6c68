//! Trust anchors by fingerprint: which roots may end a path, each with the place where anybody can check it.
//!
//! ```text
//! pins.json (reviewed data) ──Pins::parse──> Pins ──find(kind, SHA-256 of the DER)──> Pin
//!                                              └──of(kind)──> every Pin of a kind
//! ```
//!
//! A pin is a fact, not a certificate: the certificate arrives with evidence, by import, or with a crate (AMD's with
//! `sev`, Intel's with `dcap-qvl`), and counts as a root only if its fingerprint is pinned for its purpose. An
//! intermediate (AMD's ASK and ASVK, Intel's PCK CAs) is never pinned: it chains to a root that is. To add a root, add
//! it to `pins.json`. At run time a vault adds roots of TPM vendors, by four eyes, and hands the whole set to
//! [`Pins::parse`]; those of processors and GPUs come with a release only.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::LazyLock};
use strongroom_protocol::sha256;

/// Most bytes of a file of pins.
pub const MAX_BYTES: usize = 256 << 10;
/// Most pins.
pub const MAX_PINS: usize = 1024;
/// Most characters of a name or a source.
const MAX_TEXT: usize = 512;

/// What a root is trusted for, and for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinKind {
    /// An AMD root key (ARK) of a product: SEV-SNP reports.
    AmdArk,
    /// Intel's SGX root CA: TDX quotes and their collateral.
    IntelSgxRoot,
    /// NVIDIA's device identity CA: GPU reports.
    NvidiaDeviceRoot,
    /// NVIDIA's root of reference integrity manifests.
    NvidiaRimRoot,
    /// The root of a TPM vendor: endorsement key certificates.
    TpmVendor,
}

impl PinKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::AmdArk, Self::IntelSgxRoot, Self::NvidiaDeviceRoot, Self::NvidiaRimRoot, Self::TpmVendor];

    /// The kind as files and commands write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AmdArk => "amd-ark",
            Self::IntelSgxRoot => "intel-sgx-root",
            Self::NvidiaDeviceRoot => "nvidia-device-root",
            Self::NvidiaRimRoot => "nvidia-rim-root",
            Self::TpmVendor => "tpm-vendor",
        }
    }
}

impl fmt::Display for PinKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One pinned root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// What it is trusted for.
    pub kind: PinKind,
    /// Its subject, as people read it. Information only: the fingerprint decides.
    pub name: String,
    /// The product that it is the root of, where a vendor has one root for each: `Milan`, `Genoa`, `Turin`. Every
    /// `amd-ark` has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// SHA-256 of the certificate's DER.
    #[serde(serialize_with = "as_hex")]
    pub sha256: [u8; 32],
    /// Where the certificate can be had and compared.
    pub source: String,
}

/// A set of pinned roots. The empty set trusts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pins {
    pins: Vec<Pin>,
}

/// Why bytes are not a set of pins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinsError {
    /// Larger than any set.
    #[error("{actual} are more {what} than the {limit} that a set of pins may have")]
    TooMany {
        /// `bytes` or `pins`.
        what: &'static str,
        /// The cap.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// Not JSON of the expected shape.
    #[error("not a set of pins: {0}")]
    Malformed(String),
    /// A pin that says too little, or what cannot be.
    #[error("pin {index} ({kind}): {problem}")]
    Pin {
        /// Its place, from 0.
        index: usize,
        /// Its kind.
        kind: PinKind,
        /// What is wrong.
        problem: &'static str,
    },
}

static BUILT_IN: LazyLock<Pins> = LazyLock::new(|| Pins::parse(include_bytes!("../pins.json")).unwrap_or_default());

impl Pins {
    /// The roots that this release was reviewed with, from `pins.json`. Parsed once; a test shows that it parses (if
    /// it did not, the set would be empty, and trust nothing).
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads a set: JSON `{"pins": [{"kind", "name", "product"?, "sha256", "source"}]}`, at most [`MAX_BYTES`] and
    /// [`MAX_PINS`]. Unknown fields, a fingerprint that is not 64 lower-case hexadecimal digits, a root that is
    /// pinned twice for one purpose, and an AMD root without its product are refused.
    pub fn parse(json: &[u8]) -> Result<Self, PinsError> {
        let too_many = |what, limit, actual| PinsError::TooMany { what, limit, actual };
        if json.len() > MAX_BYTES {
            return Err(too_many("bytes", MAX_BYTES, json.len()));
        }
        let file: File = serde_json::from_slice(json).map_err(|error| PinsError::Malformed(error.to_string()))?;
        if file.pins.len() > MAX_PINS {
            return Err(too_many("pins", MAX_PINS, file.pins.len()));
        }
        let mut pins: Vec<Pin> = Vec::with_capacity(file.pins.len());
        for (index, written) in file.pins.into_iter().enumerate() {
            let kind = written.kind;
            let pin = written.read().map_err(|problem| PinsError::Pin { index, kind, problem })?;
            if pins.iter().any(|known| (known.kind, known.sha256) == (pin.kind, pin.sha256)) {
                return Err(PinsError::Pin { index, kind, problem: "the same root is pinned twice: remove one" });
            }
            pins.push(pin);
        }
        Ok(Self { pins })
    }

    /// The pin of a root by the SHA-256 of its certificate's DER.
    pub fn find(&self, kind: PinKind, sha256: &[u8; 32]) -> Option<&Pin> {
        self.of(kind).find(|pin| pin.sha256 == *sha256)
    }

    /// The pin of a certificate (DER); `None` where it is not pinned for this purpose.
    pub fn of_certificate(&self, kind: PinKind, der: &[u8]) -> Option<&Pin> {
        self.find(kind, &sha256(der))
    }

    /// Every pin of a kind.
    pub fn of(&self, kind: PinKind) -> impl Iterator<Item = &Pin> {
        self.pins.iter().filter(move |pin| pin.kind == kind)
    }

    /// Every pin, in the order of the file.
    pub fn all(&self) -> &[Pin] {
        &self.pins
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    pins: Vec<Written>,
}

/// A pin as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: PinKind,
    name: String,
    product: Option<String>,
    sha256: String,
    source: String,
}

impl Written {
    fn read(self) -> Result<Pin, &'static str> {
        let Self { kind, name, product, sha256, source } = self;
        let said = |text: &str| !text.trim().is_empty() && text.len() <= MAX_TEXT;
        if !said(&name) || product.as_deref().is_some_and(|product| !said(product)) {
            return Err("its name or product is empty or too long");
        }
        if !said(&source) {
            return Err("its source is empty or too long: say where the certificate can be had and compared");
        }
        if kind == PinKind::AmdArk && product.is_none() {
            return Err("an AMD root needs its product: Milan, Genoa or Turin");
        }
        let sha256 = fingerprint(&sha256).ok_or("its sha256 is not 64 lower-case hexadecimal digits")?;
        Ok(Pin { kind, name, product, sha256, source })
    }
}

/// Reads 64 lower-case hexadecimal digits.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes?.try_into().ok().filter(|_| rest.is_empty())
}

fn as_hex<S: serde::Serializer>(sha256: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::quote::hex(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pin: &str) -> Result<Pins, PinsError> {
        Pins::parse(format!(r#"{{"pins":[{pin}]}}"#).as_bytes())
    }

    const SHA: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn written(kind: &str, more: &str, sha: &str) -> String {
        format!(r#"{{"kind":"{kind}","name":"CN=Root",{more}"sha256":"{sha}","source":"https://example.org/root"}}"#)
    }

    #[test]
    fn the_built_in_pins_parse_and_have_every_kind() {
        let pins = Pins::parse(include_bytes!("../pins.json")).unwrap();
        assert_eq!(&pins, Pins::built_in());
        for kind in PinKind::ALL {
            assert!(pins.of(kind).count() > 0, "{kind}");
        }
        let products: Vec<_> = pins.of(PinKind::AmdArk).filter_map(|pin| pin.product.as_deref()).collect();
        assert_eq!(products, ["Milan", "Genoa", "Turin"]);
        let again = serde_json::to_vec(&pins).unwrap();
        assert_eq!(Pins::parse(&again).unwrap(), pins, "what is written can be read");
    }

    #[test]
    fn a_root_counts_only_for_its_purpose() {
        let pins = with(&written("tpm-vendor", "", SHA)).unwrap();
        let sha = fingerprint(SHA).unwrap();
        assert!(pins.find(PinKind::TpmVendor, &sha).is_some());
        assert!(pins.find(PinKind::NvidiaRimRoot, &sha).is_none());
        assert!(pins.find(PinKind::TpmVendor, &[0; 32]).is_none());
        assert!(Pins::default().find(PinKind::TpmVendor, &sha).is_none());
    }

    #[test]
    fn what_is_not_plainly_a_pin_is_refused() {
        let problem = |pin: String| with(&pin).unwrap_err().to_string();
        assert!(with(&written("tpm-vendor", "", SHA)).is_ok());
        assert!(with(&written("amd-ark", r#""product":"Milan","#, SHA)).is_ok());
        assert!(problem(written("amd-ark", "", SHA)).contains("product"));
        assert!(problem(written("amd-ask", "", SHA)).contains("unknown variant"));
        assert!(problem(written("tpm-vendor", r#""trusted":true,"#, SHA)).contains("unknown field"));
        assert!(problem(written("tpm-vendor", "", &SHA.to_uppercase())).contains("sha256"));
        assert!(problem(written("tpm-vendor", "", &SHA[1..])).contains("sha256"));
        assert!(problem(written("tpm-vendor", "", &SHA[2..])).contains("sha256"));
        assert!(problem(written("tpm-vendor", "", SHA).replace("https://example.org/root", " ")).contains("source"));
        assert!(problem(written("tpm-vendor", "", SHA).replace("CN=Root", "")).contains("name"));
        let twice = [written("tpm-vendor", "", SHA), written("tpm-vendor", "", SHA)].join(",");
        assert!(problem(twice).contains("twice"));
        let other_purpose = [written("tpm-vendor", "", SHA), written("nvidia-rim-root", "", SHA)].join(",");
        assert_eq!(with(&other_purpose).unwrap().all().len(), 2);
        assert!(matches!(Pins::parse(&vec![b' '; MAX_BYTES + 1]), Err(PinsError::TooMany { what: "bytes", .. })));
    }
}
