//! `strongroom doctor`: what this machine has, what it lacks, and what to do about it.

mod devices;
mod findings;
mod identities;
mod kernel;
mod node;

use crate::{
    context::Context,
    output::{Answer, Failure},
    plain,
};
use findings::{Findings, Verdict};
use std::{fmt::Write as _, path::PathBuf};

/// Examines this machine. Changes nothing, and asks the vault for nothing but who it is.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom doctor --node")]
pub(crate) struct Doctor {
    /// What a node needs, too: memory protection, TPM, agent, confidential hardware
    #[arg(long)]
    node: bool,
    /// Where /proc and /sys are, for tests
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

impl Doctor {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut findings = Findings::default();
        if self.node {
            node::process(&mut findings);
            kernel::examine(&self.root, &mut findings);
            node::evidence(context, &mut findings);
            devices::examine(&self.root, node::in_process(context).as_ref(), &mut findings);
            identities::examine(&self.root, context, &mut findings);
        }
        node::vault(context, &mut findings);
        node::files(context, &mut findings);
        let text = lines(&findings);
        let answer = Answer::new(&findings.0, text)?;
        Ok(Answer { holds: findings.hold(), ..answer })
    }
}

/// A line for each finding, and one for its remedy.
fn lines(findings: &Findings) -> String {
    let mut text = String::new();
    for finding in &findings.0 {
        let mark = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        // A finding may quote a vault or a file: it stays in its line.
        let _ = writeln!(text, "{mark:<5} {:<14} {}", finding.check, plain::line(&finding.found));
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "{:<20} -> {}", "", plain::line(remedy));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_and_its_remedy_another() {
        let mut findings = Findings::default();
        findings.ok("swap", "none is active");
        findings.warn("clock", "12 s\napart", "set it");
        assert!(findings.hold());
        findings.fail("vault", "away", "start it");
        assert!(!findings.hold());
        assert_eq!(
            lines(&findings),
            "ok    swap           none is active\n\
             warn  clock          12 s\\napart\n                     -> set it\n\
             FAIL  vault          away\n                     -> start it\n"
        );
    }
}
