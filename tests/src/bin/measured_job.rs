//! A job on a measured node: opens a sealed file by way of the node's agent, says what its plaintext hashes to, and
//! holds it. Each line of standard input makes it prove the node again, and is answered by what came of that.
//!
//! With `--renew` it holds nothing, and asks for another's lease: what a job would do that survived a reboot.

use anyhow::Context as _;
use clap::Parser;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};
use strongroom::{
    Options, Request, Room,
    collect::{AgentAttester, Attester, CollectError, Wanted},
    memory::Protection,
    sealed::{Expected, Opening},
};
use strongroom_protocol::{
    Bytes, Fixed, LeaseId,
    evidence::Evidence,
    join::JoinFile,
    release::ReleaseRequest,
    sha256,
    statement::{Access, Act, CallerRef, KeyRequest, ObjectRef, Scope},
};
use strongroom_tests::Wire;

#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The join file.
    #[arg(long)]
    join: PathBuf,
    /// The agent's socket.
    #[arg(long)]
    agent: PathBuf,
    /// What the file is of.
    #[arg(long)]
    asset: String,
    /// Asks for this lease to be renewed, and ends.
    #[arg(long)]
    renew: Option<LeaseId>,
    /// The sealed file.
    file: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let join: JoinFile = serde_json::from_slice(&fs::read(&arguments.join).context("reading the join file")?)?;
    let agent = AgentAttester::at(arguments.agent.clone());
    let expected = Expected { asset: arguments.asset.clone(), version: None, object: None };
    let opening = Opening::start(File::open(&arguments.file)?, &expected)?;
    let header = opening.header();
    let objects = vec![ObjectRef { writer: header.writer, object: header.object }];
    if let Some(lease) = arguments.renew {
        let (asset, version) = (arguments.asset, header.version);
        let key = KeyRequest { asset, version, access: Access::Read, scope: Scope::Object, objects };
        return renew(&join, &agent, lease, key);
    }

    let agent = Watched { agent, ima: Mutex::default() };
    let room = Room::connect(&join, Options::default())?;
    let lease = room.release(&agent, Request::new().objects(&arguments.asset, header.version, objects))?;
    let opened = lease.open_file(&arguments.file, &expected, false, 0, &Protection::default(), &())?;
    let digest = hex::encode(sha256(&opened.plaintext()?));
    say(&json!({ "lease": lease.id(), "sha256": digest, "ima": agent.sent() }))?;
    for line in io::stdin().lines() {
        line?;
        let renewed = lease.reattest(&room, &agent);
        let problem = renewed.as_ref().err().and_then(strongroom::Error::problem);
        say(&json!({
            "renewed": renewed.is_ok(),
            "ima": agent.sent(),
            "reasons": problem.map(|problem| &problem.reasons),
            "decision": problem.and_then(|problem| problem.decision_id),
            "readable": opened.plaintext().is_ok(),
            "error": renewed.as_ref().err().map(ToString::to_string),
        }))?;
    }
    Ok(())
}

/// The agent, and how much of the IMA log it sent last.
struct Watched {
    agent: AgentAttester,
    ima: Mutex<Value>,
}

impl Watched {
    fn sent(&self) -> Value {
        self.ima.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Attester for Watched {
    fn caller(&self) -> Result<Option<Vec<u8>>, CollectError> {
        self.agent.caller()
    }

    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        let evidence = self.agent.collect(statement, caller, wanted)?;
        if let Some(Evidence::Tpm2(quote)) = evidence.first() {
            let bytes = quote.ima_log.as_ref().map(|log| log.0.len());
            let sent = json!({ "offset": quote.ima_offset, "bytes": bytes });
            *self.ima.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        }
        Ok(evidence)
    }
}

fn renew(join: &JoinFile, agent: &AgentAttester, lease: LeaseId, key: KeyRequest) -> anyhow::Result<()> {
    let wire = Wire::to(join)?;
    let caller = agent.caller()?;
    let mut asking = wire.ask(vec![key])?;
    asking.statement.act = Act::Renew;
    asking.statement.lease = Some(lease);
    asking.statement.caller = caller.as_deref().map(|caller| CallerRef { sha256: Fixed(sha256(caller)) });
    let statement = asking.bytes()?;
    let evidence = agent.collect(&statement, caller.as_deref(), Wanted::whole(&wire.selection))?;
    let request = ReleaseRequest { statement: Bytes(statement), caller: caller.map(Bytes), job_token: None, evidence };
    let problem = wire.release(&request)?.problem()?;
    say(&json!({ "reasons": problem.reasons, "decision": problem.decision_id, "row": problem.row }))
}

fn say(answer: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}
