//! `strongroom audit verify`.

use crate::{
    context::{Context, read_capped},
    output::{Answer, Exit, Failure},
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
};
use strongroom_ledger::{SignedCheckpoint, VerifierKey, parse_export_line, verify_export};

/// Longest line of an export that is read, bytes.
const LINE: u64 = 2 << 20;

/// Arguments of `audit verify`.
#[derive(clap::Args)]
pub(crate) struct Verify {
    /// The export
    file: PathBuf,
    /// Your own copy of the ledger's verifier key; without it, the one of the join file
    #[arg(long, value_name = "VKEY")]
    key: Option<VerifierKey>,
    /// A checkpoint that you kept: the export must contain what it covers, unchanged
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// Accept entries whose body is missing: their place is proven, what they said is not shown
    #[arg(long)]
    accept_pruned: bool,
    /// Keep the checkpoint of this export for the next time
    #[arg(long, value_name = "FILE")]
    save_checkpoint: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let key = match self.key {
            Some(key) => key,
            None => context
                .join_file()?
                .ledger_verifier_key
                .parse()
                .map_err(|e| Failure::usage(format!("the join file's `ledger_verifier_key`: {e}")))?,
        };
        let keys = [key];
        let known = self
            .known
            .map(|path| {
                let bytes = read_capped(&path, 1 << 20)?;
                let text = String::from_utf8(bytes).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
                SignedCheckpoint::parse(&text)
                    .and_then(|signed| signed.verify(&keys).cloned())
                    .map_err(|e| Failure::refused(format!("the checkpoint in {}: {e}", path.display())))
            })
            .transpose()?;
        let file = File::open(&self.file).map_err(|e| Failure::file(&self.file, e))?;
        let mut footer = None;
        let lines = Lines { reader: BufReader::new(file), number: 0 }.inspect(|line| {
            if let Ok(strongroom::protocol::audit::ExportLine::Footer { checkpoint }) = line {
                footer = Some(checkpoint.clone());
            }
        });
        let report = verify_export(lines, &keys, known.as_ref())
            .map_err(|e| Failure::new(Exit::Refused, format!("{} does not verify: {e}", self.file.display())))?;
        if let (Some(path), Some(checkpoint)) = (&self.save_checkpoint, footer) {
            super::audit::write_private(path, ".checkpoint.", &checkpoint)?;
        }
        let actions: serde_json::Map<String, Value> =
            report.actions.iter().map(|(action, count)| (action.as_str().to_owned(), json!(count))).collect();
        let mut text = format!(
            "{} verifies: {} entries, signed by {}\n{} releases, {} denials",
            self.file.display(),
            report.checkpoint.size,
            keys.first().map_or("", VerifierKey::name),
            report.released,
            report.denied
        );
        if let (Some(earliest), Some(latest)) = (&report.earliest, &report.latest) {
            let _ = write!(text, ", from {earliest} to {latest}");
        }
        if report.clock_steps > 0 {
            let _ =
                write!(text, "\nthe recorded time goes back {} times: somebody should know why", report.clock_steps);
        }
        if report.pruned > 0 {
            let _ = write!(
                text,
                "\n{} entries have no body: nothing in this version prunes, so somebody took them out",
                report.pruned
            );
            text.push_str(if self.accept_pruned { "; accepted, as you said" } else { " (--accept-pruned goes on)" });
        }
        let holds = report.pruned == 0 || self.accept_pruned;
        let mut answer = Answer::new(
            &json!({
                "verified": holds, "entries": report.checkpoint.size, "released": report.released, "denied": report.denied,
                "pruned": report.pruned, "clock_steps": report.clock_steps, "actions": actions,
            }),
            text,
        )?;
        answer.holds = holds;
        Ok(answer)
    }
}

/// The lines of an export, each with a cap.
struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<strongroom::protocol::audit::ExportLine, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        self.number += 1;
        let read = self.reader.by_ref().take(LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => None,
            Ok(_) => {
                let parsed = parse_export_line(line.trim_ascii_end());
                Some(parsed.map_err(|e| format!("line {}: {e}", self.number)))
            }
            Err(error) => Some(Err(format!("line {}: {error}", self.number))),
        }
    }
}
