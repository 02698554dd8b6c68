//! A job on a measured node: opens a sealed file by way of the node's agent, says what its plaintext hashes to, and
//! holds it. Each line of standard input makes it prove the node again, and is answered by what came of that.

use anyhow::Context as _;
use clap::Parser;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
};
use strongroom::{
    Options, Request, Room,
    collect::AgentAttester,
    memory::Protection,
    sealed::{Expected, Opening},
};
use strongroom_protocol::{join::JoinFile, sha256, statement::ObjectRef};

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
    /// The sealed file.
    file: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let join: JoinFile = serde_json::from_slice(&fs::read(&arguments.join).context("reading the join file")?)?;
    let agent = AgentAttester::at(arguments.agent);
    let expected = Expected { asset: arguments.asset.clone(), version: None, object: None };
    let opening = Opening::start(File::open(&arguments.file)?, &expected)?;
    let header = opening.header();
    let object = ObjectRef { writer: header.writer, object: header.object };

    let room = Room::connect(&join, Options::default())?;
    let lease = room.release(&agent, Request::new().objects(&arguments.asset, header.version, vec![object]))?;
    let opened = lease.open_file(&arguments.file, &expected, false, 0, &Protection::default(), &())?;
    let digest = hex::encode(sha256(&opened.plaintext()?));
    say(&json!({ "lease": lease.id(), "sha256": digest }))?;
    for line in io::stdin().lines() {
        line?;
        let renewed = lease.reattest(&room, &agent);
        let reasons =
            renewed.as_ref().err().and_then(strongroom::Error::problem).map(|problem| problem.reasons.clone());
        say(&json!({
            "renewed": renewed.is_ok(),
            "reasons": reasons,
            "error": renewed.err().map(|error| error.to_string()),
            "readable": opened.plaintext().is_ok(),
        }))?;
    }
    Ok(())
}

fn say(answer: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}
