//! Vendor roots and revocation lists for TPM certificates, read from directories.

use anyhow::{Context as _, Result, bail};
use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use std::path::{Path, PathBuf};
use strongroom_attest::{TrustAnchors, enrol::check_crl};

/// How a PEM section begins; text may stand before it.
const BEGIN: &[u8] = b"-----BEGIN ";

/// What EK certificates are measured against.
#[derive(Default)]
pub struct Trust {
    /// Pinned roots, with intermediates that may help to build a path.
    pub anchors: TrustAnchors,
    /// Revocation lists.
    pub crls: Vec<Crl>,
}

/// A revocation list that can be read.
pub struct Crl {
    /// Where it came from.
    pub path: PathBuf,
    /// Its bytes.
    pub der: Vec<u8>,
    /// When its issuer promised the next one, Unix seconds. After that nothing is enrolled by it.
    pub next_update: Option<i64>,
}

impl Crl {
    fn read(path: &Path, der: Vec<u8>) -> Result<Self> {
        let unusable = || format!("{} is no revocation list that can be used", path.display());
        check_crl(&der).with_context(unusable)?;
        let (rest, parsed) = x509_parser::parse_x509_crl(&der).with_context(unusable)?;
        if !rest.is_empty() {
            bail!("{}: {} bytes follow the revocation list", path.display(), rest.len());
        }
        let next_update = parsed.next_update().map(|time| time.timestamp());
        Ok(Self { path: path.to_owned(), der, next_update })
    }
}

impl Trust {
    /// Reads every `*.pem` of `roots`, and every `*.pem` and `*.crl` of `crls`. A directory of roots
    /// that is missing is empty: then no TPM can be enrolled, and `doctor` says so. What of the
    /// revocation lists cannot be read or parsed is an error that names the file: without it a revoked
    /// TPM would be enrolled, or none at all.
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
            if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
                let before = trust.crls.len();
                for crl in CertificateRevocationListDer::pem_slice_iter(&bytes) {
                    let crl = crl.with_context(|| format!("import {}", path.display()))?;
                    trust.crls.push(Crl::read(&path, crl.as_ref().to_vec())?);
                }
                if trust.crls.len() == before {
                    bail!("{} holds no revocation list", path.display());
                }
            } else {
                trust.crls.push(Crl::read(&path, bytes)?);
            }
        }
        Ok(trust)
    }

    /// Revocation lists whose next one is due at `now` (Unix seconds).
    pub fn expired(&self, now: i64) -> impl Iterator<Item = &Crl> {
        self.crls.iter().filter(move |crl| crl.next_update.is_some_and(|next| next < now))
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
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
        KeyPair, KeyUsagePurpose, SerialNumber,
    };
    use time::OffsetDateTime;

    const NEXT_UPDATE: i64 = 1_800_000_000;

    /// A list that revokes nothing, DER and PEM.
    fn revocation_list() -> (Vec<u8>, String) {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let list = CertificateRevocationListParams {
            this_update: at(NEXT_UPDATE - 86_400),
            next_update: at(NEXT_UPDATE),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).unwrap();
        (list.der().to_vec(), list.pem().unwrap())
    }

    #[test]
    fn revocation_lists_that_are_not_read_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let (roots, crls) = (directory.path().join("roots"), directory.path().join("crls"));
        let load = || Trust::load(&roots, &crls).map(|trust| trust.crls.len()).map_err(|e| format!("{e:#}"));
        assert!(load().unwrap_err().contains("[attestation] crls"));
        std::fs::create_dir(&crls).unwrap();
        assert_eq!(load(), Ok(0), "none is a choice");
        std::fs::write(crls.join(".keep"), b"").unwrap();
        let (der, pem) = revocation_list();
        std::fs::write(crls.join("amd.crl"), &der).unwrap();
        assert_eq!(load(), Ok(1));
        std::fs::write(crls.join("nuvoton.pem"), format!("Certificate Revocation List\n{pem}")).unwrap();
        assert_eq!(load(), Ok(2));
        let trust = Trust::load(&roots, &crls).unwrap();
        assert_eq!(trust.expired(NEXT_UPDATE - 1).count(), 0);
        assert_eq!(trust.expired(NEXT_UPDATE + 1).count(), 2);
        let mut broken = der.clone();
        broken[6] ^= 0xff;
        let shorn = der[..der.len() - 1].to_vec();
        let longer = [&der[..], b"x"].concat();
        // Version 1 can be parsed; who verifies certificates takes version 2 only (RFC 5280, 5.1.2.1).
        let version = der.windows(3).position(|bytes| bytes == [2, 1, 1]).unwrap();
        let mut older = der.clone();
        older[version + 2] = 0;
        for wrong in
            [b"x".to_vec(), Vec::new(), broken, shorn, longer, older, b"-----BEGIN X509 CRL-----\n!\n".to_vec()]
        {
            std::fs::write(crls.join("stm.crl"), wrong).unwrap();
            assert!(load().unwrap_err().contains("stm.crl"), "{:?}", load());
        }
        std::fs::remove_file(crls.join("stm.crl")).unwrap();
        std::fs::write(crls.join("intel.der"), der).unwrap();
        assert!(load().unwrap_err().contains("intel.der is not read"));
        std::fs::rename(crls.join("intel.der"), crls.join("intel.pem")).unwrap();
        let certificate = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap().cert.pem();
        std::fs::write(crls.join("intel.pem"), certificate).unwrap();
        assert!(load().unwrap_err().contains("holds no revocation list"));
    }
}
