//! The offline store of endorsements as a pure index: what vendors publish about their hardware, imported beforehand, so
//! that nothing is fetched when a key is asked for.
//!
//! ```text
//! bytes ──Found::read──> what is it?                    certificates, revocation lists, collateral, a manifest
//!   └──Store::import(bytes, id, at)──> Endorsement      only what a pinned root vouches for; kept by its name
//! Store ──snp(report), tdx(key), manifest(id), tpm_anchors(), lists(kind)──> what a verification is given
//!   └──check(at)──> Findings                            what has expired, and what will within 14 days
//! ```
//!
//! No I/O: whoever keeps the bytes (a database, a directory) imports them again after a start, and by
//! [`Endorsement::name`] knows what replaces what. Names are paths:
//!
//! | name | what |
//! |---|---|
//! | `vcek/{hwid}/{tcb}.der`, `vlek/{product}/{tcb}.der` | AMD's certificate of a key that signs reports |
//! | `ask/{product}.der`, `asvk/{product}.der`, `ark/{product}.der` | AMD's intermediates and roots |
//! | `vcek/crl/{product}.crl`, `vlek/crl/{product}.crl` | AMD's two revocation lists of a product's root |
//! | `intel/tdx/{fmspc}/{ca}.json` | Intel's collateral of a kind of platform |
//! | `nvidia/rim/{id}.xml` | NVIDIA's reference integrity manifest |
//! | `nvidia/ocsp/{serial}-{key of the issuer}.ocsp` | what NVIDIA's responder answered about a certificate |
//! | `{kind of root}/certificate/{sha256}.der` | any other certificate of a branch: roots, intermediates |
//! | `{kind of root}/crl/{sha256 of the signer's key}.crl` | any other revocation list |
//!
//! Importing is not trusting: evidence is verified as if its certificates had come with it. What the store adds is that
//! nothing lies in it that no pinned root vouches for, and that people hear of an end before it comes. To store another
//! kind: a variant of [`Content`], its recognition in `found`, its name in `place`, what of it may not go back in
//! `succession`.

mod found;
mod issued;
mod place;
mod succession;

pub use found::{Content, Found, MAX_BYTES, MAX_ITEMS};
pub(crate) use succession::Part;
pub use succession::SKEW;

use crate::{
    Pins, TrustAnchors,
    enrol::TrustAnchorError,
    nvidia::GpuRefused,
    pins::PinKind,
    quote::hex,
    snp::{AttestationReport, SnpRefused, SnpRoots, SnpStore, files},
    tdx::{Collateral, CollateralError, CollateralKey, TdxRefused},
};
use issued::{may_issue, subject_of};
use place::Candidates;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use strongroom_protocol::sha256;

/// How long before its end an endorsement is warned of, seconds: 14 days.
pub const WARNED: u64 = 14 * 86_400;

/// One endorsement that a pinned root vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// By what it is found. Another of the same name replaces it, if it is not older.
    pub name: String,
    /// The root that vouches for it, by what it is pinned for.
    pub of: PinKind,
    /// What it is.
    pub content: Content,
    /// What or whom it is about, for people.
    pub subject: String,
    /// Its bytes: DER of a certificate or a list, JSON, XML.
    pub bytes: Vec<u8>,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Since when it is valid, Unix seconds.
    pub from: u64,
    /// Until when, Unix seconds: `notAfter`, `nextUpdate`, or the end of a signer's chain.
    pub until: u64,
}

/// Why something was not taken into the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndorsementError {
    /// Larger than any, or too many in one.
    #[error("{actual} are more {what} than the {limit} that an import may have: import in parts")]
    TooMany {
        /// Bytes, or items.
        what: &'static str,
        /// The cap.
        limit: usize,
        /// What was given.
        actual: usize,
    },
    /// Nothing that is known.
    #[error(
        "neither certificates, revocation lists (DER or PEM), a responder's answer (DER), Intel's collateral (JSON) nor a manifest (XML): {0}"
    )]
    Unknown(String),
    /// A certificate or a list without the dates that it must have.
    #[error("{subject} cannot be used: {problem}")]
    Unusable {
        /// What it is about.
        subject: String,
        /// What was wrong.
        problem: String,
    },
    /// No pinned root vouches for it.
    #[error(
        "no pinned root vouches for {subject} (SHA-256 {sha256}): import the certificates that issued it before or with it, or have its root pinned"
    )]
    NotVouched {
        /// What it is about.
        subject: String,
        /// Of its bytes, lower-case hexadecimal.
        sha256: String,
    },
    /// A part of it is older than that of what lies there.
    #[error("{name} would go back: of its {part}, {there} lies there and {given} is given")]
    Older {
        /// The name.
        name: String,
        /// What of it: `list`, `pck_crl's CRL number`, ….
        part: String,
        /// The date (RFC 3339) or number of what lies there.
        there: String,
        /// That of what was given.
        given: String,
    },
    /// Another of the same time lies there.
    #[error("another {part} of {made} lies at {name}: of two of one time nobody knows which holds, so get a later one")]
    Rival {
        /// The name.
        name: String,
        /// What of it.
        part: &'static str,
        /// When both were made, RFC 3339.
        made: String,
    },
    /// It does not revoke what the list that lies there revokes.
    #[error(
        "{name} would go back: the list that lies there revokes {serial} and this one does not; if it is AMD's other list of this root, say so (id `vlek`, or `vcek`)"
    )]
    TakenBack {
        /// The name.
        name: String,
        /// The serial number, lower-case hexadecimal.
        serial: String,
    },
    /// It was made in the future.
    #[error("{name} is dated {from}, and the clock says {at}: set the clock right, or take it when its time has come")]
    Ahead {
        /// The name.
        name: String,
        /// Its date, RFC 3339.
        from: String,
        /// When it was given, RFC 3339.
        at: String,
    },
    /// Collateral that cannot be read.
    #[error(transparent)]
    Collateral(#[from] CollateralError),
    /// Collateral that Intel's root does not vouch for.
    #[error(transparent)]
    Tdx(#[from] TdxRefused),
    /// A manifest without the id under which it is published.
    #[error("a manifest does not say its own id: give that under which NVIDIA publishes it")]
    NoId,
    /// A manifest that does not verify.
    #[error(transparent)]
    Manifest(#[from] GpuRefused),
}

/// How an endorsement stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its end is past.
    Expired,
    /// Its end is within [`WARNED`].
    Expiring,
    /// Its beginning is to come.
    NotYetValid,
}

/// What people must hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The endorsement.
    pub name: String,
    /// What or whom it is about.
    pub subject: String,
    /// How it stands.
    pub state: State,
    /// Since when it is valid, Unix seconds.
    pub from: u64,
    /// Until when, Unix seconds.
    pub until: u64,
}

/// What a store has for a report of SEV-SNP. Its answer is not trusted, only read.
#[derive(Debug, Clone, Default)]
pub struct SnpStored<'a> {
    certificates: Vec<&'a [u8]>,
    lists: Vec<&'a [u8]>,
}

impl SnpStored<'_> {
    /// As a verification takes it.
    pub fn as_store(&self) -> SnpStore<'_> {
        SnpStore { certificates: &self.certificates, crls: &self.lists }
    }
}

/// What was imported, by name.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pins: Pins,
    items: BTreeMap<String, Arc<Endorsement>>,
    /// Names of certificates that may issue others, by their subject.
    issuers: BTreeMap<Vec<u8>, BTreeSet<String>>,
    /// Authorities that a pinned root vouches for, by SHA-256: the way up ends at them.
    known: BTreeMap<[u8; 32], PinKind>,
}

impl Store {
    /// An empty store that trusts these roots.
    pub fn new(pins: Pins) -> Self {
        let mut store = Self { pins, ..Self::default() };
        store.know_again();
        store
    }

    /// Takes everything of `bytes` in, or nothing: certificates and lists (DER, or PEM with any number of blocks in any
    /// order, at most [`MAX_ITEMS`]), Intel's collateral, or a manifest with its `id`; of AMD's lists the `id` says which
    /// of two it is, `vcek` (or none) or `vlek`. Certificates in the store, in the same import, and AMD's that come with
    /// this crate may be the issuers of others. `at` (Unix seconds) is for manifests, whose signers must be valid when
    /// they are imported; everything else is taken with the time that it has, and [`Self::check`] tells of it. Nothing
    /// takes the place of what is newer than it, by any of its dates and numbers.
    pub fn import(&mut self, bytes: &[u8], id: Option<&str>, at: u64) -> Result<Vec<Endorsement>, EndorsementError> {
        let found = Found::read(bytes)?;
        let among = Candidates::new(self, &found);
        let mut placed: Vec<Endorsement> = Vec::with_capacity(found.len());
        for one in &found {
            let endorsement = place::place(&among, one, id, at)?;
            if let Some(there) = self.items.get(&endorsement.name) {
                succession::check(there, &endorsement)?;
            }
            // What is given twice is taken once, and of two lists the one that is newer, whatever their order.
            match placed.iter_mut().find(|before| before.name == endorsement.name) {
                Some(before) if succession::check(before, &endorsement).is_ok() => *before = endorsement,
                Some(before) => succession::check(&endorsement, before)?,
                None => placed.push(endorsement),
            }
        }
        for endorsement in &placed {
            self.insert(endorsement.clone());
        }
        Ok(placed)
    }

    fn insert(&mut self, one: Endorsement) {
        self.remove(&one.name);
        if one.content == Content::Certificate && may_issue(&one.bytes) {
            self.known.insert(one.sha256, one.of);
            if let Some(subject) = subject_of(&one.bytes) {
                self.issuers.entry(subject.to_vec()).or_default().insert(one.name.clone());
            }
        }
        self.items.insert(one.name.clone(), Arc::new(one));
    }

    /// Certificates (DER) of this subject that may have issued others.
    fn issuers_named(&self, subject: &[u8]) -> impl Iterator<Item = &[u8]> {
        let names = self.issuers.get(subject).into_iter().flatten();
        names.filter_map(|name| self.items.get(name)).map(|one| one.bytes.as_slice())
    }

    /// What the root is pinned for that vouches for a certificate (DER), where that needs no way up.
    fn known(&self, der: &[u8]) -> Option<PinKind> {
        let sha256 = sha256(der);
        let pinned = || PinKind::ALL.into_iter().find(|&kind| self.pins.find(kind, &sha256).is_some());
        self.known.get(&sha256).copied().or_else(pinned)
    }

    /// Walks the way up from every authority anew, AMD's that come with this crate before the others.
    fn know_again(&mut self) {
        self.known.clear();
        let stored = self.issuers.values().flatten().filter_map(|name| self.items.get(name));
        let own = place::amds_own().map(|der| -> &[u8] { der });
        let all: Vec<&[u8]> = own.chain(stored.map(|one| one.bytes.as_slice())).collect();
        let among = Candidates::new(self, &[]);
        let known = all.iter().filter_map(|der| Some((sha256(der), among.vouched(der)?))).collect();
        self.known = known;
    }

    /// Everything, by name.
    pub fn list(&self) -> impl Iterator<Item = &Endorsement> {
        self.items.values().map(Arc::as_ref)
    }

    /// One, by its name.
    pub fn get(&self, name: &str) -> Option<&Endorsement> {
        self.items.get(name).map(Arc::as_ref)
    }

    /// Takes one out. What it vouched for stays, and is of no use where nothing else vouches for it.
    pub fn remove(&mut self, name: &str) -> Option<Endorsement> {
        let one = self.items.remove(name)?;
        let names = subject_of(&one.bytes).and_then(|subject| self.issuers.get_mut(subject));
        if names.is_some_and(|names| names.remove(name)) {
            self.know_again();
        }
        Some(Arc::unwrap_or_clone(one))
    }

    /// What has expired at `at` (Unix seconds), what will within [`WARNED`], and what is not valid yet; the worst first.
    pub fn check(&self, at: u64) -> Vec<Finding> {
        let state = |one: &Endorsement| match one {
            _ if at > one.until => Some(State::Expired),
            _ if at < one.from => Some(State::NotYetValid),
            _ if one.until.saturating_sub(at) < WARNED => Some(State::Expiring),
            _ => None,
        };
        let finding = |one: &Endorsement| {
            let Endorsement { name, subject, from, until, .. } = one.clone();
            state(one).map(|state| Finding { name, subject, state, from, until })
        };
        let mut findings: Vec<Finding> = self.list().filter_map(finding).collect();
        findings.sort_by_key(|finding| (finding.state, finding.until));
        findings
    }

    /// What there is for an SEV-SNP report.
    pub fn snp(&self, report: &AttestationReport) -> Result<SnpStored<'_>, SnpRefused> {
        let mut certificates = Vec::new();
        for name in files(report)? {
            // One of them is the list, which is among all of the branch.
            let one = self.items.get(&name).filter(|one| one.content == Content::Certificate);
            certificates.extend(one.map(|one| one.bytes.as_slice()));
        }
        Ok(SnpStored { certificates, lists: self.lists(PinKind::AmdArk) })
    }

    /// AMD's roots and intermediates that were imported, with those of this crate, for verifications with these pins.
    pub fn snp_roots(&self) -> SnpRoots {
        let imported = self.certificates(PinKind::AmdArk);
        let authorities = imported.filter(|one| !one.name.starts_with("vcek/") && !one.name.starts_with("vlek/"));
        let own = place::amds_own().map(|der| -> &[u8] { der });
        let all = own.chain(authorities.map(|one| one.bytes.as_slice()));
        SnpRoots::new(&self.pins, all).unwrap_or_default()
    }

    /// Intel's collateral for a platform.
    pub fn tdx(&self, key: &CollateralKey) -> Option<Collateral> {
        // What lies in the store was read when it was imported.
        Collateral::parse(&self.items.get(&place::collateral_name(key))?.bytes).ok()
    }

    /// The manifest (XML) of an id.
    pub fn manifest(&self, id: &str) -> Option<&[u8]> {
        self.items.get(&place::manifest_name(id)).map(|one| one.bytes.as_slice())
    }

    /// TPM vendors' roots that are pinned, and the intermediates that chain to them.
    pub fn tpm_anchors(&self) -> Result<TrustAnchors, TrustAnchorError> {
        TrustAnchors::from_der(self.certificates(PinKind::TpmVendor).map(|one| one.bytes.as_slice()))
    }

    /// Revocation lists (DER) of a branch.
    pub fn lists(&self, of: PinKind) -> Vec<&[u8]> {
        let lists = self.list().filter(|one| one.of == of && one.content == Content::RevocationList);
        lists.map(|one| one.bytes.as_slice()).collect()
    }

    /// Answers of OCSP responders (DER), each of one certificate.
    pub fn answers(&self) -> Vec<&[u8]> {
        self.list().filter(|one| one.content == Content::Answer).map(|one| one.bytes.as_slice()).collect()
    }

    /// Certificates of a branch.
    pub fn certificates(&self, of: PinKind) -> impl Iterator<Item = &Endorsement> {
        self.list().filter(move |one| one.of == of && one.content == Content::Certificate)
    }

    /// The pinned roots that vouch.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }
}

fn not_vouched(found: &Found) -> EndorsementError {
    EndorsementError::NotVouched { subject: found.subject.clone(), sha256: hex(&sha256(&found.bytes)) }
}
