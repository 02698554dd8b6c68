//! Vendor roots and revocation lists for TPM certificates, read from directories.

use anyhow::{Context as _, Result, bail};
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
    /// Reads every `*.pem` of `roots`, and every `*.pem` and `*.crl` of `crls`. A directory of roots
    /// that is missing is empty: then no TPM can be enrolled, and `doctor` says so. What of the
    /// revocation lists cannot be read is an error: without them a revoked TPM would be enrolled.
    pub fn load(roots: &Path, crls: &Path) -> Result<Self> {
        let mut trust = Self::default();
        for path in files(roots, &["pem"])? {
            let pem = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let anchors = TrustAnchors::from_pem(&pem).with_context(|| format!("import {}", path.display()))?;
            trust.anchors.extend(anchors);
        }
        if !crls.is_dir() {
            bail!(
                "there is no directory {} of revocation lists: make it, or correct [attestation] crls",
                crls.display()
            );
        }
        for path in all_files(crls)? {
            let extension = path.extension().and_then(|e| e.to_str());
            if !extension.is_some_and(|e| ["pem", "crl"].contains(&e)) {
                bail!("{} is not read: name a revocation list *.pem or *.crl, or take it away", path.display());
            }
            let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            if bytes.starts_with(b"-----BEGIN") {
                let before = trust.crls.len();
                for crl in CertificateRevocationListDer::pem_slice_iter(&bytes) {
                    trust.crls.push(crl.with_context(|| format!("import {}", path.display()))?.as_ref().to_vec());
                }
                if trust.crls.len() == before {
                    bail!("{} holds no revocation list", path.display());
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
    let wanted = |path: &PathBuf| path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e));
    Ok(all_files(directory)?.into_iter().filter(wanted).collect())
}

/// Files of a directory by name, but for hidden ones.
fn all_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", directory.display())),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocation_lists_that_are_not_read_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let (roots, crls) = (directory.path().join("roots"), directory.path().join("crls"));
        let load = || Trust::load(&roots, &crls).map(|trust| trust.crls.len()).map_err(|e| format!("{e:#}"));
        assert!(load().unwrap_err().contains("[attestation] crls"));
        std::fs::create_dir(&crls).unwrap();
        assert_eq!(load(), Ok(0), "none is a choice");
        std::fs::write(crls.join(".keep"), b"").unwrap();
        std::fs::write(crls.join("amd.crl"), b"\x30\x00").unwrap();
        assert_eq!(load(), Ok(1));
        std::fs::write(crls.join("intel.der"), b"\x30\x00").unwrap();
        assert!(load().unwrap_err().contains("intel.der is not read"));
        std::fs::rename(crls.join("intel.der"), crls.join("intel.pem")).unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap().cert.pem();
        std::fs::write(crls.join("intel.pem"), certificate).unwrap();
        assert!(load().unwrap_err().contains("holds no revocation list"));
    }
}
