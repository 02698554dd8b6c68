//! What a person gives beside evidence: the AK, EK certificates, vendors' roots.

use crate::{context::read_capped, output::Failure};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject};
use std::{fs, path::Path};
use strongroom::protocol::limits;
use strongroom_attest::{
    TrustAnchors,
    tpm::{Curve, Public, SigningAlg, SigningScheme},
};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384},
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

/// Largest file with certificates: a directory's worth in one.
const CERTIFICATES: u64 = 4 << 20;

/// An AK.
#[derive(Debug, Clone)]
pub(super) enum Ak {
    /// The whole public area, so that its name and attributes are known.
    Area(Public),
    /// The key alone.
    Key(BareKey),
}

/// A public key without anything of the TPM's around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BareKey {
    Rsa(Vec<u8>),
    Ecc { curve: Curve, x: Vec<u8>, y: Vec<u8> },
}

impl Ak {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = read_capped(path, limits::CERTIFICATE as u64)?;
        Self::parse(&bytes).ok_or_else(|| {
            Failure::usage(format!(
                "{}: no AK that can be used: give its public key (SubjectPublicKeyInfo) or certificate in PEM or DER, \
                 or its TPM2B_PUBLIC or TPMT_PUBLIC; RSA with exponent 65537, P-256 or P-384",
                path.display()
            ))
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(bytes).ok();
        let certificate = CertificateDer::from_pem_slice(bytes).ok();
        let bare = |der: &[u8]| BareKey::of_spki(der).or_else(|| BareKey::of_certificate(der)).map(Self::Key);
        if let Some(der) = spki.as_ref().map(AsRef::as_ref).or(certificate.as_ref().map(AsRef::as_ref)) {
            return bare(der);
        }
        // TPM2B_PUBLIC: a size, then as many bytes.
        let inner =
            bytes.split_first_chunk::<2>().filter(|(size, rest)| usize::from(u16::from_be_bytes(**size)) == rest.len());
        [Some(bytes), inner.map(|(_, rest)| rest)]
            .into_iter()
            .flatten()
            .find_map(|bytes| Public::parse(bytes).ok())
            .map(Self::Area)
            .or_else(|| bare(bytes))
    }

    /// The AK as the key of this scheme. A key alone is fixed to none, so it takes the signature's.
    pub(super) fn signing(&self, scheme: Option<SigningScheme>) -> Option<Public> {
        match self {
            Self::Area(public) => Some(public.clone()),
            Self::Key(key) => key.ak(scheme),
        }
    }
}

impl BareKey {
    fn of_spki(der: &[u8]) -> Option<Self> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
        rest.is_empty().then(|| Self::of(&spki)).flatten()
    }

    /// The key that a certificate is of.
    pub(super) fn of_certificate(der: &[u8]) -> Option<Self> {
        Self::of(X509Certificate::from_der(der).ok()?.1.public_key())
    }

    fn of(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        match spki.parsed().ok()? {
            PublicKey::RSA(key) => {
                let modulus: Vec<u8> = key.modulus.iter().copied().skip_while(|&byte| byte == 0).collect();
                let exponent: Vec<u8> = key.exponent.iter().copied().skip_while(|&byte| byte == 0).collect();
                (exponent == [1, 0, 1]).then_some(Self::Rsa(modulus))
            }
            PublicKey::EC(point) => {
                let named = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
                let curve = [(OID_EC_P256, Curve::P256), (OID_NIST_EC_P384, Curve::P384)];
                let (_, curve) = curve.into_iter().find(|(oid, _)| *oid == named)?;
                let (x, y) = point.data().strip_prefix(&[4])?.split_at_checked(curve.field_length())?;
                (y.len() == curve.field_length()).then(|| Self::Ecc { curve, x: x.to_vec(), y: y.to_vec() })
            }
            _ => None,
        }
    }

    /// A public area around the key, good for checking signatures and for nothing else: its attributes are made up.
    fn ak(&self, scheme: Option<SigningScheme>) -> Option<Public> {
        let fits = |scheme: &SigningScheme| {
            matches!(self, Self::Rsa(_)) == matches!(scheme.algorithm, SigningAlg::RsaSsa | SigningAlg::RsaPss)
        };
        let scheme = match scheme.filter(fits) {
            Some(SigningScheme { algorithm, hash }) => {
                let algorithm: u16 = match algorithm {
                    SigningAlg::RsaSsa => 0x0014,
                    SigningAlg::RsaPss => 0x0016,
                    SigningAlg::Ecdsa => 0x0018,
                };
                [algorithm.to_be_bytes(), hash.id().to_be_bytes()].concat()
            }
            None => vec![0x00, 0x10],
        };
        // nameAlg SHA-256, no attributes, no policy, no cipher.
        self.area(b"\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x10", &scheme)
    }

    /// The public area that an EK of this key has if it was made from the default template of its kind (EK Credential
    /// Profile 2.6, annex B.3.3 and B.3.4: RSA 2048 and P-256).
    pub(super) fn default_ek(&self) -> Option<Public> {
        // nameAlg SHA-256; fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt; PolicyA;
        // AES-128 in CFB mode.
        const HEAD: &[u8] = b"\x00\x0b\x00\x03\x00\xb2\x00\x20\
            \x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
            \xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa\
            \x00\x06\x00\x80\x00\x43";
        let default = match self {
            Self::Rsa(modulus) => modulus.len() == 256,
            Self::Ecc { curve, .. } => *curve == Curve::P256,
        };
        default.then(|| self.area(HEAD, &[0x00, 0x10])).flatten()
    }

    fn area(&self, head: &[u8], scheme: &[u8]) -> Option<Public> {
        let (kind, fields) = match self {
            Self::Rsa(modulus) => {
                let bits = u16::try_from(modulus.len() * 8).ok()?.to_be_bytes();
                ([0x00, 0x01], [&bits[..], &[0; 4], &sized(modulus)?].concat())
            }
            Self::Ecc { curve, x, y } => {
                let curve = curve.id().to_be_bytes();
                ([0x00, 0x23], [&curve[..], &[0x00, 0x10], &sized(x)?, &sized(y)?].concat())
            }
        };
        Public::parse(&[&kind[..], head, scheme, &fields].concat()).ok()
    }
}

/// A `TPM2B`: a size, then as many bytes.
fn sized(bytes: &[u8]) -> Option<Vec<u8>> {
    Some([&u16::try_from(bytes.len()).ok()?.to_be_bytes()[..], bytes].concat())
}

/// Reads the certificates of a file, PEM or DER.
pub(super) fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = read_capped(path, CERTIFICATES)?;
    let wrong = |problem: String| {
        Failure::usage(format!("{}: {problem}: give certificates in PEM, or one in DER", path.display()))
    };
    if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let read: Vec<Vec<u8>> =
            read.map_err(|e| wrong(e.to_string()))?.into_iter().map(|der| der.as_ref().to_vec()).collect();
        return if read.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(read) };
    }
    match X509Certificate::from_der(&bytes) {
        Ok(_) => Ok(vec![bytes]),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Reads the vendors' roots and intermediates of a directory: its files that end in `.pem`, `.crt`, `.cer` or `.der`.
pub(super) fn roots(directory: &Path) -> Result<TrustAnchors, Failure> {
    let unreadable = |e: std::io::Error| Failure::usage(format!("{}: {e}", directory.display()));
    let mut paths: Vec<_> = fs::read_dir(directory)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    paths.sort();
    let endings = ["pem", "crt", "cer", "der"];
    let mut anchors = TrustAnchors::default();
    let mut found = false;
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !endings.contains(&ending) || !path.is_file() {
            continue;
        }
        let read = certificates(&path)?;
        let imported = TrustAnchors::from_der(read.iter().map(Vec::as_slice))
            .map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
        anchors.extend(imported);
        found = true;
    }
    if found {
        Ok(anchors)
    } else {
        let problem = "no file in it ends in .pem, .crt, .cer or .der: give the directory of the vendors' roots";
        Err(Failure::usage(format!("{}: {problem}", directory.display())))
    }
}
