//! `strongroom audit`.

use super::{
    entries,
    filter::{Filter, query_string},
    proof::{CheckProof, proof_file},
    segment,
    verify::Verify,
};
use crate::{
    context::Context,
    output::{Answer, Failure, table},
    private_file::PrivateFile,
};
use clap::Subcommand;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
};
use strongroom::protocol::audit::{AuditPage, EntryView, ProofView};

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
    #[command(after_help = "Example:\n  strongroom audit prove 01K3ZQ8Y6E6M1D0Q9V1S1C1X7A --out proof.json")]
    Prove {
        /// The record's id
        record: String,
        /// Where the proof is written: record, salt and receipt (a C2SP tlog-proof), all that `check-proof` needs
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace a file that is there already
        #[arg(long)]
        replace: bool,
    },
    /// Verify a proof that `prove` wrote; offline, without trusting the service
    #[command(after_help = "Example:\n  strongroom audit check-proof proof.json")]
    CheckProof(CheckProof),
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

impl Audit {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Query(filter) => {
                let page = fetch(context, "/v1/audit/records", &filter)?;
                Answer::new(&page, entries_table(&page))
            }
            Self::Show { record } => {
                let entry: EntryView = context.admin()?.get(&format!("/v1/audit/records/{}", segment(&record)?))?;
                let body = entries::named(&entry, &record)?;
                let text = format!(
                    "ledger index {}; the record hashes to its entry (audit prove shows that this is in the ledger)\n{body:#}",
                    entry.index
                );
                Answer::new(&json!({ "entry": entry, "record": body }), text)
            }
            Self::Prove { record, out, replace } => prove(context, &record, out.as_deref(), replace),
            Self::CheckProof(check) => check.run(context),
            Self::Export { out, replace } => export(context, &out, replace),
            Self::Verify(verify) => verify.run(context),
        }
    }
}

/// A page of records of `/v1/audit/records` or `/v1/decisions`, believed as far as it can be: see
/// [`entries::page`].
pub(crate) fn fetch(context: &Context, endpoint: &str, filter: &Filter) -> Result<Value, Failure> {
    let query = filter.query()?;
    let admin = context.admin()?;
    let page: AuditPage = admin.get(&format!("{endpoint}?{}", query_string(&query)?))?;
    let records = entries::page(&page, query.after, admin.ledger_key())?;
    Ok(json!({ "checkpoint": page.checkpoint, "next": page.next, "records": records }))
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
    let mut text = table(["INDEX", "TIME", "RECORD", "ACTION", "ACTOR", "KEYS", "VERDICT"], &rows);
    if let Some(next) = page.get("next").and_then(Value::as_u64) {
        let _ = writeln!(text, "there may be more: the same with --after {next} shows it; --limit takes up to 1000");
    }
    text
}

fn prove(context: &Context, record: &str, out: Option<&Path>, replace: bool) -> Result<Answer, Failure> {
    // Before anything is asked: a proof that cannot be kept need not be made.
    let file = out.map(|out| PrivateFile::create(out, replace, ".proof.")).transpose()?;
    let admin = context.admin()?;
    let proof: ProofView = admin.get(&format!("/v1/audit/records/{}/proof", segment(record)?))?;
    let proved = entries::proved(&proof, record, admin.ledger_key())?;
    if let (Some(mut file), Some(out)) = (file, out) {
        file.write_all(&proof_file(&proof)?).map_err(|e| Failure::file(out, e))?;
        file.commit()?;
    }
    Answer::new(
        &json!({ "record": record, "index": proved.index, "size": proved.size, "receipt": proof.receipt }),
        format!(
            "record {record} is entry {} of a ledger of {} entries, under a checkpoint signed by {}\n",
            proved.index,
            proved.size,
            admin.ledger_key().name()
        ),
    )
}

/// An export names persons, nodes and assets, and holds the salts that keep the public tiles quiet:
/// it is private from its first byte.
fn export(context: &Context, out: &Path, replace: bool) -> Result<Answer, Failure> {
    let admin = context.admin()?;
    let mut file = PrivateFile::create(out, replace, ".export.")?;
    let bytes = std::io::copy(&mut admin.stream("/v1/audit/export")?, &mut file).map_err(|e| Failure::file(out, e))?;
    file.commit()?;
    Answer::new(
        &json!({ "file": out, "bytes": bytes }),
        format!("{bytes} bytes written to {}\nverify it: strongroom audit verify {}", out.display(), out.display()),
    )
}

/// A checkpoint: there whole, or as it was before.
pub(super) fn write_private(path: &Path, prefix: &str, text: &str) -> Result<(), Failure> {
    let mut file = PrivateFile::create(path, true, prefix)?;
    file.write_all(text.as_bytes()).map_err(|e| Failure::file(path, e))?;
    file.commit()
}
