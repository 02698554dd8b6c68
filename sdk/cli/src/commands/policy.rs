//! `strongroom policy`.

use super::recorded;
use crate::{
    context::Context,
    output::{Answer, Exit, Failure, table},
};
use clap::Subcommand;
use std::{fmt::Write as _, path::PathBuf};
use strongroom::protocol::{
    Bytes, Fixed,
    admin::{PolicyFiles, PolicyView, Recorded},
};
use strongroom_policy::{Bundle, Outcome, PolicyError, Sources, load_dir, test_bundle};

/// Policies.
#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Check that a bundle loads; offline
    #[command(after_help = "Example:\n  strongroom policy check policies/baseline")]
    Check {
        /// The bundle's directory
        directory: PathBuf,
    },
    /// Run a bundle's own tests (`*_test.rego`); offline
    #[command(after_help = "Example:\n  strongroom policy test policies/baseline")]
    Test {
        /// The bundle's directory
        directory: PathBuf,
    },
    /// Test a bundle and propose it; somebody else enforces it
    #[command(after_help = "Example:\n  strongroom policy propose policies/baseline --token-file author.token")]
    Propose {
        /// The bundle's directory
        directory: PathBuf,
    },
    /// Enforce a proposed policy
    #[command(after_help = "Example:\n  strongroom policy enforce DIGEST --token-file approver.token")]
    Enforce {
        /// The policy's digest, as `policy propose` printed it
        #[arg(allow_hyphen_values = true)]
        digest: Fixed<32>,
    },
    /// All policies
    #[command(after_help = "Example:\n  strongroom policy list")]
    List,
}

impl Policy {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Check { directory } => {
                let bundle = Bundle::from_files(load(&directory)?.files).map_err(|e| invalid(&e))?;
                let digest = Fixed(bundle.digest());
                Answer::new(
                    &serde_json::json!({ "digest": digest, "files": bundle.files().keys().collect::<Vec<_>>() }),
                    format!("the bundle loads\ndigest {digest}"),
                )
            }
            Self::Test { directory } => test(&load(&directory)?),
            Self::Propose { directory } => {
                let sources = load(&directory)?;
                let tested = test(&sources)?;
                if !tested.holds {
                    return Err(Failure::refused(format!("{}a bundle whose tests fail is not proposed", tested.text)));
                }
                let body = PolicyFiles { files: sources.files };
                let answer: Recorded = context.admin()?.post("/v1/policies", &body)?;
                let digest = answer.digest.clone().unwrap_or_else(|| Bytes(Vec::new()));
                recorded(&format!("policy {digest} proposed; somebody else enforces it"), &answer)
            }
            Self::Enforce { digest } => {
                let answer: Recorded =
                    context.admin()?.post(&format!("/v1/policies/{digest}/enforce"), &serde_json::json!({}))?;
                recorded(&format!("policy {digest} is enforced"), &answer)
            }
            Self::List => {
                let policies: Vec<PolicyView> = context.admin()?.get("/v1/policies")?;
                let rows: Vec<_> = policies
                    .iter()
                    .map(|p| {
                        [
                            p.digest.to_string(),
                            format!("{:?}", p.state).to_lowercase(),
                            p.author.clone(),
                            p.approver.clone().unwrap_or_default(),
                            p.proposed_at.clone(),
                        ]
                    })
                    .collect();
                Answer::new(&policies, table(["POLICY", "STATE", "AUTHOR", "APPROVER", "PROPOSED"], &rows))
            }
        }
    }
}

fn load(directory: &std::path::Path) -> Result<Sources, Failure> {
    load_dir(directory).map_err(|e| invalid(&e))
}

fn invalid(error: &PolicyError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

fn test(sources: &Sources) -> Result<Answer, Failure> {
    let report = test_bundle(&sources.files, &sources.tests).map_err(|e| invalid(&e))?;
    let mut text = String::new();
    let mut passed = 0;
    for result in &report.results {
        let word = match &result.outcome {
            Outcome::Passed => {
                passed += 1;
                "ok".to_owned()
            }
            Outcome::Failed => "FAILED".to_owned(),
            Outcome::Error(error) => format!("ERROR: {error}"),
        };
        let _ = writeln!(text, "{} ... {word}", result.name);
        for line in &result.prints {
            let _ = writeln!(text, "    {line}");
        }
    }
    let failed = report.results.len() - passed;
    let _ = writeln!(text, "{passed} passed, {failed} failed");
    if report.results.is_empty() {
        text.push_str("a bundle without tests has not been tested\n");
    }
    let failures: Vec<_> = report.failures().map(|r| &r.name).collect();
    let mut answer =
        Answer::new(&serde_json::json!({ "passed": passed, "failed": failed, "failures": failures }), text)?;
    answer.holds = report.passed();
    Ok(answer)
}
