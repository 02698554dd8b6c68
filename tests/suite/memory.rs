//! Proof of protection: a real job with real keys and weights, and somebody who really tries to read
//! them. Every method is also turned on ordinary memory, where it has to succeed: that is its control.
//!
//! Each test prints its line of the table on standard error, past the test runner's capture:
//! `protection (a) | how it was tried | what the same way finds elsewhere | what was seen`.

mod core_dump;
mod doctor;
mod ending;
mod fallback;
mod forked_child;
mod obligations;
mod root;
mod same_user;

use crate::{
    sealing::{object, seal_once},
    secrets::version_key,
    world::{Shared, World, content},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use strongroom::memory::{KeyPages, KeyPagesKind, Protection};
use strongroom_envelope::{Secret, VersionKey};
use strongroom_tests::{Victim, programs, victim::find};
use tempfile::TempDir;

/// What lies in ordinary memory of every job here.
const CANARY: &str = "a canary in ordinary memory, to be found by whoever can read at all";
/// Bytes of weights: as many as a pipe can hold pages of.
const WEIGHTS: usize = 1 << 20;

static STRICT: Shared = Shared::new();

/// A world whose policy demands every protection that this kernel has.
fn strict() -> Arc<World> {
    let mut all = vec!["no_swap", "no_core_dump", "no_inheritance", "no_trace", "zero_on_end"];
    if has_memfd_secret() {
        all.push("secret_key_pages");
    }
    STRICT.get(|| World::with::<1>(&[("handling", json!(all))]))
}

/// Whether this kernel has `memfd_secret(2)` for us.
fn has_memfd_secret() -> bool {
    KeyPages::new(&Protection::default()).unwrap().kind() == KeyPagesKind::MemfdSecret
}

/// What the capabilities are called, by their bits (capability.h).
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;

/// Whether this process has a capability: root in a container may lack some.
fn may(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << capability) != 0
}

/// Whether other processes can be looked into, hardened ones too; says so if not.
fn may_look(test: &str) -> bool {
    let may_look = may(CAP_SYS_PTRACE);
    if !may_look {
        programs::skip(test, "only root with CAP_SYS_PTRACE can look into a hardened process");
    }
    may_look
}

/// A line of the table.
fn row(letter: char, method: &str, control: &str, seen: &str) {
    // Not by `eprintln!`, which the test runner keeps to itself.
    let line = format!("protection ({letter}) | {method} | {control} | {seen}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A sealed file of an asset of its own, and what only its holder may know.
struct Sealed {
    directory: TempDir,
    asset: String,
    file: PathBuf,
    weights: Vec<u8>,
    key: Vec<u8>,
}

impl Sealed {
    fn make(world: &World, asset: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        world.asset(asset, |_| ());
        let (file, weights) = (directory.path().join("weights.sealed"), content(71, WEIGHTS));
        let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
        seal_once(&room, &devices, asset, 1, &weights, &file);
        let (version, of) = object(asset, &file);
        let version_key = VersionKey::new(Secret::copy_from(&version_key(world, asset, version)).unwrap());
        let key = version_key.writer_key(asset, version, of.writer).object_key(of.object).expose().to_vec();
        Self { directory, asset: asset.to_owned(), file, weights, key }
    }

    /// A job on the world's node that may open this file.
    fn job(&self, world: &World, starter: &[&OsStr], options: &[&str]) -> Victim {
        let (join, node) = (world.vault.join_path(), world.node().cli.home().join("node.json"));
        let mut arguments: Vec<&OsStr> = ["hold", "--canary", CANARY, "--asset", &self.asset].map(OsStr::new).to_vec();
        for (option, path) in [("--join", &join), ("--node", &node), ("--file", &self.file)] {
            arguments.extend([OsStr::new(option), path.as_os_str()]);
        }
        arguments.extend(options.iter().map(OsStr::new));
        Victim::start(&Victim::program().unwrap(), starter, self.directory.path(), arguments).unwrap()
    }

    /// A job that holds the key, and the weights in its arena.
    fn holder(&self, world: &World, starter: &[&OsStr], options: &[&str]) -> (Victim, Value) {
        let mut job = self.job(world, starter, options);
        job.done("connect").unwrap();
        let released = release(world, &mut job);
        assert!(released.get("error").is_none(), "{released}");
        (job, released)
    }

    /// Whether some of the weights are in there.
    fn weights_are_in(&self, bytes: &[u8]) -> bool {
        self.weights.chunks(WEIGHTS / 16).any(|part| find(bytes, &part[..32]).is_some())
    }

    /// Whether the key is in there, as it is or as it travelled.
    fn key_is_in(&self, bytes: &[u8]) -> bool {
        let text = URL_SAFE_NO_PAD.encode(&self.key);
        find(bytes, &self.key).is_some() || find(bytes, text.as_bytes()).is_some()
    }
}

/// Has a job ask for its key; what it answers, an error perhaps.
fn release(world: &World, job: &mut Victim) -> Value {
    let _alone = world.node().turn.take();
    job.ask("release").unwrap()
}

/// Somebody else, who reads 32 bytes of a process in every way that there is.
fn read_by(starter: &[&OsStr], program: &Path, directory: &Path, pid: u32, address: &Value) -> Value {
    let arguments = ["read", &pid.to_string(), &address.to_string(), "32"].map(str::to_owned);
    Victim::start(program, starter, directory, arguments).unwrap().hello.clone()
}

/// The ways in which a reader got something.
fn ways(read: &Value) -> Vec<&str> {
    let all = read.as_object().unwrap().iter();
    all.filter(|(_, got)| got.get("read").is_some()).map(|(way, _)| way.as_str()).collect()
}
const EVERY_WAY: [&str; 3] = ["mem", "process_vm_readv", "ptrace"];
