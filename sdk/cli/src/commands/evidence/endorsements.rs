//! What vendors publish of hardware, given beside evidence: certificates, revocation lists and answers, Intel's
//! collateral, NVIDIA's manifests; in files, or in a directory as `strongroom endorsement fetch` fills one.

use super::{
    contents::{self, Content, GivenFile},
    verify::Kind,
};
use crate::output::Failure;
use std::path::{Path, PathBuf};
use strongroom_attest::{
    Pins,
    endorsements::{EndorsementError, MAX_BYTES, Store},
    nvidia::RimKind,
    tdx::Collateral,
};

/// Certificates, lists and answers that are looked through.
const MANY: usize = 64;
/// Files of a directory, and how deep they lie.
const FILES: usize = 4096;
const DEPTH: usize = 6;

/// A manifest with the id that its file's name has, where it has one.
#[derive(Debug)]
pub(super) struct GivenManifest {
    pub path: PathBuf,
    pub id: Option<String>,
    pub xml: Vec<u8>,
}

/// What was given. Nothing of it is believed for having been given: verification follows each to a pinned root.
#[derive(Debug, Default)]
pub(super) struct Endorsements {
    /// DER.
    pub certificates: Vec<Vec<u8>>,
    /// Revocation lists (DER).
    pub lists: Vec<Vec<u8>>,
    /// OCSP answers (DER).
    pub answers: Vec<Vec<u8>>,
    pub collateral: Vec<Collateral>,
    pub manifests: Vec<GivenManifest>,
    /// The table that a host lays beside a report of SEV-SNP.
    pub table: Option<Vec<u8>>,
    pub store: Option<Store>,
    /// What of the directory could not be used.
    pub warnings: Vec<String>,
}

impl Endorsements {
    /// Takes in what `file` holds.
    pub(super) fn add(&mut self, file: GivenFile) -> Result<(), Failure> {
        let name = file.path.display().to_string();
        let wrong = |problem: String| Failure::usage(format!("{name}: {problem}"));
        match Content::of(&file.bytes) {
            Content::Pem { certificates, lists } => {
                self.certificates.extend(certificates);
                self.lists.extend(lists);
            }
            Content::Answer(der) => self.answers.push(der),
            Content::Collateral(json) => {
                self.collateral.push(Collateral::parse(&json).map_err(|error| wrong(error.to_string()))?);
            }
            Content::Manifest(xml) => {
                let stem = file.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let id = RimKind::of_id(stem).map(|_| stem.to_owned());
                self.manifests.push(GivenManifest { path: file.path, id, xml });
            }
            Content::Table(_) if self.table.is_some() => {
                return Err(wrong("a second table of certificates: a report has one".to_owned()));
            }
            Content::Table(table) => self.table = Some(table),
            other => {
                let kinds: Vec<_> = other.kinds().iter().map(|kind| kind.name()).collect();
                return Err(wrong(match kinds.as_slice() {
                    [] => "neither certificates nor revocation lists (DER, PEM), an OCSP answer, Intel's collateral \
                           (JSON), a manifest (XML) nor a table of certificates (auxblob)"
                        .to_owned(),
                    kinds => format!("this is evidence ({}), not what goes with it", kinds.join(", ")),
                }));
            }
        }
        if self.certificates.len() + self.lists.len() + self.answers.len() > MANY {
            return Err(wrong(format!(
                "more than {MANY} certificates, lists and answers: give those of this evidence"
            )));
        }
        Ok(())
    }

    /// Takes in a directory: what no pinned root vouches for is left out, with a warning.
    pub(super) fn open(&mut self, directory: &Path, at: u64) -> Result<(), Failure> {
        let mut waiting: Vec<(GivenFile, Option<EndorsementError>)> = Vec::new();
        for path in files_below(directory)? {
            waiting.push((contents::read(&path, MAX_BYTES)?, None));
        }
        let mut store = Store::new(Pins::built_in().clone());
        // An issuer may come after what it issued.
        loop {
            let before = waiting.len();
            waiting = waiting
                .into_iter()
                .filter_map(|(file, _)| {
                    let id =
                        file.path.file_stem().and_then(|stem| stem.to_str()).filter(|id| RimKind::of_id(id).is_some());
                    let refused = store.import(&file.bytes, id, at).err()?;
                    Some((file, Some(refused)))
                })
                .collect();
            if waiting.len() == before || waiting.is_empty() {
                break;
            }
        }
        for (file, refused) in &waiting {
            let why = refused.as_ref().map(ToString::to_string).unwrap_or_default();
            self.warnings.push(format!("{}: left out: {}", file.path.display(), crate::plain::line(&why)));
        }
        if store.list().next().is_none() {
            let problem = "it holds no endorsement that a pinned root vouches for";
            return Err(Failure::usage(format!("--store {}: {problem}", directory.display())));
        }
        self.store = Some(store);
        Ok(())
    }

    /// What says nothing of this kind of evidence.
    pub(super) fn idle(&self, kind: Kind) -> Option<String> {
        let amd = matches!(kind, Kind::SevSnp | Kind::AzureSnpVtpm);
        let given = [
            ("certificates", !self.certificates.is_empty(), amd || kind == Kind::NvidiaGpu),
            ("revocation lists", !self.lists.is_empty(), amd || kind == Kind::NvidiaGpu),
            ("OCSP answers", !self.answers.is_empty(), kind == Kind::NvidiaGpu),
            ("collateral of Intel's", !self.collateral.is_empty(), kind == Kind::Tdx),
            ("manifests", !self.manifests.is_empty(), kind == Kind::NvidiaGpu),
            ("a table of certificates", self.table.is_some(), kind == Kind::SevSnp),
        ];
        let idle: Vec<_> =
            given.into_iter().filter(|(_, given, used)| *given && !used).map(|(name, ..)| name).collect();
        (!idle.is_empty()).then(|| format!("{} say nothing of {}: not looked at", idle.join(", "), kind.name()))
    }
}

/// The files below a directory, by name. Links are not followed out of it.
fn files_below(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let unreadable = |error: std::io::Error| Failure::usage(format!("{}: {error}", directory.display()));
        for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() && depth < DEPTH {
                open.push((entry.path(), depth + 1));
            } else if kind.is_file() {
                found.push(entry.path());
            }
            if found.len() > FILES || open.len() > FILES {
                return Err(Failure::usage(format!("{}: more than {FILES} files", directory.display())));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> GivenFile {
        GivenFile { path: "given".into(), bytes: bytes.to_vec() }
    }

    fn refused(file: GivenFile) -> String {
        Endorsements::default().add(file).map_err(|failure| failure.message).unwrap_err()
    }

    #[test]
    fn what_is_given_is_told_by_its_content() {
        let mut all = Endorsements::default();
        all.add(GivenFile { path: "NV_GPU_DRIVER_GH100_550.90.07.xml".into(), bytes: b"<a/>".to_vec() }).unwrap();
        all.add(file(b"<a/>")).unwrap();
        let ids: Vec<_> = all.manifests.iter().map(|manifest| manifest.id.as_deref()).collect();
        assert_eq!(ids, [Some("NV_GPU_DRIVER_GH100_550.90.07"), None]);
        // An answer: a sequence that begins with ENUMERATED.
        all.add(file(b"\x30\x03\x0a\x01\x00")).unwrap();
        assert_eq!(all.answers.len(), 1);
        let table = [&[7; 16][..], &48_u32.to_le_bytes(), &2_u32.to_le_bytes(), &[0; 24], b"\x30\x00"].concat();
        all.add(file(&table)).unwrap();
        assert!(all.table.is_some());
        assert!(all.add(file(&table)).is_err());
        assert_eq!(
            all.idle(Kind::NvidiaGpu).as_deref(),
            Some("a table of certificates say nothing of nvidia-gpu: not looked at")
        );
        assert!(all.idle(Kind::Tdx).is_some_and(|idle| idle.starts_with("OCSP answers, manifests, a table")));
    }

    #[test]
    fn what_goes_with_no_evidence_is_refused() {
        for unlike in [&b"hello"[..], b"\x30\x03\x02\x01\x00", &[0; 100]] {
            assert!(refused(file(unlike)).contains("neither certificates"), "{unlike:?}");
        }
        assert!(refused(file(b"HCLA")).contains("this is evidence (azure-snp-vtpm)"));
        assert!(refused(file(br#"{"tcb_info": 1}"#)).contains("cannot be read"));
    }

    #[test]
    fn a_directory_without_endorsements_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Endorsements::default().open(directory.path(), 0).map_err(|failure| failure.message);
        assert!(open().unwrap_err().contains("no endorsement"));
        std::fs::write(directory.path().join("a"), b"hello").unwrap();
        assert!(open().unwrap_err().contains("no endorsement"));
    }
}
