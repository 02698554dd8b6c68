//! AMD's roots (ARK) and the intermediates that come with them (ASK): rows S3 and S13.

use crate::{
    pins::{PinKind, Pins},
    x509::{Certificate, X509Problem, certificates},
};
use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};
use strongroom_protocol::{claims::SnpProduct, push_length_prefixed, sha256};

/// The trusted roots, one a product, and intermediates at hand. An intermediate is not trusted for being here: it must
/// be signed by its root.
///
/// [`Self::built_in`] is what a release trusts: certificates of the `sev` crate, each root by its pin. Other sets are
/// made from pins and certificates, both data: a test gives its own, a vault what four eyes approved.
#[derive(Debug, Clone, Default)]
pub struct SnpRoots {
    arks: BTreeMap<SnpProduct, Vec<u8>>,
    intermediates: Vec<Vec<u8>>,
    fingerprint: [u8; 32],
}

static BUILT_IN: LazyLock<SnpRoots> = LazyLock::new(|| {
    use sev::certs::snp::builtin::{genoa, milan, turin};
    let all = [milan::ARK, milan::ASK, genoa::ARK, genoa::ASK, turin::ARK, turin::ASK];
    SnpRoots::new(Pins::built_in(), all).unwrap_or_default()
});

impl SnpRoots {
    /// The roots that this release was reviewed with. A test shows that all three are there: were one not, reports of
    /// its product would be refused.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// A set of certificates (DER or PEM): those that `pins` has as an AMD root are roots of the pinned product, the
    /// others intermediates at hand. A certificate whose form does not hold is refused.
    pub fn new<'a>(pins: &Pins, all: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, X509Problem> {
        let mut roots = Self::default();
        for der in all.into_iter().map(certificates).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            let certificate = Certificate::parse(&der)?;
            let pin = pins.find(PinKind::AmdArk, &certificate.fingerprint());
            let product = pin.and_then(|pin| pin.product.as_deref());
            match product.and_then(|name| SnpProduct::ALL.into_iter().find(|product| product.name() == name)) {
                Some(product) => drop(roots.arks.insert(product, der.into_owned())),
                None => roots.intermediates.push(der.into_owned()),
            }
        }
        roots.fingerprint = roots.digest();
        Ok(roots)
    }

    /// SHA-256 over all of them: what was verified under one set is not taken for verified under another.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    fn digest(&self) -> [u8; 32] {
        let mut out = (self.arks.len() as u64).to_le_bytes().to_vec();
        for (product, der) in &self.arks {
            push_length_prefixed(&mut out, product.name().as_bytes());
            push_length_prefixed(&mut out, &sha256(der));
        }
        for der in &self.intermediates {
            push_length_prefixed(&mut out, &sha256(der));
        }
        sha256(&out)
    }

    /// The products that have a root.
    pub fn products(&self) -> impl Iterator<Item = SnpProduct> {
        self.arks.keys().copied()
    }

    /// The root of a product (DER).
    pub fn ark(&self, product: SnpProduct) -> Option<&[u8]> {
        self.arks.get(&product).map(Vec::as_slice)
    }

    /// Intermediates at hand (DER).
    pub(super) fn intermediates(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.intermediates.iter().map(|der| Cow::Borrowed(der.as_slice()))
    }
}
