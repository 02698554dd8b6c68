//! The command line under test: `strongroom`, run as its users run it.

use crate::{
    member::Turn,
    programs::{bare, built},
};
use anyhow::{Context as _, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use strongroom_protocol::Problem;

/// Somebody's command line: a home, perhaps a token, perhaps a program that starts it.
#[derive(Debug, Clone)]
pub struct Cli {
    home: PathBuf,
    token: Option<PathBuf>,
    program: PathBuf,
    starter: Vec<OsString>,
    /// Stands before everything else that the program is given.
    first: Option<PathBuf>,
    turn: Option<Turn>,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Cli {
    /// The command line of somebody whose home is this directory.
    pub fn new(home: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&home)?;
        Ok(Self { home, token: None, program: built("strongroom")?, starter: Vec::new(), first: None, turn: None })
    }

    /// With a token file.
    #[must_use]
    pub fn with_token(mut self, token: PathBuf) -> Self {
        self.token = Some(token);
        self
    }

    /// Another copy of the program, started by another: `setpriv ...`, `prlimit ...`.
    #[must_use]
    pub fn started_by(mut self, program: PathBuf, starter: &[&str]) -> Self {
        self.program = program;
        self.starter = starter.iter().map(OsString::from).collect();
        self
    }

    /// The same program over the confidential machine at this socket.
    pub fn over_machine(mut self, socket: &Path) -> anyhow::Result<Self> {
        self.program = built("strongroom-for-tests")?;
        self.first = Some(socket.to_owned());
        Ok(self)
    }

    /// On a node whose TPM others use too.
    #[must_use]
    pub fn in_turn(mut self, turn: &Turn) -> Self {
        self.turn = Some(turn.clone());
        self
    }

    /// The home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// `strongroom join`.
    pub fn join(&self, file: &Path) -> anyhow::Result<()> {
        if !self.home.join("join.json").exists() {
            self.run([OsStr::new("join"), file.as_os_str()])?.done()?;
        }
        Ok(())
    }

    /// The command, not yet started.
    pub fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = match self.starter.split_first() {
            Some((starter, rest)) => {
                let mut command = bare(Path::new(starter));
                command.args(rest).arg(&self.program);
                command
            }
            None => bare(&self.program),
        };
        command.args(&self.first).arg("--home").arg(&self.home);
        if let Some(token) = &self.token {
            command.arg("--token-file").arg(token);
        }
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Ran> {
        let _alone = self.turn.as_ref().map(Turn::take);
        let output = self.command(arguments).output().context("starting strongroom")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Runs a command with `--json` that has to succeed, and reads what it printed.
    pub fn ask<T: DeserializeOwned, I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> anyhow::Result<T> {
        let ran = self.run(json(arguments))?.done()?;
        serde_json::from_str(&ran.stdout).with_context(|| format!("reading {}", ran.stdout))
    }

    /// Runs a command with `--json` that has to be refused by the vault, and reads the problem document.
    pub fn refused<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Problem> {
        self.run(json(arguments))?.problem()
    }
}

fn json<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Vec<OsString> {
    [OsString::from("--json")].into_iter().chain(arguments.into_iter().map(|a| a.as_ref().to_owned())).collect()
}

impl Ran {
    /// An error unless it succeeded.
    pub fn done(self) -> anyhow::Result<Self> {
        ensure!(self.code == Some(0), "strongroom ended with {:?}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }

    /// The problem document on standard error of a command that ran with `--json` and ended with 1, or with
    /// 2 where the vault calls its arguments malformed.
    pub fn problem(&self) -> anyhow::Result<Problem> {
        let refused = matches!(self.code, Some(1 | 2));
        ensure!(refused, "ended with {:?}, not refused: {}{}", self.code, self.stdout, self.stderr);
        ensure!(self.stdout.is_empty(), "a refusal printed {}", self.stdout);
        let document: Value = serde_json::from_str(&self.stderr).with_context(|| format!("reading {}", self.stderr))?;
        let problem = document.pointer("/error/problem").context("no problem document")?;
        let problem: Problem = serde_json::from_value(problem.clone())?;
        let expected = if problem.status == 400 { 2 } else { 1 };
        ensure!(self.code == Some(expected), "{} ended with {:?}", problem.status, self.code);
        Ok(problem)
    }
}
