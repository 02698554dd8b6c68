//! `strongroom endorsement pin`: roots by fingerprint.

use super::super::recorded;
use crate::{
    context::{Context, read_capped},
    output::{Answer, Failure, table},
};
use clap::Subcommand;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::path::{Path, PathBuf};
use strongroom::protocol::{
    admin::Recorded,
    endorsement::{PinState, PinView, ProposePin},
    limits, sha256,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The one kind of root that a vault adds.
const KIND: &str = "tpm-vendor";

/// Pins.
#[derive(Subcommand)]
pub(crate) enum Pin {
    /// Propose that a TPM vendor's root be trusted
    #[command(
        after_help = "Example:\n  strongroom endorsement pin propose vendor-root.pem --source https://vendor.example/roots\n\nCompare the fingerprint that is shown with what the vendor publishes. Another person approves it."
    )]
    Propose {
        /// The root's certificate, DER or PEM
        #[arg(value_name = "FILE")]
        certificate: PathBuf,
        /// Where the certificate can be had and compared
        #[arg(long, value_name = "URL")]
        source: String,
    },
    /// Put a pin in force that somebody else proposed
    #[command(after_help = "Example:\n  strongroom endorsement pin approve SHA256")]
    Approve {
        /// The fingerprint, as `endorsement pin list` shows it
        #[arg(value_parser = fingerprint)]
        sha256: String,
    },
    /// Take a pin back that nothing rests on, or the proposal of one
    #[command(after_help = "Example:\n  strongroom endorsement pin withdraw SHA256")]
    Withdraw {
        /// The fingerprint
        #[arg(value_parser = fingerprint)]
        sha256: String,
    },
    /// Every pinned root
    #[command(after_help = "Example:\n  strongroom endorsement pin list")]
    List,
}

impl Pin {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Propose { certificate, source } => {
                let (name, sha256) = root(&certificate)?;
                let body = ProposePin { kind: KIND.to_owned(), name: name.clone(), sha256: sha256.clone(), source };
                let answer: Recorded = context.admin()?.post("/v1/pins", &body)?;
                recorded(&format!("proposed: {name}\nSHA-256 {sha256}"), &answer)
            }
            Self::Approve { sha256 } => {
                let path = format!("/v1/pins/{KIND}/{sha256}/approve");
                let answer: Recorded = context.admin()?.post(&path, &serde_json::Map::new())?;
                recorded(&format!("the root {sha256} is pinned"), &answer)
            }
            Self::Withdraw { sha256 } => {
                let answer: Recorded = context.admin()?.delete(&format!("/v1/pins/{KIND}/{sha256}"))?;
                recorded(&format!("the root {sha256} is not pinned any more"), &answer)
            }
            Self::List => {
                let pins: Vec<PinView> = context.admin()?.get("/v1/pins")?;
                let row = |pin: &PinView| {
                    let state = match (pin.built_in, pin.state, &pin.proposed_by, &pin.approved_by) {
                        (true, ..) => "of this release".to_owned(),
                        (false, PinState::Proposed, Some(first), _) => format!("proposed by {first}"),
                        (false, PinState::InForce, Some(first), Some(second)) => {
                            format!("proposed by {first}, approved by {second}")
                        }
                        (false, ..) => "added".to_owned(),
                    };
                    [pin.kind.clone(), pin.name.clone(), pin.sha256.clone(), pin.source.clone(), state]
                };
                let rows: Vec<_> = pins.iter().map(row).collect();
                Answer::new(&pins, table(["FOR", "NAME", "SHA-256", "SOURCE", "STATE"], &rows))
            }
        }
    }
}

/// The subject and the fingerprint of a root in a file.
fn root(path: &Path) -> Result<(String, String), Failure> {
    let wrong = |problem: &str| Failure::usage(format!("{}: {problem}", path.display()));
    let bytes = read_capped(path, 2 * limits::CERTIFICATE as u64)?;
    let der = match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(found) if found.len() > 1 => return Err(wrong("it holds several certificates: give the root alone")),
        Ok(mut found) => found.pop().map_or(bytes, |der| der.to_vec()),
        Err(_) => return Err(wrong("not PEM that can be read")),
    };
    let (rest, certificate) = X509Certificate::from_der(&der).map_err(|_| wrong("not one certificate, DER or PEM"))?;
    if !rest.is_empty() {
        return Err(wrong("bytes follow the certificate"));
    }
    if certificate.subject().as_raw() != certificate.issuer().as_raw() {
        return Err(wrong("not a root: somebody else issued it, whose root would be pinned"));
    }
    let name: String = certificate.subject().to_string().chars().filter(|c| !c.is_control()).take(256).collect();
    Ok((name, hex::encode(sha256(&der))))
}

fn fingerprint(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase().replace(':', "");
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text)
    } else {
        Err("a SHA-256 fingerprint has 64 hexadecimal digits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_taken_as_people_write_it() {
        let plain = "0011223344556677889900aabbccddeeff00112233445566778899aabbccddee";
        let colons: Vec<_> =
            plain.as_bytes().chunks(2).map(|two| str::from_utf8(two).unwrap().to_uppercase()).collect();
        assert_eq!(fingerprint(&colons.join(":")).unwrap(), plain);
        assert!(fingerprint(&plain[1..]).is_err() && fingerprint(&plain.replace('a', "g")).is_err());
    }

    #[test]
    fn a_file_that_is_no_root_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.pem");
        for wrong in ["nonsense", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(root(&path).unwrap_err().message.contains("root.pem"));
        }
    }
}
