//! Commands that lose their lease, their vault, or their patience while they work.

use super::world;
use crate::world::{Shared, World, act, content, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use strongroom_protocol::{
    LeaseId,
    admin::Role,
    lease::{LeaseState, LeaseView, RevokeLease},
    sha256,
};
use strongroom_tests::{Cli, Intruder, Ran};

static SHORT: Shared = Shared::new();
/// Seconds that a lease of the short world lives.
const LIFE: u64 = 6;

/// A world in which leases are short, and plaintext may go to disks.
fn short_world() -> Arc<World> {
    SHORT.get(|| {
        let disk = ("plaintext_to_disk", json!(true));
        let times = [("lease_seconds", json!(LIFE)), ("renew_after", json!(1)), ("reattest_after", json!(2))];
        World::with::<1>(&[&[disk], times.as_slice()].concat())
    })
}

/// A command that gets a small part of the time that it could have, until it is let go.
struct Slow {
    child: Child,
    pid: Pid,
    free: Arc<AtomicBool>,
    brake: Option<thread::JoinHandle<()>>,
}

impl Slow {
    fn start<I: AsRef<OsStr>>(cli: &Cli, arguments: impl IntoIterator<Item = I>) -> Self {
        let child = cli.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (pid, free) = (Pid::from_child(&child), Arc::new(AtomicBool::new(false)));
        Self { child, pid, free, brake: None }
    }

    /// From now on it is slow.
    fn brake(&mut self) {
        let (pid, free) = (self.pid, Arc::clone(&self.free));
        self.brake = Some(thread::spawn(move || {
            while !free.load(Ordering::SeqCst) {
                // It may have ended: then there is nothing to slow down.
                let _ = kill_process(pid, Signal::STOP);
                thread::sleep(Duration::from_millis(97));
                let _ = kill_process(pid, Signal::CONT);
                thread::sleep(Duration::from_millis(3));
            }
        }));
    }

    /// Waits until it has said something with this in it, on standard error.
    fn says(&mut self, what: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !String::from_utf8_lossy(&said).contains(what) {
            stderr.read_exact(&mut byte).unwrap_or_else(|_| panic!("it said {}", String::from_utf8_lossy(&said)));
            said.push(byte[0]);
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    fn let_go(&mut self) {
        self.free.store(true, Ordering::SeqCst);
        if let Some(brake) = self.brake.take() {
            brake.join().unwrap();
        }
    }

    fn ran(mut self) -> Ran {
        self.let_go();
        let Output { status, stdout, stderr } = self.child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
    }
}

/// The live lease on a key of this asset.
fn live(world: &World, asset: &str) -> LeaseId {
    let custodian = world.vault.admin(Role::Custodian).unwrap();
    eventually("a live lease", || {
        let leases: Vec<LeaseView> = custodian.get("/v1/leases").unwrap();
        let of_it = |l: &LeaseView| l.delivered && l.keys.iter().any(|key| key.starts_with(&format!("{asset}@")));
        leases.into_iter().find(of_it).map(|lease| lease.id)
    })
}

fn state(world: &World, lease: LeaseId) -> LeaseState {
    let leases: Vec<LeaseView> = world.vault.admin(Role::Custodian).unwrap().get("/v1/leases?all=true").unwrap();
    leases.into_iter().find(|l| l.id == lease).unwrap().state
}

fn revoke(world: &World, lease: LeaseId) {
    let custodian = world.vault.admin(Role::Custodian).unwrap();
    act(&custodian, &format!("/v1/leases/{lease}/revoke"), &RevokeLease { reason: "incident 17".into() });
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An object of so many MiB, sealed by the command line, which keeps its lease however slow it is; and its
/// plaintext's digest.
fn sealed(world: &World, asset: &str, mib: usize, target: &Path) -> String {
    let (plaintext, plain) = (content(5, mib << 20), target.with_extension("plain"));
    fs::write(&plain, &plaintext).unwrap();
    world.node().cli.run(["seal", text(&plain), "--asset", asset, "-o", text(target)]).unwrap().done().unwrap();
    fs::remove_file(plain).unwrap();
    hex::encode(sha256(&plaintext))
}

#[test]
fn sealing_ends_at_a_revocation_and_leaves_nothing() {
    let world = world();
    world.asset("revoked-seal", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, content(1, 256 << 20)).unwrap();
    let _alone = world.node().turn.take();
    let seal = ["seal", text(&plain), "--asset", "revoked-seal", "--threads", "1", "--chunk-size", "65536"];
    let mut slow = Slow::start(&world.node().cli, seal);
    let lease = live(&world, "revoked-seal");
    slow.brake();
    revoke(&world, lease);
    let ran = slow.ran();
    println!("a lease revoked during seal: exit {:?}: {}", ran.code, ran.stderr.trim());
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("the lease was revoked"), "{}", ran.stderr);
    assert_eq!(names(dir.path()), ["plain"]);
}

#[test]
fn opening_ends_at_a_revocation_and_leaves_no_plaintext() {
    let world = short_world();
    world.asset("revoked-open", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("x.sealed"), dir.path().join("out"));
    sealed(&world, "revoked-open", 256, &file);
    let _alone = world.node().turn.take();
    let open = ["open", text(&file), "--asset", "revoked-open", "--threads", "1", "--plaintext-to", text(&out)];
    let mut slow = Slow::start(&world.node().cli, open);
    let lease = live(&world, "revoked-open");
    slow.brake();
    revoke(&world, lease);
    let ran = slow.ran();
    println!("a lease revoked during open: exit {:?}: {}", ran.code, ran.stderr.trim());
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("the lease was revoked"), "{}", ran.stderr);
    assert_eq!(names(dir.path()), ["x.sealed"], "plaintext under a revoked lease");
}

#[test]
fn a_command_may_take_longer_than_a_lease_lives() {
    let world = short_world();
    world.asset("long-work", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.sealed");
    let digest = sealed(&world, "long-work", 384, &file);
    let _alone = world.node().turn.take();
    let open = ["--json", "open", text(&file), "--asset", "long-work", "--threads", "1", "--digest"];
    let mut slow = Slow::start(&world.node().cli, open);
    live(&world, "long-work");
    let start = Instant::now();
    slow.brake();
    eventually("two lives of the lease", || (start.elapsed() > Duration::from_secs(2 * LIFE)).then_some(()));
    assert!(slow.child.try_wait().unwrap().is_none(), "it was done before its lease would have ended");
    let ran = slow.ran().done().unwrap();
    let opened: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&opened["sha256"], &opened["lease_ended"]), (&json!(digest), &json!(true)));
    let renewed = world.records(&["--action", "lease.renewed", "--asset", "long-work"]);
    assert!(renewed.len() >= 2, "{renewed:?}");
}

#[test]
fn a_signal_ends_the_lease_and_leaves_nothing() {
    let world = world();
    world.asset("stopped", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, content(1, 256 << 20)).unwrap();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let _alone = world.node().turn.take();
        let seal = ["--json", "seal", text(&plain), "--asset", "stopped", "--threads", "1", "--chunk-size", "65536"];
        let mut slow = Slow::start(&world.node().cli, seal);
        let lease = live(&world, "stopped");
        slow.brake();
        slow.says("\"progress\"");
        slow.send(signal);
        let ran = slow.ran();
        assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(names(dir.path()), ["plain"]);
        assert_eq!(state(&world, lease), LeaseState::Ended, "{}", ran.stderr);
    }
}

/// The vault answers everything but the end of a lease.
#[test]
fn work_that_is_done_is_done_though_the_vault_is_away_at_the_end() {
    let world = world();
    world.asset("unended", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (plain, home) = (dir.path().join("plain"), dir.path().join("home"));
    fs::write(&plain, content(6, 1 << 20)).unwrap();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let cli = Cli::new(home.clone()).unwrap();
    for name in ["node.json", "enrolment"] {
        fs::copy(world.node().cli.home().join(name), home.join(name)).unwrap();
    }
    let join = dir.path().join("join.json");
    fs::write(&join, serde_json::to_vec(&intruder.join_file()).unwrap()).unwrap();
    cli.join(&join).unwrap();
    intruder.tamper(|seen, upstream| {
        // A stream of events does not end, and would be waited for.
        anyhow::ensure!(seen.method != "DELETE" && !seen.path.ends_with("/events"), "the vault is away");
        upstream.forward(seen)
    });

    let _alone = world.node().turn.take();
    let seal = ["--json", "--patience", "2s", "seal", text(&plain), "--asset", "unended"];
    let ran = cli.run(seal).unwrap();
    println!("the vault is away when a lease ends: exit {:?}: {}", ran.code, ran.stderr.trim());
    let sealed: Value = serde_json::from_str(&ran.done().unwrap().stdout).unwrap();
    assert_eq!(sealed["lease_ended"], json!(false));
    let target = sealed["file"].as_str().unwrap().to_owned();
    let ran = cli.run(["--patience", "2s", "open", &target, "--asset", "unended", "--digest"]).unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains(&hex::encode(sha256(&content(6, 1 << 20)))), "{}", ran.stdout);
    assert!(ran.stderr.contains("strongroom: warning: the work is done"), "{}", ran.stderr);
}
