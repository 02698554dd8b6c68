//! Where it belongs: the root that vouches for it, and the name by which it is found.

use super::{
    Endorsement, EndorsementError, Store,
    found::{Content, Found, unusable},
    issued::{Issuers, key_of, signed_document, signer_of, subject_of, way_up},
    not_vouched,
};
use crate::{
    nvidia::{Answer, rim},
    pins::{Pin, PinKind, Pins},
    quote::hex,
    snp::crl_file,
    tdx::{Collateral, CollateralKey},
    x509::Certificate,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{collections::BTreeMap, sync::LazyLock};
use strongroom_protocol::{
    claims::{SnpProduct, SnpSigningKey},
    sha256,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

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
pub(super) fn amds_own() -> impl Iterator<Item = &'static [u8]> {
    AMDS_OWN.iter().map(Vec::as_slice)
}

/// What may have issued one thing of an import: what came with this crate, with it, and before it.
pub(super) struct Candidates<'a> {
    store: &'a Store,
    given: BTreeMap<&'a [u8], Vec<&'a [u8]>>,
}

impl<'a> Candidates<'a> {
    /// Those for everything of an import.
    pub(super) fn new(store: &'a Store, all: &'a [Found]) -> Self {
        let mut given: BTreeMap<_, Vec<&[u8]>> = BTreeMap::new();
        for one in all.iter().filter(|one| one.content == Content::Certificate) {
            if let Some(subject) = subject_of(&one.bytes) {
                given.entry(subject).or_default().push(&one.bytes);
            }
        }
        Self { store, given }
    }

    /// For what the root is pinned that vouches for a certificate. The way up is walked once, whatever its end is for,
    /// and no further than to what was vouched for before.
    pub(super) fn vouched(&self, der: &[u8]) -> Option<PinKind> {
        way_up(der, self, &|der| self.store.known(der))
    }

    /// Certificates of NVIDIA's branches, and those that were given.
    fn authorities(&self) -> Vec<&'a [u8]> {
        let stored = [PinKind::NvidiaDeviceRoot, PinKind::NvidiaRimRoot].into_iter();
        let stored = stored.flat_map(|kind| self.store.certificates(kind)).map(|one| one.bytes.as_slice());
        self.given.values().flatten().copied().chain(stored).collect()
    }
}

impl<'a> Issuers<'a> for Candidates<'a> {
    fn named(&self, subject: &[u8]) -> Vec<&'a [u8]> {
        let mut named: Vec<&'a [u8]> =
            amds_own().filter(|der| subject_of(der).is_some_and(|name| name == subject)).collect();
        let stored = self.store.issuers_named(subject);
        for der in self.given.get(subject).into_iter().flatten().copied().chain(stored) {
            if !named.contains(&der) {
                named.push(der);
            }
        }
        named
    }
}

/// Places one thing among all that came with it.
pub(super) fn place(
    among: &Candidates<'_>,
    one: &Found,
    id: Option<&str>,
    at: u64,
) -> Result<Endorsement, EndorsementError> {
    match one.content {
        Content::Collateral => collateral(among.store, one),
        Content::Manifest => manifest(among.store, one, id, at),
        Content::Certificate => certificate(among, one),
        Content::RevocationList => list(among, one, id),
        Content::Answer => answer(among, one, at),
    }
}

fn endorsement(found: &Found, name: String, of: PinKind) -> Endorsement {
    let Found { content, subject, bytes, sha256, from, until } = found.clone();
    Endorsement { name, of, content, subject, bytes, sha256, from, until }
}

fn certificate(among: &Candidates<'_>, one: &Found) -> Result<Endorsement, EndorsementError> {
    let root = among.vouched(&one.bytes).ok_or_else(|| not_vouched(one))?;
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

/// A list lies by the key that signed it, never by a name that two authorities may have.
fn list(among: &Candidates<'_>, one: &Found, id: Option<&str>) -> Result<Endorsement, EndorsementError> {
    let signer = signer_of(&one.bytes, among).ok_or_else(|| not_vouched(one))?;
    let root = among.vouched(signer).ok_or_else(|| not_vouched(one))?;
    let key = hex(&key_of(signer).ok_or_else(|| not_vouched(one))?);
    let (_, parsed) = CertificateRevocationList::from_der(&one.bytes).map_err(|_| not_vouched(one))?;
    // Lists of several scopes of one issuer lie beside each other.
    let scope = parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.28");
    let scope = scope.map_or_else(String::new, |scope| format!("-{}", &hex(&sha256(scope.value))[..16]));
    let name = match amds_list(&among.store.pins, signer, one, id)? {
        Some(name) if scope.is_empty() => name,
        _ => format!("{root}/crl/{key}{scope}.crl"),
    };
    Ok(endorsement(one, name, root))
}

/// The name of a list that a pinned root of AMD's signed, by the product of its pin. AMD publishes two lists of each
/// root, which do not say which they are: one at `vcek/v1/{product}/crl`, where ASKs say that they would be listed, one
/// at `vlek/v1/{product}/crl`, where ASVKs do. Whichever way they are told apart, both count for both.
fn amds_list(pins: &Pins, signer: &[u8], one: &Found, id: Option<&str>) -> Result<Option<String>, EndorsementError> {
    let named = |pin: &Pin| pin.product.as_deref().and_then(product);
    let Some(of) = pins.of_certificate(PinKind::AmdArk, signer).and_then(named) else { return Ok(None) };
    // Two roots of one product are two keys, and have names of their own.
    if pins.of(PinKind::AmdArk).filter(|pin| named(pin) == Some(of)).count() > 1 {
        return Ok(None);
    }
    match id {
        None | Some("vcek") => Ok(Some(crl_file(of, SnpSigningKey::Vcek))),
        Some("vlek") => Ok(Some(crl_file(of, SnpSigningKey::Vlek))),
        Some(_) => Err(unusable(&one.subject, "the id of a list of AMD's is `vcek` or `vlek`, as its address says")),
    }
}

/// An answer lies by the certificate that it is about: its serial number and the key of its issuer.
fn answer(among: &Candidates<'_>, one: &Found, at: u64) -> Result<Endorsement, EndorsementError> {
    let refused = |problem: &str| unusable(&one.subject, problem);
    let read = Answer::read(&one.bytes).ok_or_else(|| refused("it is no successful answer"))?;
    let single = read.only().ok_or_else(|| refused("it is not about one certificate"))?;
    if !single.is_known() {
        return Err(refused("the responder does not know the certificate: ask for that of a device of NVIDIA's"));
    }
    let all = among.authorities();
    let mut issuers = all.iter().filter_map(|der| Certificate::parse(der).ok()).filter(|issuer| single.is_by(issuer));
    let issuer = issuers.next().ok_or_else(|| not_vouched(one))?;
    let root = among.vouched(issuer.der()).ok_or_else(|| not_vouched(one))?;
    if !matches!(root, PinKind::NvidiaDeviceRoot | PinKind::NvidiaRimRoot) {
        return Err(refused("answers are of NVIDIA's branches only"));
    }
    if !read.is_signed(&issuer, at) {
        return Err(refused("the answer is not signed by the issuer, nor by whom the issuer named"));
    }
    let name = format!("nvidia/ocsp/{}-{}.ocsp", hex(single.serial()), &hex(&sha256(issuer.spki()))[..16]);
    Ok(endorsement(one, name, root))
}

/// Collateral: its certificates chain to the pinned root, its documents and lists are signed by them.
fn collateral(store: &Store, one: &Found) -> Result<Endorsement, EndorsementError> {
    let collateral = Collateral::parse(&one.bytes)?;
    collateral.check_root(&store.pins)?;
    let root = collateral.root();
    let refused = |problem: &str| unusable(&one.subject, problem);
    let known = |der: &[u8]| (der == root).then_some(());
    let chain = |pem: &str| -> Result<Vec<Vec<u8>>, EndorsementError> {
        let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let ders = ders.map_err(|_| refused("a chain in it is not PEM"))?;
        Ok(ders.iter().map(|der| der.to_vec()).collect())
    };
    let leads_up = |chain: &[Vec<u8>]| {
        let candidates: Vec<&[u8]> = chain.iter().map(Vec::as_slice).chain([root]).collect();
        chain.first().is_some_and(|leaf| way_up(leaf, candidates.as_slice(), &known).is_some())
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
    if !leads_up(&issuers)
        || signer_of(of_root, [root].as_slice()).is_none()
        || signer_of(of_ca, [ca].as_slice()).is_none()
    {
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
