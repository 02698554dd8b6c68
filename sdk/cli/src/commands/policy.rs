//! `strongroom policy`.

mod difference;
mod show;
mod warnings;

use super::{recorded, word};
use crate::{
    context::Context,
    output::{Answer, Exit, Failure, table},
};
use clap::Subcommand;
use serde_json::json;
use std::{fmt::Write as _, path::PathBuf};
use strongroom::protocol::{
    Bytes, Fixed,
    admin::{PolicyFiles, PolicyView, Recorded},
};
use strongroom_policy::{Bundle, Outcome, PolicyError, Sources, TestReport, TestResult, load_dir, test_bundle};
use warnings::Warnings;

const UNTESTED: &str = "a bundle without tests has not been tested";

/// Policies.
#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Check that a bundle loads, and say what it lets through that the bundles which ship do not; offline
    #[command(after_help = "Example:\n  strongroom policy check policies/baseline --deny-warnings")]
    Check {
        /// The bundle's directory; where its name says a tier, the bundle is held against that tier's rules
        directory: PathBuf,
        /// End with 1 where there is a warning
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Run a bundle's own tests (`*_test.rego`), and say what it lets through; offline
    #[command(after_help = "Example:\n  strongroom policy test policies/baseline")]
    Test {
        /// The bundle's directory
        directory: PathBuf,
        /// End with 1 where there is a warning, though all tests pass
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Say which settings and rules differ between two bundles; ends with 1 if any do
    #[command(after_help = "Example:\n  strongroom policy diff enforced policies/baseline")]
    Diff(difference::Difference),
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
    /// A policy's files, checked against its digest
    #[command(after_help = "Example:\n  strongroom policy show DIGEST --out proposed")]
    Show(show::Show),
}

impl Policy {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Check { directory, deny_warnings } => {
                let bundle = bundle(&load(&directory)?)?;
                let warnings = Warnings::of(&bundle, Some(&directory));
                let digest = Fixed(bundle.digest());
                let files: Vec<_> = bundle.files().keys().collect();
                let document = json!({
                    "digest": digest, "files": files, "warnings": warnings.warnings, "notices": warnings.notices
                });
                let text = format!("the bundle loads\ndigest {digest}\n{}", warnings.text());
                let mut answer = Answer::new(&document, text)?;
                answer.holds = !(deny_warnings && warnings.any());
                Ok(answer)
            }
            Self::Test { directory, deny_warnings } => {
                let sources = load(&directory)?;
                test(&sources, &Warnings::of(&bundle(&sources)?, Some(&directory)), deny_warnings)
            }
            Self::Diff(difference) => difference.run(context),
            Self::Propose { directory } => {
                let sources = load(&directory)?;
                tested(&sources)?;
                let warnings = Warnings::of(&bundle(&sources)?, Some(&directory));
                let body = PolicyFiles { files: sources.files };
                let answer: Recorded = context.admin()?.post("/v1/policies", &body)?;
                let digest = answer.digest.clone().unwrap_or_else(|| Bytes(Vec::new()));
                let answer = recorded(&format!("policy {digest} proposed; somebody else enforces it"), &answer)?;
                Ok(warnings.warnings.iter().fold(answer, |answer, weakness| answer.warn(weakness.to_string())))
            }
            Self::Enforce { digest } => {
                let answer: Recorded = context.admin()?.post(&format!("/v1/policies/{digest}/enforce"), &json!({}))?;
                recorded(&format!("policy {digest} is enforced"), &answer)
            }
            Self::Show(show) => show.run(context),
            Self::List => {
                let policies: Vec<PolicyView> = context.admin()?.get("/v1/policies")?;
                let rows: Vec<_> = policies
                    .iter()
                    .map(|p| {
                        [
                            p.digest.to_string(),
                            word(&p.state),
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

fn bundle(sources: &Sources) -> Result<Bundle, Failure> {
    Bundle::from_files(sources.files.clone()).map_err(|e| invalid(&e))
}

fn invalid(error: &PolicyError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

fn run_tests(sources: &Sources) -> Result<TestReport, Failure> {
    test_bundle(&sources.files, &sources.tests).map_err(|e| invalid(&e))
}

fn test(sources: &Sources, warnings: &Warnings, deny_warnings: bool) -> Result<Answer, Failure> {
    let report = run_tests(sources)?;
    let failed: Vec<_> = report.failures().collect();
    let passed = report.results.len() - failed.len();
    let mut text = String::new();
    for result in &report.results {
        if result.outcome == Outcome::Passed {
            let _ = writeln!(text, "{} ... ok", result.name);
            printed(&mut text, result);
        } else {
            text.push_str(&failure(result));
        }
    }
    let _ = writeln!(text, "{passed} passed, {} failed", failed.len());
    if report.results.is_empty() {
        let _ = writeln!(text, "{UNTESTED}");
    }
    text.push_str(&warnings.text());
    let failures: Vec<_> = failed
        .iter()
        .map(|result| {
            let error = match &result.outcome {
                Outcome::Error(error) => Some(error),
                _ => None,
            };
            json!({
                "name": result.name, "at": result.at, "got": result.got, "error": error, "prints": result.prints
            })
        })
        .collect();
    let document = json!({
        "passed": passed, "failed": failed.len(), "failures": failures,
        "warnings": warnings.warnings, "notices": warnings.notices,
    });
    let mut answer = Answer::new(&document, text)?;
    answer.holds = report.passed() && !(deny_warnings && warnings.any());
    Ok(answer)
}

/// A bundle whose tests do not pass is sent nowhere; said are the tests that failed, and no others.
fn tested(sources: &Sources) -> Result<(), Failure> {
    let report = run_tests(sources)?;
    if report.passed() {
        return Ok(());
    }
    if report.results.is_empty() {
        return Err(Failure::refused(format!("{UNTESTED}: it is not proposed")));
    }
    let failed: Vec<String> = report.failures().map(failure).collect();
    let (count, of) = (failed.len(), report.results.len());
    Err(Failure::refused(format!(
        "{count} of the bundle's {of} tests failed, so it is not proposed:\n{}",
        failed.concat().trim_end()
    )))
}

/// What is known of a test that failed: where it stands, what it was, and what it printed.
fn failure(result: &TestResult) -> String {
    let was = match (&result.outcome, &result.got) {
        (Outcome::Error(error), _) => format!("ERROR: {error}"),
        (_, got) => format!("FAILED: it was {}, not true", got.as_deref().unwrap_or("undefined")),
    };
    let mut text = format!("{} ({}) ... {was}\n", result.name, result.at);
    printed(&mut text, result);
    text
}

fn printed(text: &mut String, result: &TestResult) {
    for line in &result.prints {
        let _ = writeln!(text, "    {line}");
    }
}
