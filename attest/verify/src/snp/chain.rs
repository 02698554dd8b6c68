//! The chain of a report's signing key: VCEK, ASK, ARK, or VLEK, ASVK, ARK (rows S3, S4, S13).

use super::{
    AttestationReport, SnpEvidence, SnpRefused, SnpRoots, SnpStore,
    endorsement::{Endorsement, check_product},
    store::{crl_file, intermediate_file, leaf_file},
    table,
};
use crate::x509::{Certificate, Crl, MAX_CRLS, P384_POINT, X509Problem, certificates, printable};
use std::borrow::Cow;
use strongroom_protocol::{
    claims::{SnpProduct, SnpSigningKey},
    limits::CERTIFICATES,
    push_length_prefixed, sha256,
};

/// Certificates that may be looked through for one report: of the store, sent, of the table, and at hand.
const MAX_CANDIDATES: usize = 4 * CERTIFICATES;

/// Every certificate that is at hand for a report (DER). Nothing is known of any of them.
#[derive(Debug, Clone, Default)]
pub struct Candidates<'a> {
    ders: Vec<Cow<'a, [u8]>>,
}

impl<'a> Candidates<'a> {
    /// Gathers: the store's, those that were sent, the table's, and the intermediates that come with the roots. What
    /// cannot be read is refused, but in the table, where other things may lie.
    pub fn gather(evidence: &SnpEvidence<'a>, store: &SnpStore<'a>, roots: &'a SnpRoots) -> Result<Self, SnpRefused> {
        let refuse = |problem| SnpRefused::S3Certificate { link: "certificates beside the report", problem };
        if evidence.certificates.len() > CERTIFICATES {
            return Err(refuse(X509Problem::TooMany { limit: CERTIFICATES }));
        }
        let sent = evidence.certificates.iter().map(|bytes| bytes.0.as_slice());
        let mut ders: Vec<Cow<'a, [u8]>> = Vec::new();
        for bytes in store.certificates.iter().copied().chain(sent) {
            ders.extend(certificates(bytes).map_err(refuse)?);
        }
        if let Some(aux) = evidence.aux {
            ders.extend(
                table::contents(aux).into_iter().filter(|der| Certificate::parse(der).is_ok()).map(Cow::Borrowed),
            );
        }
        ders.extend(roots.intermediates());
        if ders.len() > MAX_CANDIDATES {
            return Err(refuse(X509Problem::TooMany { limit: MAX_CANDIDATES }));
        }
        Ok(Self { ders })
    }
}

/// The name of the leaf in messages.
pub(super) fn link(key: SnpSigningKey) -> &'static str {
    match key {
        SnpSigningKey::Vcek => "VCEK",
        SnpSigningKey::Vlek => "VLEK",
    }
}

fn intermediate(key: SnpSigningKey) -> &'static str {
    match key {
        SnpSigningKey::Vcek => "ASK",
        SnpSigningKey::Vlek => "ASVK",
    }
}

/// Common name of the leaf.
fn leaf_name(key: SnpSigningKey) -> &'static str {
    match key {
        SnpSigningKey::Vcek => "SEV-VCEK",
        SnpSigningKey::Vlek => "SEV-VLEK",
    }
}

/// Common name of the intermediate.
fn intermediate_name(key: SnpSigningKey, product: SnpProduct) -> String {
    match key {
        SnpSigningKey::Vcek => format!("SEV-{product}"),
        SnpSigningKey::Vlek => format!("SEV-VLEK-{product}"),
    }
}

/// Three certificates that claim to be the chain of a report's key. Only [`Self::verify`] shows that they are.
#[derive(Debug, Clone)]
pub struct Chain<'a> {
    product: SnpProduct,
    key: SnpSigningKey,
    leaf: Certificate<'a>,
    intermediate: Certificate<'a>,
    root: Certificate<'a>,
}

impl<'a> Chain<'a> {
    /// Finds the chain of the key that `report` says signed it. What neither was sent nor is in the store is named
    /// (row S13); a certificate of the other kind of key is not taken for the right one (row S3).
    pub fn find(
        report: &AttestationReport,
        candidates: &'a Candidates<'a>,
        roots: &'a SnpRoots,
    ) -> Result<Self, SnpRefused> {
        let key = signing_key(report)?;
        let mut parsed = Vec::with_capacity(candidates.ders.len());
        for der in &candidates.ders {
            let problem = |problem| SnpRefused::S3Certificate { link: "certificates beside the report", problem };
            parsed.push(Certificate::parse(der).map_err(problem)?);
        }
        let by_report = report.product()?;
        let leaf = find_leaf(report, by_report, key, &parsed)?;
        let product = by_report.map_or_else(|| product_of(leaf, key), Ok)?;
        let ark = roots.ark(product).ok_or(SnpRefused::S3NoRoot { product })?;
        let root = Certificate::parse(ark).map_err(|problem| SnpRefused::S3Certificate { link: "ARK", problem })?;
        let name = intermediate_name(key, product);
        let found = parsed.iter().find(|certificate| certificate.common_name() == Some(&name));
        let missing = || SnpRefused::S13Missing { what: intermediate(key), file: intermediate_file(product, key) };
        Ok(Self { product, key, leaf: leaf.clone(), intermediate: found.ok_or_else(missing)?.clone(), root })
    }

    /// The product whose roots it is held against: the report's, or in version 2, which names none, the leaf's.
    pub fn product(&self) -> SnpProduct {
        self.product
    }

    pub(super) fn kind(&self) -> SnpSigningKey {
        self.key
    }

    /// The leaf's key, whoever signed the leaf.
    pub(super) fn leaf_key(&self) -> Option<[u8; P384_POINT]> {
        self.leaf.p384_key()
    }

    /// Rows S3 and S4 at `at` (Unix seconds): names, dates, kinds, signatures up to the pinned ARK, revocation.
    pub fn verify(&self, crls: &[&[u8]], at: u64) -> Result<VerifiedChain, SnpRefused> {
        let key = self.check_path(at)?;
        let made_at = self.check_revocation(crls, at)?;
        let endorsement = self.endorsement()?;
        let links = [&self.leaf, &self.intermediate, &self.root];
        let mut from = links.iter().map(|link| link.validity().0).max().unwrap_or(i64::MAX);
        let mut until = links.iter().map(|link| link.validity().1).min().unwrap_or(i64::MIN);
        if let Some((made_at, next)) = made_at {
            (from, until) = (from.max(made_at), until.min(next));
        }
        let crl_made_at = made_at.map(|(made_at, _)| made_at);
        let Self { product, key: kind, .. } = *self;
        Ok(VerifiedChain { product, kind, key, endorsement, from, until, crl_made_at })
    }

    /// Row S3. Gives the leaf's key.
    pub(super) fn check_path(&self, at: u64) -> Result<[u8; P384_POINT], SnpRefused> {
        let (leaf, middle) = (link(self.key), intermediate(self.key));
        let of = |link| move |problem| SnpRefused::S3Certificate { link, problem };
        check_name(leaf, &self.leaf, leaf_name(self.key))?;
        check_name("ARK", &self.root, &format!("ARK-{}", self.product))?;
        check_product(&self.leaf, self.key, self.product)?;
        let key = self.leaf.p384_key().ok_or(SnpRefused::S3Curve(self.key))?;
        self.leaf.check_leaf().map_err(of(leaf))?;
        self.intermediate.check_authority(0).map_err(of(middle))?;
        self.root.check_authority(1).map_err(of("ARK"))?;
        self.leaf.check_valid_at(at).map_err(of(leaf))?;
        self.intermediate.check_valid_at(at).map_err(of(middle))?;
        self.root.check_valid_at(at).map_err(of("ARK"))?;
        self.intermediate.check_signed_by(&self.root).map_err(of(middle))?;
        self.leaf.check_signed_by(&self.intermediate).map_err(of(leaf))?;
        Ok(key)
    }

    /// Row S4: every list of this root must hold, and none may name the intermediate. Leaves are not looked up: VCEKs
    /// have serial 0, all of them. Gives when the oldest list was made and until when all hold; `None` without one.
    pub(super) fn check_revocation(&self, crls: &[&[u8]], at: u64) -> Result<Option<(i64, i64)>, SnpRefused> {
        let issuer = self.root.subject();
        let refused = |problem| SnpRefused::S4Crl { issuer: issuer.clone(), problem };
        let mut holds: Option<(i64, i64)> = None;
        let crls: Vec<&[u8]> = crls.iter().copied().filter(|der| Crl::may_be_of(der, &self.root)).collect();
        let actual = crls.iter().map(|der| der.len()).sum();
        if actual > MAX_CRLS {
            return Err(refused(X509Problem::TooLarge { limit: MAX_CRLS, actual }));
        }
        for der in crls {
            let crl = Crl::parse(der).map_err(refused)?;
            if !crl.is_of(&self.root) {
                continue;
            }
            crl.check(&self.root, at).map_err(refused)?;
            if crl.revokes(self.intermediate.serial()) {
                return Err(SnpRefused::S4Revoked { subject: self.intermediate.subject() });
            }
            let (made_at, next) = crl.validity().map_err(refused)?;
            holds = Some(holds.map_or((made_at, next), |(first, last)| (first.min(made_at), last.min(next))));
        }
        Ok(holds)
    }

    /// The file of the list that a store should have.
    pub(super) fn crl_missing(&self) -> SnpRefused {
        SnpRefused::S4Missing { product: self.product, file: crl_file(self.product, self.key) }
    }

    /// Row S5: what the leaf says of its key.
    pub(super) fn endorsement(&self) -> Result<Endorsement, SnpRefused> {
        Endorsement::read(&self.leaf, self.key, self.product)
    }
}

/// Row S3: firmware signed, and with what.
fn signing_key(report: &AttestationReport) -> Result<SnpSigningKey, SnpRefused> {
    match report.key_info.signing_key {
        _ if report.key_info.masked_key => Err(SnpRefused::S3Unsigned { why: "MASK_CHIP_KEY is set" }),
        Some(key) => Ok(key),
        None => Err(SnpRefused::S3Unsigned { why: "SIGNING_KEY is NONE" }),
    }
}

/// The leaf, by its name and, where there are several, by what it is for.
fn find_leaf<'c, 'a>(
    report: &AttestationReport,
    product: Option<SnpProduct>,
    key: SnpSigningKey,
    parsed: &'c [Certificate<'a>],
) -> Result<&'c Certificate<'a>, SnpRefused> {
    let of = |key| parsed.iter().filter(move |certificate| certificate.common_name() == Some(leaf_name(key)));
    let fits = |certificate: &&Certificate<'_>| {
        let product = product.or_else(|| product_of(certificate, key).ok());
        let endorsement =
            product.and_then(|product| Some((product, Endorsement::read(certificate, key, product).ok()?)));
        endorsement.is_some_and(|(product, endorsement)| endorsement.is_for(report, product))
    };
    if let Some(leaf) = of(key).find(fits).or_else(|| of(key).next()) {
        return Ok(leaf);
    }
    let other = match key {
        SnpSigningKey::Vcek => SnpSigningKey::Vlek,
        SnpSigningKey::Vlek => SnpSigningKey::Vcek,
    };
    if of(other).next().is_some() {
        return Err(SnpRefused::S3Kind { report: key, certificate: other });
    }
    if key == SnpSigningKey::Vcek && report.chip_id().is_none() {
        return Err(SnpRefused::S5Masked);
    }
    Err(SnpRefused::S13Missing { what: link(key), file: leaf_file(report, product, key) })
}

/// The product that the leaf's issuer is of.
fn product_of(leaf: &Certificate<'_>, key: SnpSigningKey) -> Result<SnpProduct, SnpRefused> {
    let got = leaf.issuer_common_name().unwrap_or_default();
    let found = SnpProduct::ALL.into_iter().find(|product| intermediate_name(key, *product) == got);
    found.ok_or_else(|| SnpRefused::S3Name {
        link: link(key),
        field: "issuer",
        expected: format!("{} of Milan, Genoa or Turin", intermediate(key)),
        got: printable(got),
    })
}

fn check_name(link: &'static str, certificate: &Certificate<'_>, expected: &str) -> Result<(), SnpRefused> {
    match certificate.common_name() {
        Some(name) if name == expected => Ok(()),
        name => {
            let got = printable(name.unwrap_or_default());
            Err(SnpRefused::S3Name { link, field: "common name", expected: expected.to_owned(), got })
        }
    }
}

/// A chain that was verified, so that one signature is left to check for a report. Keep it by [`cache_key`], and no
/// longer than [`Self::until`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedChain {
    product: SnpProduct,
    kind: SnpSigningKey,
    key: [u8; P384_POINT],
    endorsement: Endorsement,
    from: i64,
    until: i64,
    crl_made_at: Option<i64>,
}

impl VerifiedChain {
    /// The product that it is of.
    pub fn product(&self) -> SnpProduct {
        self.product
    }

    /// Which kind of key.
    pub fn kind(&self) -> SnpSigningKey {
        self.kind
    }

    /// The last second at which every certificate and list of it holds, Unix seconds.
    pub fn until(&self) -> i64 {
        self.until
    }

    /// When the list was made by which it is not revoked, Unix seconds; `None` without a list.
    pub fn crl_made_at(&self) -> Option<i64> {
        self.crl_made_at
    }

    pub(super) fn key(&self) -> &[u8; P384_POINT] {
        &self.key
    }

    pub(super) fn endorsement(&self) -> &Endorsement {
        &self.endorsement
    }

    /// The chain is used for a report that it is of, at a time at which it holds.
    pub(super) fn check_use(&self, report: &AttestationReport, at: u64) -> Result<(), SnpRefused> {
        let Self { from, until, .. } = *self;
        let seconds = i64::try_from(at).unwrap_or(i64::MAX);
        if seconds < from || seconds > until {
            return Err(SnpRefused::S3Time { from, until, at });
        }
        let key = signing_key(report)?;
        if key != self.kind {
            return Err(SnpRefused::S3Kind { report: key, certificate: self.kind });
        }
        match report.product()? {
            Some(product) if product != self.product => Err(SnpRefused::S3Name {
                link: link(key),
                field: "productName",
                expected: product.to_string(),
                got: self.product.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// What to keep a verified chain by: SHA-256 over everything that it was made from. Other certificates, other lists,
/// another chip or another TCB, and other roots give another key, so that nothing stale is found: not even after a root
/// was taken out of the pins.
pub fn cache_key(
    report: &AttestationReport,
    evidence: &SnpEvidence<'_>,
    store: &SnpStore<'_>,
    roots: &SnpRoots,
) -> [u8; 32] {
    let mut out = b"strongroom/snp-chain\0".to_vec();
    out.extend_from_slice(&report.chip_id);
    out.extend_from_slice(&report.reported_tcb.0);
    let cpu = report.cpu.map_or([0; 3], |cpu| [1, cpu.family, cpu.model]);
    out.extend_from_slice(&cpu);
    let sent = evidence.certificates.iter().map(|bytes| bytes.0.as_slice());
    let lists: [Vec<&[u8]>; 4] =
        [sent.collect(), evidence.aux.into_iter().collect(), store.certificates.to_vec(), store.crls.to_vec()];
    out.extend_from_slice(roots.fingerprint());
    for list in lists {
        out.extend_from_slice(&(list.len() as u64).to_le_bytes());
        for bytes in list {
            push_length_prefixed(&mut out, &sha256(bytes));
        }
    }
    sha256(&out)
}
