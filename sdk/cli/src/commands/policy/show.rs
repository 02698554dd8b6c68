//! `strongroom policy show`: what an approver has to read.

use super::warnings::Warnings;
use crate::{
    context::Context,
    output::{Answer, Failure},
    plain,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use strongroom::protocol::{Fixed, admin::PolicyView};
use strongroom_policy::Bundle;

/// Arguments of `policy show`.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// The policy's digest, as `policy propose` printed it
    #[arg(allow_hyphen_values = true)]
    digest: Fixed<32>,
    /// Write the files into this new directory, to compare and to test them
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// `GET /v1/policies/{digest}`.
#[derive(Serialize, Deserialize)]
pub(super) struct Shown {
    policy: PolicyView,
    pub(super) files: BTreeMap<String, String>,
}

/// A policy as the vault shows it: not believed yet.
pub(super) fn shown(context: &Context, digest: Fixed<32>) -> Result<Shown, Failure> {
    Ok(context.admin()?.get(&format!("/v1/policies/{digest}"))?)
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        if let Some(out) = self.out.as_deref().filter(|out| out.symlink_metadata().is_ok()) {
            return Err(Failure::usage(format!("{} is there already: give a new directory", out.display())));
        }
        let shown = shown(context, self.digest)?;
        let bundle = believed(&shown.files, self.digest)?;
        let view = &shown.policy;
        let mut text = format!("policy {}, proposed by {} at {}", self.digest, view.author, view.proposed_at);
        if let Some(approver) = &view.approver {
            let _ = write!(text, ", enforced by {approver}");
        }
        text.push('\n');
        match &self.out {
            Some(out) => {
                write(out, bundle.files())?;
                let _ = writeln!(text, "{} files written to {}", bundle.files().len(), out.display());
            }
            None => {
                for (path, rules) in bundle.files() {
                    let _ = write!(text, "--- {path}\n{}", plain::lines(rules));
                }
            }
        }
        let warnings = Warnings::of(&bundle, None).warnings;
        Ok(warnings.iter().fold(Answer::new(&shown, text)?, |answer, weakness| answer.warn(weakness.to_string())))
    }
}

/// The bundle, if it is the one that the digest names: a vault may show anything.
pub(super) fn believed(files: &BTreeMap<String, String>, digest: Fixed<32>) -> Result<Bundle, Failure> {
    let bundle = Bundle::from_files(files.clone()).map_err(|e| Failure::refused(e.to_string()))?;
    if bundle.digest() == digest.0 {
        return Ok(bundle);
    }
    Err(Failure::refused(format!(
        "the files that the vault shows are those of {}, not of {digest}; do not believe this answer",
        Fixed(bundle.digest())
    )))
}

/// All files, or no directory. Their paths are a bundle's, so none leads out of it.
fn write(out: &Path, files: &BTreeMap<String, String>) -> Result<(), Failure> {
    let failed = |source| Failure::file(out, source);
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished = tempfile::Builder::new().prefix(".policy.").tempdir_in(parent).map_err(failed)?;
    for (path, text) in files {
        let path = unfinished.path().join(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        fs::write(path, text).map_err(failed)?;
    }
    fs::rename(unfinished.path(), out).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Exit;

    fn baseline() -> BTreeMap<String, String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/baseline");
        strongroom_policy::load_dir(&directory).unwrap().files
    }

    #[test]
    fn only_the_files_that_the_digest_names_are_shown() {
        let mut files = baseline();
        let digest = Fixed(Bundle::from_files(files.clone()).unwrap().digest());
        assert!(believed(&files, digest).is_ok());
        files.get_mut("release.rego").unwrap().push_str("# one more line\n");
        let refused = believed(&files, digest).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert!(refused.message.contains(&digest.to_string()), "{}", refused.message);
        files.insert("../outside.rego".into(), String::new());
        assert!(believed(&files, digest).unwrap_err().message.contains("path"));
    }

    #[test]
    fn files_are_written_whole_into_a_new_directory() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("policy");
        write(&out, &baseline()).unwrap();
        assert_eq!(strongroom_policy::load_dir(&out).unwrap().files, baseline());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(write(&file, &baseline()).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing half-made is left");
    }
}
