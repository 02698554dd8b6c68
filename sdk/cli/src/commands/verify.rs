//! `strongroom audit verify`.

use crate::{
    context::{Context, read_capped},
    output::{Answer, Exit, Failure},
    work::given,
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
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
        let keys = ledger_keys(context, self.key)?;
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
        let file = given(&self.file)?;
        let mut footer = None;
        let lines = Lines(BufReader::new(file)).inspect(|line| {
            if let Ok(strongroom::protocol::audit::ExportLine::Footer { checkpoint }) = line {
                footer = Some(checkpoint.clone());
            }
        });
        let report = verify_export(lines, &keys, known.as_ref())
            .map_err(|e| Failure::new(Exit::Refused, format!("{} does not verify: {e}", self.file.display())))?;
        let holds = report.pruned == 0 || self.accept_pruned;
        if let (true, Some(path), Some(checkpoint)) = (holds, &self.save_checkpoint, footer) {
            super::audit::write_private(path, ".checkpoint.", &checkpoint)?;
        }
        let actions: serde_json::Map<String, Value> =
            report.actions.iter().map(|(action, count)| (action.as_str().to_owned(), json!(count))).collect();
        let (file, size) = (self.file.display(), report.checkpoint.size);
        let mut text = if holds {
            format!("{file} verifies: {size} entries, signed by {}", keys.first().map_or("", VerifierKey::name))
        } else {
            format!(
                "{file} does not verify: {} of {size} entries have no body; nothing in this version prunes, so somebody took them out (--accept-pruned goes on)",
                report.pruned
            )
        };
        let _ = write!(text, "\n{} releases, {} denials", report.released, report.denied);
        if let (Some(earliest), Some(latest)) = (&report.earliest, &report.latest) {
            let _ = write!(text, ", from {earliest} to {latest}");
        }
        if report.clock_steps > 0 {
            let _ =
                write!(text, "\nthe recorded time goes back {} times: somebody should know why", report.clock_steps);
        }
        if holds && report.pruned > 0 {
            let _ = write!(
                text,
                "\n{} entries have no body: nothing in this version prunes, so somebody took them out; accepted, as you said",
                report.pruned
            );
        }
        if !holds && self.save_checkpoint.is_some() {
            text.push_str("\nthe checkpoint was not kept");
        }
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

/// The keys to verify with: the auditor's own, or the join file's.
pub(super) fn ledger_keys(context: &Context, own: Option<VerifierKey>) -> Result<[VerifierKey; 1], Failure> {
    if let Some(key) = own {
        return Ok([key]);
    }
    let key = context.join_file()?.ledger_verifier_key;
    Ok([key.parse().map_err(|e| Failure::usage(format!("the join file's `ledger_verifier_key`: {e}")))?])
}

/// The lines of an export, each with a cap. Whoever reads them counts them.
struct Lines<R>(R);

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<strongroom::protocol::audit::ExportLine, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let read = self.0.by_ref().take(LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => None,
            Ok(_) => Some(parse_export_line(line.trim_ascii_end())),
            Err(error) => Some(Err(error.to_string())),
        }
    }
}
