//! What a command prints, and how it ends.

use crate::plain;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};
use strongroom::{Error, collect::CollectError, protocol::Problem, sealed::SealedError};

/// Exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The vault, policy or a verification refused.
    Refused = 1,
    /// The arguments or a file given are wrong.
    Usage = 2,
    /// The vault cannot be reached, or cannot serve now: try again.
    Unavailable = 3,
    /// This machine cannot do it: memory protection, TPM, files, standard output.
    Machine = 4,
    /// SIGINT stopped it.
    Interrupted = 130,
    /// SIGTERM stopped it.
    Terminated = 143,
}

/// The same, as help shows it.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done, and what was checked holds
  1    refused by the vault, by policy, or by a verification made here
  2    the arguments or a file that was given are wrong
  3    the vault cannot be reached, or cannot serve now: try again
  4    this machine cannot: memory protection, TPM, files, standard output
  130  stopped by SIGINT
  143  stopped by SIGTERM";

/// What a command found or did.
pub(crate) struct Answer {
    pub(crate) json: Value,
    pub(crate) text: String,
    /// False when what was to be checked does not hold: the command then ends with [`Exit::Refused`].
    pub(crate) holds: bool,
    /// What the user should know besides; said on standard error.
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) fn new(json: &impl Serialize, text: impl Into<String>) -> Result<Self, Failure> {
        let json = serde_json::to_value(json).map_err(|e| Failure::new(Exit::Machine, format!("cannot print: {e}")))?;
        Ok(Self { json, text: text.into(), holds: true, warnings: Vec::new() })
    }

    /// With something that the user should know besides.
    pub(crate) fn warn(mut self, warning: impl Into<Option<String>>) -> Self {
        self.warnings.extend(warning.into());
        self
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) problem: Option<Box<Problem>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), problem: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    pub(crate) fn file(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::File { path: path.into(), source }.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Refused(problem) => match problem.status {
                400 => Exit::Usage,
                423 | 429 | 500.. => Exit::Unavailable,
                _ => Exit::Refused,
            },
            Error::Unreachable { .. }
            | Error::PatienceOver { .. }
            | Error::Collect(CollectError::AgentTimeout { .. }) => Exit::Unavailable,
            Error::Join(_)
            | Error::Request(_)
            | Error::NotRegular(_)
            | Error::TokenExposed { .. }
            | Error::TokenMalformed(_) => Exit::Usage,
            Error::Malformed(_)
            | Error::NotBelieved(_)
            | Error::Obligation(_)
            | Error::LeaseOver(_)
            | Error::NoKey(_)
            | Error::Tensors(_)
            | Error::Envelope(_) => Exit::Refused,
            Error::Sealed(sealed) => match sealed {
                SealedError::TargetExists { .. } | SealedError::NotWritable { .. } => Exit::Usage,
                SealedError::DiskFull { .. } | SealedError::Io { .. } | SealedError::Cryptography { .. } => {
                    Exit::Machine
                }
                _ => Exit::Refused,
            },
            // An agent that is busy: try again.
            Error::Collect(CollectError::AgentRefused { code, .. }) if code.may_pass() => Exit::Unavailable,
            Error::Collect(_) | Error::Memory(_) | Error::File { .. } | Error::NoRandomness => Exit::Machine,
        };
        // One line, whatever a vault or a file wrote into it.
        let message = plain::line(&with_causes(&error));
        let problem = error.problem().cloned().map(Box::new);
        Self { exit, message, problem }
    }
}

/// An error with what caused it, each cause said once.
fn with_causes(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            let _ = write!(message, ": {text}");
        }
        cause = error.source();
    }
    message
}

/// Prints an answer or a failure, and gives the exit code.
pub(crate) fn finish(result: Result<Answer, Failure>, json: bool) -> ExitCode {
    let printed = result.and_then(|answer| {
        for warning in &answer.warnings {
            if json {
                say(&plain::json(&json!({ "warning": warning }).to_string()));
            } else {
                say(&format!("strongroom: warning: {}", plain::line(warning)));
            }
        }
        let text = if json { plain::json(&format!("{:#}\n", answer.json)) } else { plain::lines(&answer.text) };
        print(&text).map(|()| answer.holds)
    });
    match printed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(Exit::Refused as u8),
        Err(failure) => fail(&failure, json),
    }
}

/// Arguments that do not fit, or help that was asked for.
pub(crate) fn arguments(error: &clap::Error, json: bool) -> ExitCode {
    let text = error.render();
    if !error.use_stderr() {
        return print(&text.to_string()).map_or_else(|failure| fail(&failure, json), |()| ExitCode::SUCCESS);
    }
    if json {
        return fail(&Failure::usage(text.to_string().trim_end().to_owned()), json);
    }
    say(text.to_string().trim_end());
    ExitCode::from(Exit::Usage as u8)
}

fn fail(failure: &Failure, json: bool) -> ExitCode {
    if json {
        let error = json!({
            "error": { "exit": failure.exit as u8, "message": failure.message, "problem": failure.problem }
        });
        say(&plain::json(&format!("{error:#}")));
    } else {
        say(&format!("strongroom: {}", plain::lines(&failure.message)));
    }
    ExitCode::from(failure.exit as u8)
}

/// Says something on standard error. Where that is gone or full there is nobody left to tell.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Puts text on standard output, with a newline at its end. A reader that went away (a closed pipe) is
/// no failure; what could not be written for another reason is.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Machine, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Rows under their headings, columns as wide as their longest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut width = head.map(|cell| cell.chars().count());
    // A cell stays in its line and its column, whatever it says.
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| plain::line(cell))).collect();
    for row in &rows {
        for (width, cell) in width.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(width) {
            let _ = write!(text, "{cell:width$}  ");
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(head);
    for row in &rows {
        line(std::array::from_fn(|i| row.get(i).map_or("", String::as_str)));
    }
    if rows.is_empty() {
        out.push_str("(none)\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["bbb".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], &rows), "X    Y\na    long cell\nbbb\n");
        assert_eq!(table(["X"], &[]), "X\n(none)\n");
    }

    #[test]
    fn a_cell_cannot_leave_its_place() {
        let rows = [["a\nNODE  approved\u{1b}[1A".to_owned()]];
        assert_eq!(table(["X"], &rows), "X\na\\nNODE  approved\\u{1b}[1A\n");
    }

    #[test]
    fn what_a_vault_says_of_a_refusal_is_one_line() {
        let mut problem = Problem::new(strongroom::protocol::Code::Denied);
        problem.detail = Some("no\nstrongroom: opened\u{202e}".to_owned());
        let failure = Failure::from(Error::Refused(Box::new(problem)));
        assert!(!failure.message.contains('\n') && failure.message.contains("no\\nstrongroom"), "{}", failure.message);
        assert!(!failure.message.contains('\u{202e}'), "{}", failure.message);
    }

    #[test]
    fn patience_that_is_over_says_so_and_why() {
        let cause = Error::Refused(Box::new(Problem::new(strongroom::protocol::Code::LedgerUnavailable)));
        let waited = std::time::Duration::from_secs(61);
        let failure = Failure::from(Error::PatienceOver { waited, attempts: 3, cause: Box::new(cause) });
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(failure.problem.unwrap().code, strongroom::protocol::Code::LedgerUnavailable);
        assert!(failure.message.contains("61 s") && failure.message.contains("--patience"), "{}", failure.message);
    }
}
