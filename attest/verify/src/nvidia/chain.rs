//! Certificate chains to a pinned root of NVIDIA's: of a device (G2), and of the signer of a manifest (G3).
//!
//! The chain has one order, in which it need not come: each certificate issued the one below it. So each link is known
//! and is checked by [`crate::x509`], as those of AMD's chains are; what is NVIDIA's own is here, that certificates come
//! in any order, that the root is among them, and that every certificate which was sent stands in the chain.

use crate::{
    PinKind, Pins,
    quote::hex,
    x509::{Certificate, X509Problem, check_dates, printable, verify_p384},
};
use strongroom_protocol::{limits, sha256};

/// A chain that held at the time that it was verified at.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    /// From the leaf to the root.
    pub(super) certificates: Vec<Certificate<'a>>,
    /// SHA-256 of the root.
    pub(super) root_sha256: [u8; 32],
    /// When the last of them begins to be valid, Unix seconds.
    pub(super) not_before: i64,
    /// When the first of them ends, Unix seconds.
    pub(super) not_after: i64,
}

/// Why a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// What was sent is no chain.
    Shape(String),
    /// It ends elsewhere.
    NotPinned {
        /// SHA-256 of the certificate that would be the root, lower-case hexadecimal.
        sha256: String,
    },
    /// A certificate is not valid at the time of judgement.
    Validity(String),
    /// A certificate may not do what it does here, or its signature does not hold.
    Path(String),
}

impl<'a> Chain<'a> {
    /// Puts certificates (DER) in their order and verifies them. `length` is how many there may be, root included.
    pub(super) fn verify(
        sent: &[&'a [u8]],
        length: std::ops::RangeInclusive<usize>,
        (pins, kind): (&Pins, PinKind),
        at: u64,
    ) -> Result<Self, Broken> {
        if !length.contains(&sent.len()) {
            let (least, most) = length.into_inner();
            let wanted = if least == most { most.to_string() } else { format!("{least} to {most}") };
            return Err(Broken::Shape(format!("it has {} certificates, not {wanted}", sent.len())));
        }
        if let Some(large) = sent.iter().find(|der| der.len() > limits::CERTIFICATE) {
            let problem = format!("a certificate of {} bytes is larger than {}", large.len(), limits::CERTIFICATE);
            return Err(Broken::Shape(problem));
        }
        // Before anything is parsed: without a pinned root among them, there is nothing to verify.
        let Some(root) = sent.iter().find(|der| pins.of_certificate(kind, der).is_some()) else {
            return Err(Broken::NotPinned { sha256: would_be_root(sent) });
        };
        let certificates = ordered(sent)?;
        if certificates.last().map(Certificate::der) != Some(*root) {
            return Err(Broken::Shape("the pinned root is not where it ends".to_owned()));
        }
        let times = || certificates.iter().map(Certificate::validity);
        let not_before = times().map(|(from, _)| from).max().unwrap_or(i64::MAX);
        let not_after = times().map(|(_, until)| until).min().unwrap_or(i64::MIN);
        check_usage(&certificates)?;
        check_dates(not_before, not_after, at).map_err(|problem| Broken::Validity(problem.to_string()))?;
        check_signatures(&certificates)?;
        Ok(Self { certificates, root_sha256: sha256(root), not_before, not_after })
    }

    /// The leaf and the certificate of its issuer.
    pub(super) fn leaf_and_issuer(&self) -> Option<(&Certificate<'a>, &Certificate<'a>)> {
        match self.certificates.as_slice() {
            [leaf, issuer, ..] => Some((leaf, issuer)),
            _ => None,
        }
    }

    /// Whether the leaf's key signed the message: ECDSA on P-384 with SHA-384, r and s of 48 bytes each.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = self.certificates.first().and_then(Certificate::p384_key);
        let signature = <&[u8; 96]>::try_from(signature).ok();
        key.zip(signature).is_some_and(|(key, signature)| verify_p384(&key, message, signature))
    }
}

/// The model in certificates that nothing was verified of.
pub(super) fn model_of_sent(sent: &[&[u8]]) -> String {
    let sent = sent.get(..sent.len().min(limits::CERTIFICATES)).unwrap_or_default();
    ordered(sent).ok().and_then(|chain| chain.get(1).map(model)).unwrap_or_default()
}

/// The model that a device's certificate names: its common name.
pub(super) fn model(device: &Certificate<'_>) -> String {
    printable(device.common_name().unwrap_or_default())
}

/// For a message: the certificate that names itself as its issuer, else the last.
fn would_be_root(sent: &[&[u8]]) -> String {
    let own = |der: &&&[u8]| Certificate::parse(der).is_ok_and(|found| found.subject_der() == found.issuer_der());
    sent.iter().find(own).or(sent.last()).map_or_else(String::new, |der| hex(&sha256(der)))
}

/// Certificates (DER) from the leaf to the root, nothing of them verified; or what they lack to be a chain.
pub(super) fn in_order<'a>(sent: &[&'a [u8]]) -> Result<Vec<Certificate<'a>>, String> {
    ordered(sent).map_err(|broken| match broken {
        Broken::Shape(problem) | Broken::Validity(problem) | Broken::Path(problem) => problem,
        Broken::NotPinned { sha256 } => sha256,
    })
}

/// From the leaf, which issued none of the others, up to the certificate that none of the others issued.
fn ordered<'a>(sent: &[&'a [u8]]) -> Result<Vec<Certificate<'a>>, Broken> {
    let shape = |problem: &str| Broken::Shape(problem.to_owned());
    let read = |der: &&'a [u8]| {
        Certificate::parse(der)
            .map_err(|problem| Broken::Shape(format!("one of its certificates is no use: {problem}")))
    };
    let mut left = sent.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let issued = |at: usize, subject: &[u8]| {
        left.iter().enumerate().any(|(other, certificate)| other != at && certificate.issuer_der() == subject)
    };
    let places = left.iter().enumerate();
    let leaves = places.filter(|(at, certificate)| !issued(*at, certificate.subject_der())).map(|(at, _)| at);
    let &[leaf] = leaves.collect::<Vec<_>>().as_slice() else {
        return Err(shape("not exactly one certificate of it issued none of the others"));
    };
    let mut chain = Vec::with_capacity(sent.len());
    let mut next = Some(leaf);
    while let Some(at) = next {
        let certificate = left.swap_remove(at);
        next = left.iter().position(|candidate| candidate.subject_der() == certificate.issuer_der());
        chain.push(certificate);
    }
    if left.is_empty() { Ok(chain) } else { Err(shape("a certificate of it belongs to no other")) }
}

/// What each may do: the leaf signs and certifies nothing, the others certify what stands below them.
fn check_usage(chain: &[Certificate<'_>]) -> Result<(), Broken> {
    for (place, certificate) in (0_u32..).zip(chain) {
        let checked = match place.checked_sub(1) {
            None => certificate.check_leaf(),
            Some(below) => certificate.check_authority(below),
        };
        checked.map_err(|problem| path(place, &problem))?;
    }
    if chain.first().is_some_and(Certificate::may_sign_documents) {
        Ok(())
    } else {
        Err(Broken::Path("the leaf's keyUsage does not let it sign documents".to_owned()))
    }
}

/// Each is signed by the key of the one above it. The root's own signature says nothing: the root is pinned.
fn check_signatures(chain: &[Certificate<'_>]) -> Result<(), Broken> {
    for (place, pair) in (0_u32..).zip(chain.windows(2)) {
        if let [certificate, issuer] = pair {
            certificate.check_signed_by(issuer).map_err(|problem| path(place, &problem))?;
        }
    }
    Ok(())
}

fn path(place: u32, problem: &X509Problem) -> Broken {
    Broken::Path(match place {
        0 => format!("of the leaf: {problem}"),
        _ => format!("of certificate {place} above the leaf: {problem}"),
    })
}
