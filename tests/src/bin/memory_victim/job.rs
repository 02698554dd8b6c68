//! The job: connects, asks for keys, opens, and does to itself what it is told.

use crate::{
    own_pages::{readable, secret_pages, splice},
    say,
};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use strongroom::{
    Error, Keeper, Lease, OpenObject, Options, Request, Room,
    collect::Collector,
    memory::{Protection, Weakening},
    sealed::{Expected, Opening},
};
use strongroom_protocol::{join::JoinFile, statement::ObjectRef};

/// Bytes of the canary in ordinary memory.
const PAGE: usize = 4096;

#[derive(clap::Args)]
pub(crate) struct Hold {
    /// The join file, if it is to connect.
    #[arg(long)]
    join: Option<PathBuf>,
    /// The node's configuration, if it is to ask for keys.
    #[arg(long)]
    node: Option<PathBuf>,
    /// What it opens.
    #[arg(long)]
    file: Option<PathBuf>,
    #[arg(long, default_value = "")]
    asset: String,
    /// Text in ordinary memory.
    #[arg(long)]
    canary: String,
    /// Accepts memory that is not locked.
    #[arg(long)]
    accept_unlocked_memory: bool,
    /// Ends by signals as the command line does.
    #[arg(long)]
    zero_on_termination: bool,
}

/// The job.
pub(crate) struct Job {
    hold: Hold,
    /// A page of ordinary memory, full of the canary.
    ordinary: Vec<u8>,
    room: Option<Arc<Room>>,
    held: Option<(Lease, OpenObject)>,
    keeper: Option<Keeper>,
}

impl Job {
    pub(crate) fn start(hold: Hold) -> anyhow::Result<Self> {
        if hold.zero_on_termination {
            strongroom::zero_on_termination()?;
        }
        let ordinary: Vec<u8> = hold.canary.bytes().cycle().take(PAGE).collect();
        ensure!(!ordinary.is_empty(), "a canary is wanted");
        Ok(Self { hold, ordinary, room: None, held: None, keeper: None })
    }

    pub(crate) fn obey(mut self) -> anyhow::Result<()> {
        say(&json!({ "pid": std::process::id(), "ordinary": self.ordinary.as_ptr() as u64 }))?;
        for line in io::stdin().lines() {
            let line = line?;
            if line == "quit" {
                break;
            }
            let answer = self.act(&line).unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
            say(&answer)?;
        }
        Ok(())
    }

    fn act(&mut self, line: &str) -> anyhow::Result<Value> {
        Ok(match line {
            "connect" => self.connect()?,
            "release" => self.release()?,
            "open-unlocked" => self.open_unlocked()?,
            "keep" => {
                let room = Arc::clone(self.room.as_ref().context("not connected")?);
                let attester = Arc::new(self.collector()?);
                let (lease, _) = self.held.as_ref().context("nothing is held")?;
                self.keeper = Some(lease.keep(room, attester));
                json!({})
            }
            "fork" => self.fork()?,
            "splice" => {
                let (_, opened) = self.held.as_ref().context("nothing is held")?;
                let arena = splice(&opened.plaintext()?)?;
                json!({ "arena": arena, "ordinary": splice(&self.ordinary)? })
            }
            "raise-core" => raise_core_limit()?,
            "dumpable" => {
                // SAFETY: prctl takes integers.
                ensure!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) } == 0, "prctl: {}", io::Error::last_os_error());
                json!({})
            }
            "abort" => std::process::abort(),
            "panic" => {
                let held = self.held.take().context("nothing is held")?;
                let unwound = thread::spawn(move || {
                    let (lease, _opened) = held;
                    assert!(lease.check().is_err(), "as it is meant");
                });
                json!({ "panicked": unwound.join().is_err() })
            }
            "end" => {
                let (lease, opened) = self.held.take().context("nothing is held")?;
                lease.end()?;
                let refused = opened.plaintext().is_err();
                json!({ "refused": refused })
            }
            other => bail!("what is {other}?"),
        })
    }

    fn protection(&self) -> Protection {
        let protection = Protection::default();
        if self.hold.accept_unlocked_memory { protection.accepting(Weakening::UnlockedMemory) } else { protection }
    }

    /// From here on the process is hardened.
    fn connect(&mut self) -> anyhow::Result<Value> {
        let join: JoinFile = serde_json::from_slice(&fs::read(self.hold.join.as_ref().context("--join")?)?)?;
        let options = Options { protection: self.protection(), ..Options::default() };
        self.room = Some(Arc::new(Room::connect(&join, options)?));
        Ok(json!({}))
    }

    fn collector(&self) -> anyhow::Result<Collector> {
        let config = serde_json::from_slice(&fs::read(self.hold.node.as_ref().context("--node")?)?)?;
        Ok(Collector::open(&config)?)
    }

    fn expected(&self) -> Expected {
        Expected { asset: self.hold.asset.clone(), version: None, object: None }
    }

    fn file(&self) -> anyhow::Result<&Path> {
        self.hold.file.as_deref().context("--file")
    }

    /// Asks for the key of the file, opens it, and says where everything lies.
    fn release(&mut self) -> anyhow::Result<Value> {
        let opening = Opening::start(File::open(self.file()?)?, &self.expected())?;
        let header = opening.header();
        let object = ObjectRef { writer: header.writer, object: header.object };
        let request = Request::new().objects(&self.hold.asset, header.version, vec![object]);
        let room = self.room.as_ref().context("not connected")?;
        let lease = room.release(&self.collector()?, request)?;
        let opened = lease.open_file(self.file()?, &self.expected(), false, 0, &self.protection(), &())?;
        let arena = opened.plaintext()?.as_ptr() as u64;
        let answer = json!({
            "lease": lease.id(), "decision": lease.decision(), "handling": lease.handling(),
            "arena": arena, "length": opened.len(), "secret_pages": secret_pages()?,
        });
        self.held = Some((lease, opened));
        Ok(answer)
    }

    /// Opens the file with less protection than the vault was told; only where locking fails is it less.
    fn open_unlocked(&mut self) -> anyhow::Result<Value> {
        let (lease, _) = self.held.as_ref().context("nothing is held")?;
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `none` is live, and only read.
        ensure!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none) } == 0, "setrlimit");
        let weak = Protection::default().accepting(Weakening::UnlockedMemory);
        match lease.open_file(self.file()?, &self.expected(), false, 0, &weak, &()) {
            Ok(_) => Ok(json!({ "opened": true })),
            Err(error @ Error::Obligation(_)) => Ok(json!({ "refused": error.to_string() })),
            Err(other) => Err(other.into()),
        }
    }

    /// What this process, and then a forked child, can read of itself.
    fn fork(&self) -> anyhow::Result<Value> {
        let (_, opened) = self.held.as_ref().context("nothing is held")?;
        let plaintext = opened.plaintext()?;
        let mut places = vec![("ordinary", self.ordinary.as_ptr() as u64), ("arena", plaintext.as_ptr() as u64)];
        if let Some((start, _)) = secret_pages()?.first() {
            places.push(("key pages", *start));
        }
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        ensure!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0, "pipe");
        let [from, to] = ends;
        let own: Vec<bool> = places.iter().map(|(_, address)| readable(*address, to)).collect();
        let mut results = [0_u8; 8];
        // SAFETY: the child makes system calls only, and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut seen = 0;
            for (bit, (_, address)) in places.iter().enumerate() {
                seen |= i32::from(readable(*address, to)) << bit;
            }
            // SAFETY: ends the child.
            unsafe { libc::_exit(seen) };
        }
        ensure!(child > 0, "fork: {}", io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: `status` is live, and the child is ours.
        ensure!(unsafe { libc::waitpid(child, &raw mut status, 0) } == child, "waitpid");
        ensure!(libc::WIFEXITED(status), "the child ended with {status:x}");
        // SAFETY: both descriptors are ours; what was written into the pipe goes with it.
        unsafe {
            libc::read(from, results.as_mut_ptr().cast(), results.len());
            libc::close(from);
            libc::close(to);
        }
        let child = libc::WEXITSTATUS(status);
        let rows = places.iter().zip(own).enumerate().map(|(bit, ((name, _), own))| {
            ((*name).to_owned(), json!({ "parent": own, "child": child >> bit & 1 == 1 }))
        });
        Ok(Value::Object(rows.collect()))
    }
}

fn raise_core_limit() -> anyhow::Result<Value> {
    let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `all` is live, and only read.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const all) };
    ensure!(set == 0, "setrlimit: {}", io::Error::last_os_error());
    Ok(json!({}))
}
