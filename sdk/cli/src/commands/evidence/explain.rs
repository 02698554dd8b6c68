//! `strongroom evidence explain`: what logs and quotes show, in words.

use super::{
    contents::{self, Content, GivenFile},
    hardware::Grounds,
    logs,
    quote_file::QuoteFile,
    tpm2::{self, Beside},
    verdict::Found,
    verify::Kind,
    words,
};
use crate::{
    output::{Answer, Failure},
    plain,
    times::now,
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};
use strongroom::protocol::limits;
use strongroom_attest::{Verdict, ima::ImaLog, log::BootLog, quote::Values, tpm::HashAlg};

/// Arguments of `evidence explain`.
#[derive(clap::Args)]
pub(crate) struct Explain {
    /// Boot logs, IMA logs, reports and quotes of confidential hardware, items of evidence in JSON: told by their content
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// One file, explained.
struct Explained {
    kind: &'static str,
    found: Found,
    text: String,
}

impl Explain {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let mut text = String::new();
        let mut documents = Vec::new();
        for path in &self.files {
            let explained = explain(path)?;
            let name = plain::line(&path.display().to_string());
            let _ = write!(text, "{name}: {}\n{}", explained.kind, explained.text);
            for line in explained.found.unexplained().lines() {
                let _ = writeln!(text, "  {line}");
            }
            text.push_str(&refusals(&explained.found));
            let lines: Vec<&str> = explained.text.lines().collect();
            documents.push(json!({
                "file": name,
                "kind": explained.kind,
                "rows": explained.found.rows,
                "claims": Value::Object(explained.found.claims),
                "words": lines,
            }));
        }
        text.push_str(
            "\nWhat stands after `said:` is the log's own word: types and texts of boot events are in no digest, and\n\
             paths of files are named by whoever mounted them. `strongroom evidence verify` says what a quote vouches for.\n",
        );
        Answer::new(&json!({ "files": documents }), text)
    }
}

fn explain(path: &Path) -> Result<Explained, Failure> {
    let given = contents::read(path, limits::BODY)?;
    let name = path.display();
    let kinds = Content::of(&given.bytes).kinds();
    if let [kind @ (Kind::SevSnp | Kind::Tdx | Kind::NvidiaGpu | Kind::AzureSnpVtpm)] = kinds.as_slice() {
        return hardware(*kind, given);
    }
    if let Some(b'{' | b'[') = given.bytes.trim_ascii_start().first() {
        let file = QuoteFile::of(std::slice::from_ref(&given), None, None)?;
        let found = tpm2::judge(&file, &Beside::default())?;
        if let Some(why) = &found.malformed {
            return Err(Failure::usage(format!("{name}: malformed: {}", plain::line(why))));
        }
        let mut text = words::quote(&found);
        if let Some(log) = &file.boot_log {
            let quoted = found.quoted.as_ref().map(|(bank, values)| (*bank, values));
            text.push_str(&boot_log(log, quoted));
        }
        for log in file.ima_log.iter().filter(|_| file.ima_offset == 0) {
            text.push_str(&ima_log(log));
        }
        return Ok(Explained { kind: "evidence of a TPM 2.0", found, text });
    }
    let GivenFile { bytes, .. } = given;
    let boot = logs::boot_log(&bytes, None);
    if boot.malformed.is_none() {
        return Ok(Explained { kind: "boot log", found: boot, text: boot_log(&bytes, None) });
    }
    let ima = logs::ima_log(&bytes, None, false, None);
    match (&ima.malformed, &boot.malformed) {
        (None, _) => Ok(Explained { kind: "IMA log", found: ima, text: ima_log(&bytes) }),
        (Some(_), why) => Err(Failure::usage(format!(
            "{name}: no boot log, no IMA log, no report or quote of hardware, no item of evidence in JSON ({})",
            plain::line(why.as_deref().unwrap_or_default())
        ))),
    }
}

/// A report or quote of confidential hardware: what it says, and what can be told of it without anything beside it.
fn hardware(kind: Kind, given: GivenFile) -> Result<Explained, Failure> {
    let at = u64::try_from(now().unix_timestamp()).unwrap_or_default();
    let mut grounds = Grounds { at, ..Grounds::default() };
    let name = given.path.display().to_string();
    let item = grounds.evidence(kind, vec![given])?;
    let found = grounds.judge(&item)?;
    if let Some(why) = &found.malformed {
        return Err(Failure::usage(format!("{name}: malformed: {}", plain::line(why))));
    }
    let mut text = String::new();
    for line in found.text.lines() {
        let _ = writeln!(text, "  {line}");
    }
    Ok(Explained { kind: kind.title(), found, text })
}

/// What a boot log says; beside a quote, of the quoted PCRs only what the quote vouches for.
fn boot_log(bytes: &[u8], quoted: Option<(HashAlg, &Values)>) -> String {
    let examined = logs::examined(bytes, quoted);
    BootLog::parse(bytes).map_or_else(|_| String::new(), |log| words::boot(&log, &examined))
}

fn ima_log(bytes: &[u8]) -> String {
    ImaLog::parse(bytes, 0).map_or_else(|_| String::new(), |log| words::ima(&log))
}

/// Every row that refused: what it checks, why, what to do.
fn refusals(found: &Found) -> String {
    let mut text = String::new();
    for row in found.rows.iter().filter(|row| row.verdict == Verdict::Refused) {
        let why = row.note.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{} refused ({}): {}", row.row, row.title, plain::line(why));
        let _ = writeln!(text, "  what to do: {}", words::remedy(row.row));
    }
    text
}
