//! `strongroom audit`.

use super::segment;
use crate::{
    context::{Context, read_capped},
    output::{Answer, Exit, Failure, table},
    times,
};
use clap::Subcommand;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use strongroom::{
    Error,
    protocol::audit::{AuditPage, AuditQuery, EntryView, ProofView},
    sealed::PartialFile,
};
use strongroom_ledger::{Receipt, SignedCheckpoint, VerifierKey, entry_hash, parse_export_line, verify_export};

/// Longest line of an export that is read, bytes.
const LINE: u64 = 2 << 20;

/// The ledger.
#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Who got what, when, and why: records that match, the oldest first
    #[command(after_help = "Example:\n  strongroom audit query --last 1h --asset minilm --verdict released")]
    Query(Filter),
    /// One record
    #[command(after_help = "Example:\n  strongroom audit show 01K3ZQ8Y6E6M1D0Q9V1S1C1X7A")]
    Show {
        /// The record's id
        record: String,
    },
    /// Fetch the proof that a record is in the ledger, and verify it here
    #[command(after_help = "Example:\n  strongroom audit prove 01K3ZQ8Y6E6M1D0Q9V1S1C1X7A --out receipt.txt")]
    Prove {
        /// The record's id
        record: String,
        /// Where the receipt (a C2SP tlog-proof) is written
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Fetch the whole ledger
    #[command(after_help = "Example:\n  strongroom audit export --out ledger.jsonl")]
    Export {
        /// Where to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace a file that is there already
        #[arg(long)]
        replace: bool,
    },
    /// Verify an export; offline, without trusting the service
    #[command(after_help = "Example:\n  strongroom audit verify ledger.jsonl --save-checkpoint seen.txt")]
    Verify(Verify),
}

/// What to look for.
#[derive(clap::Args, Default)]
pub(crate) struct Filter {
    /// The last so much time, such as 15m or 7d
    #[arg(long, conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// From this time on, RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// Up to this time, RFC 3339
    #[arg(long)]
    to: Option<String>,
    /// Asset
    #[arg(long)]
    asset: Option<String>,
    /// Node id
    #[arg(long, allow_hyphen_values = true)]
    node: Option<String>,
    /// Site
    #[arg(long)]
    site: Option<String>,
    /// Job id
    #[arg(long)]
    job: Option<String>,
    /// Actor, such as person:alice
    #[arg(long)]
    actor: Option<String>,
    /// Action, such as release.decided or node.*
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// released or denied
    #[arg(long)]
    verdict: Option<String>,
    /// A reason code
    #[arg(long)]
    reason: Option<String>,
    /// Only what comes after this index
    #[arg(long)]
    after: Option<u64>,
    /// At most so many
    #[arg(long)]
    limit: Option<u32>,
}

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
    /// Keep the checkpoint of this export for the next time
    #[arg(long, value_name = "FILE")]
    save_checkpoint: Option<PathBuf>,
}

impl Audit {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Query(filter) => {
                let page = fetch(context, "/v1/audit/records", &filter)?;
                Answer::new(&page, entries_table(&page))
            }
            Self::Show { record } => {
                let entry: EntryView = context.admin()?.get(&format!("/v1/audit/records/{}", segment(&record)?))?;
                let body = body(&entry)?;
                let text = format!("ledger index {}\n{body:#}", entry.index);
                Answer::new(&json!({ "entry": entry, "record": body }), text)
            }
            Self::Prove { record, out } => prove(context, &record, out.as_deref()),
            Self::Export { out, replace } => export(context, &out, replace),
            Self::Verify(verify) => verify.run(context),
        }
    }
}

/// A page of records of `/v1/audit/records` or `/v1/decisions`, each with its bytes checked against
/// its entry.
pub(crate) fn fetch(context: &Context, endpoint: &str, filter: &Filter) -> Result<Value, Failure> {
    let from = match &filter.last {
        Some(last) => {
            let seconds = i64::try_from(times::seconds(last)?).unwrap_or(i64::MAX);
            let start = times::now().checked_sub(time::Duration::seconds(seconds));
            Some(times::rfc3339(start.unwrap_or(time::OffsetDateTime::UNIX_EPOCH)))
        }
        None => filter.from.clone(),
    };
    let query = AuditQuery {
        from,
        to: filter.to.clone(),
        asset: filter.asset.clone(),
        node: filter.node.clone(),
        site: filter.site.clone(),
        job: filter.job.clone(),
        actor: filter.actor.clone(),
        action: filter.action.clone(),
        verdict: filter.verdict.clone(),
        reason: filter.reason.clone(),
        after: filter.after,
        limit: filter.limit,
    };
    let page: AuditPage = context.admin()?.get(&format!("{endpoint}?{}", query_string(&query)?))?;
    let mut records = Vec::new();
    for entry in &page.entries {
        records.push(json!({ "index": entry.index, "record": body(entry)? }));
    }
    Ok(json!({ "checkpoint": page.checkpoint, "next": page.next, "records": records }))
}

fn not_its_entry(index: u64) -> Failure {
    Failure::refused(format!("entry {index}: the record does not hash to its entry; do not believe this answer"))
}

/// The query as a query string; values are percent-encoded.
fn query_string(query: &AuditQuery) -> Result<String, Failure> {
    let value = serde_json::to_value(query).map_err(|e| Failure::usage(e.to_string()))?;
    let mut parts = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut encoded = String::new();
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                encoded.push(char::from(byte));
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        parts.push(format!("{name}={encoded}"));
    }
    Ok(parts.join("&"))
}

/// The record of an entry, once it has hashed to the entry; null where the body was pruned. Half a
/// body cannot be checked, and so is not shown.
fn body(entry: &EntryView) -> Result<Value, Failure> {
    let (record, salt) = match (&entry.record, &entry.salt) {
        (Some(record), Some(salt)) => (record, salt),
        (None, None) => return Ok(Value::Null),
        _ => return Err(not_its_entry(entry.index)),
    };
    let salt: [u8; 16] = salt.0.as_slice().try_into().map_err(|_| not_its_entry(entry.index))?;
    if entry_hash(&salt, &record.0).as_slice() != entry.entry.0.as_slice() {
        return Err(not_its_entry(entry.index));
    }
    serde_json::from_slice(&record.0).map_err(|_| not_its_entry(entry.index))
}

/// Records for people.
pub(crate) fn entries_table(page: &Value) -> String {
    let mut rows = Vec::new();
    for entry in page.get("records").and_then(Value::as_array).into_iter().flatten() {
        let record = entry.get("record").unwrap_or(&Value::Null);
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let named = |name: &str| {
            let part = |field: &str| record.get(name).and_then(|v| v.get(field)).and_then(Value::as_str).unwrap_or("");
            format!("{}:{}", part("kind"), part("id").chars().take(20).collect::<String>())
        };
        let list = |name: &str, show: &dyn Fn(&Value) -> String| {
            record
                .get(name)
                .and_then(Value::as_array)
                .map(|v| v.iter().map(show).collect::<Vec<_>>().join(" "))
                .unwrap_or_default()
        };
        let key = |key: &Value| {
            let word = |name: &str| key.get(name).map(|v| v.to_string().replace('"', "")).unwrap_or_default();
            format!("{}@{} {}/{}", word("asset"), word("version"), word("access"), word("scope"))
        };
        let reason = |reason: &Value| reason.as_str().unwrap_or("").to_owned();
        rows.push([
            entry.get("index").map(ToString::to_string).unwrap_or_default(),
            text("time"),
            text("id"),
            text("action"),
            named("actor"),
            list("keys", &key),
            [text("verdict"), list("reasons", &reason)].join(" ").trim().to_owned(),
        ]);
    }
    table(["INDEX", "TIME", "RECORD", "ACTION", "ACTOR", "KEYS", "VERDICT"], &rows)
}

fn prove(context: &Context, record: &str, out: Option<&Path>) -> Result<Answer, Failure> {
    let admin = context.admin()?;
    let proof: ProofView = admin.get(&format!("/v1/audit/records/{}/proof", segment(record)?))?;
    let entry: [u8; 32] = proof.entry.entry.0.as_slice().try_into().map_err(|_| not_its_entry(proof.entry.index))?;
    if body(&proof.entry)?.get("id").and_then(Value::as_str) != Some(record) {
        return Err(Failure::refused(format!("the answer does not prove the record {record}, but another entry")));
    }
    let verified = Receipt::parse(&proof.receipt)
        .and_then(|receipt| receipt.verify(&entry, std::slice::from_ref(admin.ledger_key())))
        .map_err(|e| Failure::refused(format!("the proof does not verify: {e}")))?;
    if let Some(out) = out {
        write_whole(out, &proof.receipt)?;
    }
    Answer::new(
        &json!({ "record": record, "index": verified.index, "size": verified.checkpoint.size, "receipt": proof.receipt }),
        format!(
            "record {record} is entry {} of a ledger of {} entries, under a checkpoint signed by {}\n",
            verified.index,
            verified.checkpoint.size,
            admin.ledger_key().name()
        ),
    )
}

fn export(context: &Context, out: &Path, replace: bool) -> Result<Answer, Failure> {
    let mut stream = context.admin()?.stream("/v1/audit/export")?;
    let mut partial = PartialFile::create(out, replace).map_err(Error::from)?;
    let bytes = std::io::copy(&mut stream, &mut partial).map_err(|e| Failure::file(out, e))?;
    partial.commit().map_err(Error::from)?;
    keep_private(out)?;
    Answer::new(
        &json!({ "file": out, "bytes": bytes }),
        format!("{bytes} bytes written to {}\nverify it: strongroom audit verify {}", out.display(), out.display()),
    )
}

/// A receipt or a checkpoint: there whole, or as it was before.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let mut partial = PartialFile::create(path, true).map_err(Error::from)?;
    partial.write_all(text.as_bytes()).map_err(|e| Failure::file(path, e))?;
    partial.commit().map_err(Error::from)?;
    keep_private(path)
}

/// An export names persons, nodes and assets, and holds the salts that keep the public tiles quiet.
fn keep_private(path: &Path) -> Result<(), Failure> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|e| Failure::file(path, e))
}

impl Verify {
    fn run(self, context: &Context) -> Result<Answer, Failure> {
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
            write_whole(path, &checkpoint)?;
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
        }
        let mut answer = Answer::new(
            &json!({
                "verified": report.pruned == 0, "entries": report.checkpoint.size, "released": report.released, "denied": report.denied,
                "pruned": report.pruned, "clock_steps": report.clock_steps, "actions": actions,
            }),
            text,
        )?;
        answer.holds = report.pruned == 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_percent_encoded() {
        let query = AuditQuery { actor: Some("person:a b&c".into()), limit: Some(5), ..AuditQuery::default() };
        assert_eq!(query_string(&query).unwrap(), "actor=person%3Aa%20b%26c&limit=5");
    }
}
