//! Pinned vendor roots, and the intermediates that are imported beside them.

use crate::quote::hex;
use rustls_pki_types::{CertificateDer, TrustAnchor, pem::PemObject};
use strongroom_protocol::sha256;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Roots that paths may end at, and intermediates that paths may go through.
///
/// Only a certificate that is its own issuer and a CA becomes a root. Everything else that is
/// imported can only help to build a path: an intermediate that lies in the store is never itself
/// the end of a path, so removing or revoking a root takes its whole branch with it.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    pub(super) roots: Vec<Root>,
    pub(super) intermediates: Vec<CertificateDer<'static>>,
}

/// One root.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) anchor: TrustAnchor<'static>,
    /// SHA-256 of the certificate.
    pub(super) sha256: [u8; 32],
    /// Unix seconds.
    pub(super) not_before: i64,
    /// Unix seconds.
    pub(super) not_after: i64,
    /// Most intermediates between this root and the EK certificate.
    pub(super) path_length: Option<u32>,
}

/// Why certificates were not taken into the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustAnchorError {
    /// Not PEM, or cut off.
    #[error("not PEM: {0}")]
    NotPem(String),
    /// Nothing to import.
    #[error("there is no certificate in it")]
    Empty,
    /// Not an X.509 certificate that can be used.
    #[error("certificate {index} (SHA-256 {sha256}) cannot be used: {problem}")]
    NotACertificate {
        /// Place in the input, from 0.
        index: usize,
        /// Its fingerprint.
        sha256: String,
        /// What was wrong.
        problem: String,
    },
}

impl TrustAnchors {
    /// Imports every `CERTIFICATE` block of a PEM text.
    pub fn from_pem(pem: &str) -> Result<Self, TrustAnchorError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| TrustAnchorError::NotPem(error.to_string()))?;
        if certificates.is_empty() {
            return Err(TrustAnchorError::Empty);
        }
        Self::from_der(certificates.iter().map(AsRef::as_ref))
    }

    /// Imports DER certificates.
    pub fn from_der<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TrustAnchorError> {
        let mut anchors = Self::default();
        for (index, der) in certificates.into_iter().enumerate() {
            let problem =
                |problem: String| TrustAnchorError::NotACertificate { index, sha256: hex(&sha256(der)), problem };
            anchors.add(der).map_err(problem)?;
        }
        Ok(anchors)
    }

    /// Takes over everything of another store.
    pub fn extend(&mut self, other: Self) {
        for root in other.roots {
            if !self.roots.iter().any(|known| known.sha256 == root.sha256) {
                self.roots.push(root);
            }
        }
        for certificate in other.intermediates {
            if !self.intermediates.contains(&certificate) {
                self.intermediates.push(certificate);
            }
        }
    }

    /// SHA-256 of each root's certificate.
    pub fn roots_sha256(&self) -> impl Iterator<Item = [u8; 32]> {
        self.roots.iter().map(|root| root.sha256)
    }

    /// How many intermediates the store holds.
    pub fn intermediates(&self) -> usize {
        self.intermediates.len()
    }

    fn add(&mut self, der: &[u8]) -> Result<(), String> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let constraints = certificate.basic_constraints().map_err(|error| error.to_string())?;
        if !constraints.as_ref().is_some_and(|constraints| constraints.value.ca) {
            return Err("it is not a CA's".to_owned());
        }
        let owned = CertificateDer::from(der.to_vec());
        if certificate.subject().as_raw() != certificate.issuer().as_raw() {
            self.extend(Self { roots: vec![], intermediates: vec![owned] });
            return Ok(());
        }
        let anchor = webpki::anchor_from_trusted_cert(&owned).map_err(|error| error.to_string())?.to_owned();
        let validity = certificate.validity();
        let root = Root {
            anchor,
            sha256: sha256(der),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            path_length: constraints.and_then(|constraints| constraints.value.path_len_constraint),
        };
        self.extend(Self { roots: vec![root], intermediates: vec![] });
        Ok(())
    }
}
