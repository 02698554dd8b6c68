//! Vendor roots and revocation lists for TPM certificates, read from directories.

use anyhow::{Context as _, Result};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use std::path::{Path, PathBuf};
use strongroom_attest::TrustAnchors;

/// What EK certificates are measured against.
#[derive(Default)]
pub struct Trust {
    /// Pinned roots, with intermediates that may help to build a path.
    pub anchors: TrustAnchors,
    /// Revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
}

impl Trust {
    /// Reads every `*.pem` of `roots`, and every `*.pem` and `*.crl` of `crls`. A directory that is
    /// missing is empty: then no TPM can be enrolled, and `doctor` says so.
    pub fn load(roots: &Path, crls: &Path) -> Result<Self> {
        let mut trust = Self::default();
        for path in files(roots, &["pem"])? {
            let pem = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let anchors = TrustAnchors::from_pem(&pem).with_context(|| format!("import {}", path.display()))?;
            trust.anchors.extend(anchors);
        }
        for path in files(crls, &["pem", "crl"])? {
            let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            if bytes.starts_with(b"-----BEGIN") {
                for crl in CertificateRevocationListDer::pem_slice_iter(&bytes) {
                    trust.crls.push(crl.with_context(|| format!("import {}", path.display()))?.as_ref().to_vec());
                }
            } else {
                trust.crls.push(bytes);
            }
        }
        Ok(trust)
    }
}

/// Files of a directory with one of these extensions, by name; none if there is no such directory.
fn files(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", directory.display())),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
