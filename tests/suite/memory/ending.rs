//! (e) What is left when a lease is over: read through the process while it lives, and through a
//! pipe that holds the very pages, mapped or not.

use super::{Sealed, may_look, release, row, strict};
use crate::world::{Shared, World, act, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{fs::File, sync::Arc};
use strongroom_protocol::{admin::Role, lease::RevokeLease};
use strongroom_tests::{
    Victim,
    victim::{Memory, drain},
};

static SHORT: Shared = Shared::new();
/// Seconds that a lease of the short world lives.
const LIFE: u64 = 15;

/// A world in which leases are short and locked anonymous key pages will do.
pub(super) fn short() -> Arc<World> {
    SHORT.get(|| {
        World::with::<1>(&[
            ("lease_seconds", json!(LIFE)),
            ("renew_after", json!(LIFE)),
            ("reattest_after", json!(LIFE)),
        ])
    })
}

/// A job that holds weights, with two ways to look at their pages.
struct Watched {
    job: Victim,
    released: Value,
    memory: Memory,
    arena: u64,
    pipe: File,
}

/// What the memory of the process shows where the arena was.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Weights,
    Zeros,
    Nothing,
    SomethingElse,
}

impl Watched {
    fn start(world: &World, sealed: &Sealed, options: &[&str]) -> Self {
        let (mut job, released) = sealed.holder(world, &[], options);
        let memory = Memory::of(job.pid()).unwrap();
        let arena = released["arena"].as_u64().unwrap();
        let pipe = job.done("splice").unwrap();
        let pipe = job.pipe(&pipe["arena"]).unwrap();
        let watched = Self { job, released, memory, arena, pipe };
        assert_eq!(watched.look(sealed), Seen::Weights);
        watched
    }

    fn look(&self, sealed: &Sealed) -> Seen {
        match self.memory.read(self.arena, sealed.weights.len()) {
            Ok(bytes) if bytes == sealed.weights => Seen::Weights,
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Seen::Zeros,
            // Reading a process that is gone gives nothing, and so does reading what is not mapped.
            Ok(_) => Seen::SomethingElse,
            Err(_) => Seen::Nothing,
        }
    }

    /// Waits until nothing of the weights is left. Zeroing takes its time, and who looks meanwhile sees a part.
    fn until_over(&self, sealed: &Sealed) {
        eventually("the end of the weights", || matches!(self.look(sealed), Seen::Zeros | Seen::Nothing).then_some(()));
    }

    /// The pages must be zero, and nothing else may be where they were.
    fn must_be_zero(self, sealed: &Sealed) -> &'static str {
        let seen = self.look(sealed);
        let pages = drain(self.pipe).unwrap();
        assert_eq!(pages.len(), sealed.weights.len());
        assert!(pages.iter().all(|byte| *byte == 0), "the pages were not zeroed");
        match seen {
            Seen::Zeros => "zeros",
            Seen::Nothing => "unmapped",
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_method_shows_what_is_left_where_nobody_zeroes() {
    if !may_look("ending") {
        return;
    }
    let world = strict();
    let sealed = Sealed::make(&world, "killed");
    let mut watched = Watched::start(&world, &sealed, &[]);
    watched.job.kill().unwrap();
    let pages = drain(watched.pipe).unwrap();
    assert!(pages == sealed.weights, "the pipe does not show the pages of a process that was killed");
}

#[test]
fn ending_a_lease_and_unwinding_zero_the_arena() {
    if !may_look("ending") {
        return;
    }
    let world = strict();
    let sealed = Sealed::make(&world, "ended");
    for (line, expected) in [("end", json!({ "refused": true })), ("panic", json!({ "panicked": true }))] {
        let mut watched = Watched::start(&world, &sealed, &[]);
        assert_eq!(watched.job.done(line).unwrap(), expected);
        let seen = watched.must_be_zero(&sealed);
        row(
            'e',
            &format!("{line}: arena read through /proc/PID/mem, its pages through a pipe (vmsplice)"),
            "weights before; weights after SIGKILL, where nobody zeroes",
            &format!("/proc/PID/mem: {seen}; pages: {} zeros", sealed.weights.len()),
        );
    }
}

/// Nobody in the job reads, renews or asks: the arena is zeroed all the same.
#[test]
fn expiry_zeroes_the_arena_of_a_job_that_does_nothing() {
    if !may_look("ending") {
        return;
    }
    let world = short();
    let sealed = Sealed::make(&world, "expires");
    let watched = Watched::start(&world, &sealed, &[]);
    watched.until_over(&sealed);
    let seen = watched.must_be_zero(&sealed);
    row(
        'e',
        "expiry, the job asleep: as above",
        "as above",
        &format!("/proc/PID/mem: {seen}; pages: {} zeros", sealed.weights.len()),
    );
}

#[test]
fn a_revocation_zeroes_the_arena() {
    if !may_look("ending") {
        return;
    }
    let world = strict();
    let sealed = Sealed::make(&world, "revoked-arena");
    let mut watched = Watched::start(&world, &sealed, &[]);
    {
        let _alone = world.node().turn.take();
        watched.job.done("keep").unwrap();
    }
    let path = format!("/v1/leases/{}/revoke", watched.released["lease"].as_str().unwrap());
    act(&world.vault.admin(Role::Custodian).unwrap(), &path, &RevokeLease { reason: "incident 17".into() });
    let start = std::time::Instant::now();
    watched.until_over(&sealed);
    let after = start.elapsed();
    let seen = watched.must_be_zero(&sealed);
    row(
        'e',
        "revocation, the job asleep beside its keeper: as above",
        "as above",
        &format!(
            "/proc/PID/mem: {seen} {} ms after the answer; pages: {} zeros",
            after.as_millis(),
            sealed.weights.len()
        ),
    );
}

#[test]
fn sigterm_zeroes_the_arena_and_tells_the_vault() {
    if !may_look("ending") {
        return;
    }
    let world = strict();
    let sealed = Sealed::make(&world, "terminated");
    let mut watched = Watched::start(&world, &sealed, &["--zero-on-termination"]);
    let lease = watched.released["lease"].clone();
    let pid = Pid::from_raw(watched.job.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(watched.job.ended().unwrap().code(), Some(143));
    let seen = watched.must_be_zero(&sealed);
    let ended = world.records(&["--action", "lease.ended", "--asset", "terminated"]);
    assert!(ended.iter().any(|record| record["lease"] == lease), "the vault was not told: {ended:?}");
    row(
        'e',
        "SIGTERM: pages read through the pipe after the end",
        "as above",
        &format!("exit 143, {seen}; pages: {} zeros; lease.ended in the ledger", sealed.weights.len()),
    );
}

/// The key, too, where root can see it at all: in the fallback's pages.
#[test]
fn the_key_is_zeroed_with_the_lease() {
    if !may_look("ending") {
        return;
    }
    let world = short();
    let sealed = Sealed::make(&world, "key-ends");
    let without = super::fallback::without_memfd_secret();
    let mut job = sealed.job(&world, &without.each_ref().map(std::ffi::OsString::as_os_str), &[]);
    job.done("connect").unwrap();
    let released = release(&world, &mut job);
    assert_eq!(released["handling"]["key_pages"], "locked_anonymous", "{released}");
    let memory = Memory::of(job.pid()).unwrap();
    let place = super::fallback::place_of_key(&memory, &sealed);
    assert_eq!(memory.read(place, 32).unwrap(), sealed.key);
    job.done("end").unwrap();
    assert_eq!(memory.read(place, 32).unwrap(), [0; 32]);
    let left = memory.contents(|_| true).unwrap();
    assert!(left.iter().all(|(_, bytes)| !sealed.key_is_in(bytes)), "a copy of the key was left");
}
