//! Where it belongs: the root that vouches for it, and the name by which it is found.

use super::{
    Endorsement, EndorsementError, Store,
    found::{Content, Found, unusable},
    issued::{root_of, signed_document, signer_of},
    not_vouched,
};
use crate::{
    nvidia::rim,
    pins::PinKind,
    quote::hex,
    tdx::{Collateral, CollateralKey},
    x509::Certificate,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::sync::LazyLock;
use strongroom_protocol::{
    claims::{SnpProduct, SnpSigningKey},
    sha256,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// The name of Intel's collateral for a platform.
pub(super) fn collateral_name(key: &CollateralKey) -> String {
    format!("intel/tdx/{key}.json")
}

/// The name of a manifest.
pub(super) fn manifest_name(id: &str) -> String {
    format!("nvidia/rim/{id}.xml")
}

static AMDS_OWN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    use sev::certs::snp::builtin::{genoa, milan, turin};
    let all = [milan::ARK, milan::ASK, genoa::ARK, genoa::ASK, turin::ARK, turin::ASK];
    let der = |pem| CertificateDer::from_pem_slice(pem).map(|der| der.to_vec());
    all.into_iter().filter_map(|pem| der(pem).ok()).collect()
});

/// AMD's roots and intermediates that come with the `sev` crate (DER). Each counts only if a pin vouches for it.
pub(super) fn amds_own() -> Vec<&'static [u8]> {
    AMDS_OWN.iter().map(Vec::as_slice).collect()
}

/// Places one thing among all that came with it.
pub(super) fn place(
    store: &Store,
    all: &[Found],
    one: &Found,
    id: Option<&str>,
    at: u64,
) -> Result<Endorsement, EndorsementError> {
    match one.content {
        Content::Collateral => collateral(store, one),
        Content::Manifest => manifest(store, one, id, at),
        Content::Certificate => certificate(store, all, one),
        Content::RevocationList => list(store, all, one),
    }
}

/// Certificates that may have issued others.
fn candidates<'a>(store: &'a Store, all: &'a [Found]) -> Vec<&'a [u8]> {
    let stored = store.items.values().filter(|one| one.content == Content::Certificate).map(|one| &one.bytes);
    let given = all.iter().filter(|one| one.content == Content::Certificate).map(|one| &one.bytes);
    let known = given.chain(stored).map(Vec::as_slice);
    known.chain(amds_own()).collect()
}

/// For what the root is pinned that vouches for a certificate. The way up is walked once, whatever its end is for.
fn vouched(store: &Store, candidates: &[&[u8]], der: &[u8]) -> Option<PinKind> {
    let kind = |der: &[u8]| PinKind::ALL.into_iter().find(|&kind| store.pins.of_certificate(kind, der).is_some());
    kind(root_of(der, candidates, &|der| kind(der).is_some())?)
}

fn endorsement(found: &Found, name: String, of: PinKind) -> Endorsement {
    let Found { content, subject, bytes, sha256, from, until } = found.clone();
    Endorsement { name, of, content, subject, bytes, sha256, from, until }
}

fn certificate(store: &Store, all: &[Found], one: &Found) -> Result<Endorsement, EndorsementError> {
    let root = vouched(store, &candidates(store, all), &one.bytes).ok_or_else(|| not_vouched(one))?;
    let amd = if root == PinKind::AmdArk { amds_name(one)? } else { None };
    let name = amd.unwrap_or_else(|| format!("{root}/certificate/{}.der", hex(&one.sha256)));
    Ok(endorsement(one, name, root))
}

/// The name of a certificate of AMD's, by its common name.
fn amds_name(one: &Found) -> Result<Option<String>, EndorsementError> {
    let parsed = Certificate::parse(&one.bytes).map_err(|problem| unusable(&one.subject, &problem.to_string()))?;
    let (Some(name), Some(issuer)) = (parsed.common_name(), parsed.issuer_common_name()) else { return Ok(None) };
    let leaf = match name {
        "SEV-VCEK" => Some(("SEV-", SnpSigningKey::Vcek)),
        "SEV-VLEK" => Some(("SEV-VLEK-", SnpSigningKey::Vlek)),
        _ => None,
    };
    let Some((prefix, key)) = leaf else {
        let of = |prefix: &str, place: &str| {
            let product = product(name.strip_prefix(prefix)?)?;
            Some(format!("{place}/{product}.der"))
        };
        return Ok(of("SEV-VLEK-", "asvk").or_else(|| of("SEV-", "ask")).or_else(|| of("ARK-", "ark")));
    };
    let product = issuer.strip_prefix(prefix).and_then(product);
    let product = product.ok_or_else(|| unusable(&one.subject, "its issuer is not of Milan, Genoa or Turin"))?;
    let unreadable = || unusable(&one.subject, "its extensions do not say which chip and TCB it is for");
    let tcb = hex(&tcb(&parsed, product).ok_or_else(unreadable)?);
    Ok(Some(match key {
        SnpSigningKey::Vcek => format!("vcek/{}/{tcb}.der", hex(chip_id(&parsed, product).ok_or_else(unreadable)?)),
        SnpSigningKey::Vlek => format!("vlek/{product}/{tcb}.der"),
    }))
}

/// The TCB of a certificate of AMD's, laid out as in the reports that it is for (AMD 57230, extensions 3.1 to 3.9).
fn tcb(certificate: &Certificate<'_>, product: SnpProduct) -> Option<[u8; 8]> {
    let part = |number: u8| match *certificate.extension(&format!("1.3.6.1.4.1.3704.1.3.{number}"))? {
        [2, 1, value @ 0..=0x7f] | [2, 2, 0, value @ 0x80..=0xff] => Some(value),
        _ => None,
    };
    let (boot_loader, tee, snp, microcode) = (part(1)?, part(2)?, part(3)?, part(8)?);
    Some(match product {
        SnpProduct::Milan | SnpProduct::Genoa => [boot_loader, tee, 0, 0, 0, 0, snp, microcode],
        SnpProduct::Turin => [part(9)?, boot_loader, tee, snp, 0, 0, 0, microcode],
    })
}

/// The chip of a VCEK: 64 bytes, Turin's 8.
fn chip_id<'a>(certificate: &Certificate<'a>, product: SnpProduct) -> Option<&'a [u8]> {
    let length = if product == SnpProduct::Turin { 8 } else { 64 };
    certificate.extension("1.3.6.1.4.1.3704.1.4").filter(|chip_id| chip_id.len() == length)
}

fn product(name: &str) -> Option<SnpProduct> {
    SnpProduct::ALL.into_iter().find(|product| product.name() == name)
}

fn list(store: &Store, all: &[Found], one: &Found) -> Result<Endorsement, EndorsementError> {
    let candidates = candidates(store, all);
    let signer = signer_of(&one.bytes, &candidates).ok_or_else(|| not_vouched(one))?;
    let root = vouched(store, &candidates, signer).ok_or_else(|| not_vouched(one))?;
    let (_, parsed) = CertificateRevocationList::from_der(&one.bytes).map_err(|_| not_vouched(one))?;
    // Lists of several scopes of one issuer lie beside each other.
    let scope = parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.28");
    let scope = scope.map_or_else(String::new, |scope| format!("-{}", &hex(&sha256(scope.value))[..16]));
    let (_, signer) = X509Certificate::from_der(signer).map_err(|_| not_vouched(one))?;
    let common = signer.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let amd = common.and_then(|name| product(name.strip_prefix("ARK-")?)).filter(|_| root == PinKind::AmdArk);
    let issuer = amd.map_or_else(|| hex(&sha256(parsed.issuer().as_raw())), |product| product.to_string());
    Ok(endorsement(one, format!("{root}/crl/{issuer}{scope}.crl"), root))
}

/// Collateral: its certificates chain to the pinned root, its documents and lists are signed by them.
fn collateral(store: &Store, one: &Found) -> Result<Endorsement, EndorsementError> {
    let collateral = Collateral::parse(&one.bytes)?;
    collateral.check_root(&store.pins)?;
    let root = collateral.root();
    let refused = |problem: &str| unusable(&one.subject, problem);
    let pinned = |der: &[u8]| der == root;
    let chain = |pem: &str| -> Result<Vec<Vec<u8>>, EndorsementError> {
        let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let ders = ders.map_err(|_| refused("a chain in it is not PEM"))?;
        Ok(ders.iter().map(|der| der.to_vec()).collect())
    };
    let leads_up = |chain: &[Vec<u8>]| {
        let candidates: Vec<&[u8]> = chain.iter().map(Vec::as_slice).chain([root]).collect();
        chain.first().is_some_and(|leaf| root_of(leaf, &candidates, &pinned).is_some())
    };
    for (pem, document, signature) in collateral.documents() {
        let chain = chain(pem)?;
        if !leads_up(&chain) {
            return Err(refused("the signer of a document in it does not chain to Intel's root"));
        }
        if !chain.first().is_some_and(|signer| signed_document(signer, document.as_bytes(), signature)) {
            return Err(refused("a document in it is not signed by its signer"));
        }
    }
    let (of_root, of_ca, issuers) = collateral.lists();
    let issuers = chain(issuers)?;
    let ca = issuers.first().map(Vec::as_slice).unwrap_or_default();
    if !leads_up(&issuers) || signer_of(of_root, &[root]).is_none() || signer_of(of_ca, &[ca]).is_none() {
        return Err(refused("a revocation list in it is not signed by its issuer"));
    }
    Ok(endorsement(one, collateral_name(collateral.key()), PinKind::IntelSgxRoot))
}

fn manifest(store: &Store, one: &Found, id: Option<&str>, at: u64) -> Result<Endorsement, EndorsementError> {
    let id = id.ok_or(EndorsementError::NoId)?;
    let verified = rim::verify(id, &one.bytes, &store.pins, at)?;
    let (from, until) = verified.validity();
    let seconds = |at: i64| u64::try_from(at).unwrap_or_default();
    let subject = format!("{} {} ({})", verified.kind(), verified.version(), verified.id());
    let found = Found { subject, from: seconds(from), until: seconds(until), ..one.clone() };
    Ok(endorsement(&found, manifest_name(id), PinKind::NvidiaRimRoot))
}
