//! What is wanted of which service, and what it will be called.

use super::service::{Service, Time, Vendor};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Value, json};
use strongroom::protocol::{
    claims::{SnpProduct, SnpSigningKey, SnpTcb},
    sha256,
};
use strongroom_attest::{
    PinKind,
    nvidia::{self, StatusRequest},
    snp::{AttestationReport, RawTcb, crl_file, leaf_file},
    tdx::CollateralKey,
};

/// One thing to fetch; in the order of need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// AMD's intermediate and root of a product.
    Chain(SnpProduct),
    /// The same for keys that are loaded.
    LoadedChain(SnpProduct),
    /// AMD's revocation list of a product's root, for keys of chips.
    RevocationList(SnpProduct),
    /// The same for keys that are loaded.
    LoadedRevocationList(SnpProduct),
    /// The certificate of a chip at a TCB.
    Chip(Chip),
    /// Intel's collateral of a kind of platform.
    Collateral(CollateralKey),
    /// NVIDIA's manifest of this id.
    Manifest(String),
    /// Authorities of NVIDIA's, which came with a chain or a manifest.
    Authorities {
        /// What their root is pinned for.
        of: PinKind,
        /// The root first.
        ders: Vec<Vec<u8>>,
    },
    /// What NVIDIA's responder says about a certificate.
    Answer {
        /// Its name in a store.
        name: String,
        /// Whom the certificate is of.
        subject: String,
        /// What it is asked.
        request: Vec<u8>,
    },
}

/// A chip of AMD's at a TCB.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chip {
    product: SnpProduct,
    /// Lower-case hexadecimal.
    id: String,
    tcb: [u8; 8],
}

impl Wanted {
    /// What a report needs. `said`: the product, where an old report does not say it.
    pub(super) fn of_report(report: &AttestationReport, said: Option<SnpProduct>) -> Result<Vec<Self>, &'static str> {
        let product = report.product().map_err(|_| "of a product that is not known")?;
        let product = product.or(said).ok_or("it does not say its product: give --product as well")?;
        match report.key_info.signing_key {
            Some(SnpSigningKey::Vlek) => Ok(vec![Self::LoadedChain(product), Self::LoadedRevocationList(product)]),
            Some(SnpSigningKey::Vcek) if report.key_info.masked_key || report.chip_id == [0; 64] => {
                Err("its chip id is masked: give --chip, --tcb and --product")
            }
            Some(SnpSigningKey::Vcek) => {
                let file = leaf_file(report, Some(product), SnpSigningKey::Vcek);
                let id = file.split('/').nth(1).unwrap_or_default();
                let chip = Self::of_chip(product, id, &hex::encode(report.reported_tcb.0))?;
                Ok(vec![Self::Chain(product), Self::RevocationList(product), chip])
            }
            None => Err("it is not signed by a key of AMD's"),
        }
    }

    /// A chip by what is known of it.
    pub(super) fn of_chip(product: SnpProduct, id: &str, tcb: &str) -> Result<Self, &'static str> {
        let id = id.to_ascii_lowercase();
        let digits = if product == SnpProduct::Turin { 16 } else { 128 };
        if id.len() != digits || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("a chip id has 128 hexadecimal digits, Turin's 16");
        }
        let mut raw = [0; 8];
        hex::decode_to_slice(tcb, &mut raw).map_err(|_| "a TCB has 16 hexadecimal digits")?;
        RawTcb(raw).read(product, "reported").map_err(|_| "not a TCB of this product")?;
        Ok(Self::Chip(Chip { product, id, tcb: raw }))
    }

    /// A manifest. The id becomes a file's name and a part of a URL.
    pub(super) fn manifest(id: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let named = strongroom_attest::nvidia::RimKind::of_id(id).is_some() && id.len() <= 128 && id.bytes().all(plain);
        if named {
            Ok(Self::Manifest(id.to_owned()))
        } else {
            Err(format!("`{}` is not a manifest's id", id.escape_debug()))
        }
    }

    /// The authorities of a chain of NVIDIA's, and what is asked about its certificates.
    pub(super) fn of_chain(of: PinKind, chain: &[Vec<u8>]) -> Result<Vec<Self>, String> {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let requests = nvidia::status_requests(&chain).map_err(|error| error.to_string())?;
        if requests.is_empty() {
            return Err("none of its certificates can be asked about: give the whole chain".to_owned());
        }
        let authorities = Self::Authorities { of, ders: requests.iter().rev().map(|one| one.issuer.clone()).collect() };
        let answer = |one: StatusRequest| Self::Answer { name: one.name, subject: one.subject, request: one.bytes };
        Ok([authorities].into_iter().chain(requests.into_iter().map(answer)).collect())
    }

    /// What will be written.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Chain(product) => vec![format!("ark/{product}.der"), format!("ask/{product}.der")],
            Self::LoadedChain(product) => vec![format!("ark/{product}.der"), format!("asvk/{product}.der")],
            Self::RevocationList(product) => vec![crl_file(*product, SnpSigningKey::Vcek)],
            Self::LoadedRevocationList(product) => vec![crl_file(*product, SnpSigningKey::Vlek)],
            Self::Chip(Chip { id, tcb, .. }) => vec![format!("vcek/{id}/{}.der", hex::encode(tcb))],
            Self::Collateral(key) => vec![format!("intel/tdx/{key}.json")],
            Self::Manifest(id) => vec![format!("nvidia/rim/{id}.xml")],
            Self::Authorities { of, ders } => {
                ders.iter().map(|der| format!("{of}/certificate/{}.der", hex::encode(sha256(der)))).collect()
            }
            Self::Answer { name, .. } => vec![name.clone()],
        }
    }

    /// What the bytes do not say themselves: a manifest's id, and which of AMD's lists it is.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Manifest(id) => Some(id),
            Self::RevocationList(_) => Some("vcek"),
            Self::LoadedRevocationList(_) => Some("vlek"),
            _ => None,
        }
    }

    /// Asks for it. What comes is not believed: the library looks at it before it is written.
    pub(super) fn fetch(&self, service: &mut Service<'_, impl Time>) -> Result<Vec<u8>, String> {
        let mut amd = |path: &str| Ok(service.get(Vendor::Amd, path)?.body);
        match self {
            Self::Chain(product) => amd(&format!("/vcek/v1/{product}/cert_chain")),
            Self::LoadedChain(product) => amd(&format!("/vlek/v1/{product}/cert_chain")),
            Self::RevocationList(product) => amd(&format!("/vcek/v1/{product}/crl")),
            Self::LoadedRevocationList(product) => amd(&format!("/vlek/v1/{product}/crl")),
            Self::Chip(chip) => amd(&chip.path()?),
            Self::Collateral(key) => collateral(key, service),
            Self::Manifest(id) => manifest(id, service),
            // They are here: what is left is to look whether a root vouches for them.
            Self::Authorities { ders, .. } => Ok(ders.iter().map(|der| pem(der)).collect::<String>().into_bytes()),
            Self::Answer { request, .. } => answer(request, service),
        }
    }
}

impl Chip {
    /// As AMD's service is asked (57230, "VCEK"): every part of the TCB in two digits.
    fn path(&self) -> Result<String, String> {
        let Self { product, id, tcb } = self;
        let tcb: SnpTcb = RawTcb(*tcb).read(*product, "reported").map_err(|error| error.to_string())?;
        let SnpTcb { fmc, boot_loader, tee, snp, microcode } = tcb;
        let fmc = fmc.map(|fmc| format!("fmcSPL={fmc:02}&")).unwrap_or_default();
        let parts = format!("{fmc}blSPL={boot_loader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}");
        Ok(format!("/vcek/v1/{product}/{id}?{parts}"))
    }
}

/// Collateral in the form that `tdx::Collateral` reads: whole answers, which keep the bytes that were signed.
fn collateral(key: &CollateralKey, service: &mut Service<'_, impl Time>) -> Result<Vec<u8>, String> {
    let text = |body: Vec<u8>| String::from_utf8(body).map_err(|_| "Intel's answer is not text".to_owned());
    let info = service.get(Vendor::Intel, &format!("/tdx/certification/v4/tcb?fmspc={}", key.fmspc))?;
    let info_chain = info.header(&["tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain"])?;
    let identity = service.get(Vendor::Intel, "/tdx/certification/v4/qe/identity")?;
    let identity_chain = identity.header(&["sgx-enclave-identity-issuer-chain"])?;
    let list =
        service.get(Vendor::Intel, &format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", key.ca.as_str()))?;
    let list_chain = list.header(&["sgx-pck-crl-issuer-chain"])?;
    let of_root = service.get(Vendor::IntelCertificates, "/IntelSGXRootCA.der")?;
    let document = json!({
        "tcb_info_issuer_chain": info_chain, "tcb_info": text(info.body)?,
        "qe_identity_issuer_chain": identity_chain, "qe_identity": text(identity.body)?,
        "pck_crl_issuer_chain": list_chain, "pck_crl": hex::encode(list.body),
        "root_ca_crl": hex::encode(of_root.body),
    });
    serde_json::to_vec(&document).map_err(|error| error.to_string())
}

fn answer(request: &[u8], service: &mut Service<'_, impl Time>) -> Result<Vec<u8>, String> {
    let body = service.post(Vendor::NvidiaStatus, "/", ("application/ocsp-request", request))?.body;
    match nvidia::unsuccessful(&body) {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(body),
    }
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(der))
}

fn manifest(id: &str, service: &mut Service<'_, impl Time>) -> Result<Vec<u8>, String> {
    let answer = service.get(Vendor::Nvidia, &format!("/v1/rim/{id}"))?;
    let answer: Value = serde_json::from_slice(&answer.body).map_err(|_| "NVIDIA's answer is not JSON".to_owned())?;
    let manifest = answer.get("rim").and_then(Value::as_str).ok_or("NVIDIA's answer has no manifest")?;
    BASE64.decode(manifest).map_err(|error| format!("NVIDIA's manifest is not base64: {error}"))
}
