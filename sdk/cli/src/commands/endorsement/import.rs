//! Files into the vault: each by itself, so that a bad one does not stop the others.

use crate::{
    context::{Context, read_regular},
    output::{Answer, Exit, Failure},
    plain,
    progress::Shown,
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};
use strongroom::{
    Admin,
    protocol::{
        Bytes,
        endorsement::{EndorsementView, ImportEndorsement, ImportedEndorsements},
    },
    sealed::Progress,
};
use strongroom_attest::endorsements::MAX_BYTES;

/// Directories within directories.
const DEPTH: usize = 8;
/// Files of one command.
const FILES: usize = 20_000;

/// What came of it.
#[derive(Default, Serialize)]
struct Imported {
    #[serde(rename = "imported")]
    new: Vec<EndorsementView>,
    /// Names that lay there already, byte for byte.
    unchanged: BTreeSet<String>,
    /// What people should know of what was taken.
    warnings: Vec<String>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Refused {
    file: PathBuf,
    problem: String,
}

pub(super) fn answer(context: &Context, given: &[PathBuf], id: Option<&str>) -> Result<Answer, Failure> {
    let files = files(given)?;
    if id.is_some() && files.len() != 1 {
        return Err(Failure::usage("--id is of one file: give no other with it"));
    }
    let shown = Shown::new("import", files.len() as u64, context.json);
    let imported = import(&files, id, &shown, &Vault(context.admin()?))?;
    let mut text = String::new();
    for one in &imported.new {
        let _ = writeln!(text, "{} until {}", one.name, one.until);
    }
    let Imported { new, unchanged, warnings, refused } = &imported;
    let _ = writeln!(text, "{} imported, {} there already, {} refused", new.len(), unchanged.len(), refused.len());
    for warning in warnings {
        let _ = writeln!(text, "warning: {}", plain::line(warning));
    }
    for Refused { file, problem } in refused {
        let _ = writeln!(text, "refused: {}: {}", file.display(), plain::line(problem));
    }
    Ok(Answer { holds: refused.is_empty(), ..Answer::new(&imported, text)? })
}

/// Whom files are given to.
trait Takes {
    fn take(&self, request: &ImportEndorsement) -> Result<ImportedEndorsements, Failure>;
}

struct Vault(Admin);

impl Takes for Vault {
    fn take(&self, request: &ImportEndorsement) -> Result<ImportedEndorsements, Failure> {
        Ok(self.0.post("/v1/endorsements", request)?)
    }
}

/// Gives every file to the vault. What is refused is given again once others were taken, which may have issued it.
fn import(files: &[PathBuf], id: Option<&str>, shown: &Shown, vault: &impl Takes) -> Result<Imported, Failure> {
    let mut all = Imported::default();
    let mut waiting: Vec<&PathBuf> = files.iter().collect();
    loop {
        let before = waiting.len();
        let mut refused = Vec::new();
        for file in waiting {
            match one(file, id, vault) {
                Ok(taken) => {
                    let lay_there = |name: &String| taken.record.is_none() || taken.unchanged.contains(name);
                    let (there, new): (Vec<_>, Vec<_>) =
                        taken.endorsements.into_iter().partition(|one| lay_there(&one.name));
                    all.new.extend(new);
                    all.unchanged.extend(there.into_iter().map(|one| one.name));
                    all.warnings.extend(taken.warnings);
                    shown.advanced(1);
                }
                Err(failure) if matches!(failure.exit, Exit::Unavailable | Exit::Machine) => return Err(failure),
                Err(failure) if forbidden(&failure) => return Err(failure),
                Err(failure) => refused.push((file, failure.message)),
            }
        }
        if refused.is_empty() || refused.len() == before {
            let told = |(file, problem): (&PathBuf, String)| Refused { file: file.clone(), problem };
            all.refused = refused.into_iter().map(told).collect();
            return Ok(all);
        }
        waiting = refused.into_iter().map(|(file, _)| file).collect();
    }
}

/// Whether no file would be taken from whoever asks.
fn forbidden(failure: &Failure) -> bool {
    failure.problem.as_ref().is_some_and(|problem| [401, 403].contains(&problem.status))
}

fn one(file: &Path, id: Option<&str>, vault: &impl Takes) -> Result<ImportedEndorsements, Failure> {
    let bytes = read_regular(file, MAX_BYTES as u64).map_err(|failure| Failure { exit: Exit::Usage, ..failure })?;
    let named = file.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.starts_with("NV_GPU_"));
    // AMD's two lists of a root do not say which they are: the directory does that `fetch` made.
    let listed = ["vcek", "vlek"]
        .into_iter()
        .find(|key| file.parent().is_some_and(|directory| directory.ends_with(Path::new(key).join("crl"))));
    let named = named.or(listed);
    let id = id.or(named).map(str::to_owned);
    vault.take(&ImportEndorsement { bytes: Bytes(bytes), id })
}

/// Files, and those of directories but for hidden ones, in the order of their names.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in given {
        if path.is_dir() { walk(path, 0, &mut found)? } else { found.push(path.clone()) }
    }
    if found.is_empty() {
        return Err(Failure::usage("there is no file in what was given"));
    }
    Ok(found)
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |source| Failure::file(directory, source);
    if depth > DEPTH {
        return Err(Failure::usage(format!(
            "{}: more than {DEPTH} directories within each other",
            directory.display()
        )));
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, depth + 1, found)?;
        } else {
            found.push(path);
        }
        if found.len() > FILES {
            return Err(Failure::usage(format!("more than {FILES} files: import in parts")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use strongroom::protocol::{Code, DecisionId, Problem, endorsement::EndorsementState};

    /// Takes a file that says `after X` once X was taken, and none that says `bad`.
    #[derive(Default)]
    struct Fake {
        taken: RefCell<Vec<String>>,
        asked: RefCell<Vec<Option<String>>>,
        problem: Option<Code>,
    }

    impl Takes for Fake {
        fn take(&self, request: &ImportEndorsement) -> Result<ImportedEndorsements, Failure> {
            let text = String::from_utf8(request.bytes.0.clone()).unwrap();
            self.asked.borrow_mut().push(request.id.clone());
            if let Some(code) = self.problem {
                return Err(strongroom::Error::Refused(Box::new(Problem::new(code))).into());
            }
            let unissued =
                text.strip_prefix("after ").is_some_and(|issuer| !self.taken.borrow().contains(&issuer.into()));
            if text == "bad" || unissued {
                return Err(Failure::refused(format!("no root vouches for {text}")));
            }
            let again = self.taken.borrow().contains(&text);
            self.taken.borrow_mut().push(text.clone());
            let view = EndorsementView {
                name: text,
                of: "amd-ark".to_owned(),
                content: "certificate".to_owned(),
                subject: String::new(),
                sha256: String::new(),
                from: String::new(),
                until: String::new(),
                state: EndorsementState::Valid,
                vouched: true,
                id: None,
                imported_by: String::new(),
                imported_at: String::new(),
                removal_proposed_by: None,
            };
            let record = (!again).then(|| "01K3ZQ8Y6E6M1D0Q9V1S1C1X7A".parse::<DecisionId>().unwrap());
            Ok(ImportedEndorsements {
                record,
                index: Some(1),
                endorsements: vec![view],
                ..ImportedEndorsements::default()
            })
        }
    }

    fn tree(of: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in of {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        tree
    }

    fn imported(tree: &tempfile::TempDir, fake: &Fake) -> Result<Imported, Failure> {
        let files = files(&[tree.path().to_owned()]).unwrap();
        import(&files, None, &Shown::new("import", files.len() as u64, true), fake)
    }

    #[test]
    fn a_bad_file_is_named_and_stops_no_other() {
        let tree = tree(&[
            ("a.der", "after root"),
            ("b/bad.der", "bad"),
            ("b/root.der", "root"),
            ("c.der", "root"),
            (".hidden", "bad"),
            ("nvidia/rim/NV_GPU_DRIVER_GH100_1.xml", "manifest"),
            ("vlek/crl/Milan.crl", "list"),
        ]);
        let fake = Fake::default();
        let all = imported(&tree, &fake).unwrap();
        let names: Vec<_> = all.new.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["root", "manifest", "list", "after root"], "what it issued comes again");
        assert_eq!(all.unchanged, ["root".to_owned()].into());
        let refused: Vec<_> = all.refused.iter().map(|one| one.file.strip_prefix(tree.path()).unwrap()).collect();
        assert_eq!(refused, [Path::new("b/bad.der")]);
        assert!(all.refused[0].problem.contains("no root vouches for bad"));
        let ids: Vec<_> = fake.asked.borrow().iter().flatten().cloned().collect();
        assert_eq!(ids, ["NV_GPU_DRIVER_GH100_1", "vlek"], "a manifest's file tells its id, a list's its kind");
    }

    #[test]
    fn a_vault_that_is_away_or_forbids_it_ends_the_command() {
        let tree = tree(&[("a.der", "a"), ("b.der", "b")]);
        for (code, exit) in [(Code::StoreUnavailable, Exit::Unavailable), (Code::Forbidden, Exit::Refused)] {
            let fake = Fake { problem: Some(code), ..Fake::default() };
            assert_eq!(imported(&tree, &fake).err().unwrap().exit, exit);
            assert_eq!(fake.asked.borrow().len(), 1);
        }
    }
}
