//! Keeps a lease alive: possession when due, evidence when due, revocation at once.

use crate::{
    Error, Lease, Room,
    boottime::Moment,
    lease::{Inner, LeaseOver, Schedule},
    release::{open_checked, renewed},
    spread::{BackOff, Place, draw},
    transport::parse,
};
use std::{
    io::{BufRead, BufReader},
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use strongroom_collect::Attester;
use strongroom_envelope::RecipientKey;
use strongroom_protocol::{
    lease::{ACT_LISTEN, EventKind, LeaseEvent, SignedEvent},
    statement::Act,
};
use ureq::http::Method;

/// Part of the time to the next renewal, or to fresh evidence, by which it may come early: a quarter.
const EARLY: u32 = 4;
/// Longest line of an event stream, bytes.
const EVENT: usize = 16 << 10;

/// Background threads that keep a lease. Dropping it lets the lease run out by itself.
pub struct Keeper {
    stop: Arc<Stop>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
    /// Whether the vault has said that it tells us.
    listening: AtomicBool,
}

impl Stop {
    /// Waits for `duration`, or less if it is stopped; true if it is.
    fn wait(&self, duration: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = self
            .changed
            .wait_timeout_while(stopped, duration, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        *stopped
    }

    fn is_set(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Starts to keep this lease: proves possession and attests again when that is due, and zeroes
    /// everything at once when the vault says that it was revoked. While the vault cannot be
    /// reached it tries again until the lease expires.
    ///
    /// Both come up to a quarter early, each lease at a place of its own, so that jobs that began together
    /// do not renew together; what failed is tried again after pauses that double, with jitter.
    pub fn keep(&self, room: Arc<Room>, attester: Arc<dyn Attester>) -> Keeper {
        let stop = Arc::new(Stop::default());
        let lease = Arc::downgrade(&self.inner);
        listen(lease.clone(), Arc::clone(&stop));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || keep(&lease, &room, attester.as_ref(), &stopped));
        Keeper { stop, thread: Some(thread) }
    }

    /// Prolongs the lease on fresh evidence now.
    pub fn reattest(&self, room: &Room, attester: &dyn Attester) -> Result<(), Error> {
        reattest(&self.inner, room, attester)
    }
}

impl Keeper {
    /// Whether the vault's event stream is open now, so that a revocation is heard at once. Without it
    /// a revocation takes effect at the next renewal.
    pub fn is_listening(&self) -> bool {
        self.stop.listening.load(Ordering::Acquire)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A keeper that panicked has nothing left to say.
            drop(thread.join());
        }
    }
}

/// How early to come: drawn anew after each success.
struct Early {
    renew: Duration,
    reattest: Duration,
}

impl Early {
    fn draw(lease: &Inner) -> Self {
        let (place, schedule) = (Place::of(lease.id, draw()), *lease.schedule());
        let within = |due: Moment| place.within(due.since(schedule.start) / EARLY);
        Self { renew: within(schedule.renew), reattest: within(schedule.reattest) }
    }

    /// Renewed by possession: fresh evidence is due when it was.
    fn draw_renewal(&mut self, lease: &Inner) {
        self.renew = Self::draw(lease).renew;
    }
}

fn keep(lease: &Weak<Inner>, room: &Room, attester: &dyn Attester, stop: &Stop) {
    let mut back_off = BackOff::default();
    let Some(mut early) = lease.upgrade().map(|lease| Early::draw(&lease)) else { return };
    loop {
        let Some(wait) = lease.upgrade().map(|lease| {
            let schedule = *lease.schedule();
            let renew = schedule.renew.remaining().saturating_sub(early.renew);
            let reattest = schedule.reattest.remaining().saturating_sub(early.reattest);
            renew.min(reattest).min(schedule.ends.remaining())
        }) else {
            return;
        };
        if stop.wait(wait) {
            return;
        }
        let Some(lease) = lease.upgrade() else { return };
        if lease.check().is_err() {
            return;
        }
        let attest = lease.schedule().reattest.remaining() <= early.reattest;
        let result = if attest { reattest(&lease, room, attester) } else { lease.renew_by_possession(None) };
        match result {
            Ok(()) => {
                back_off.reset();
                if attest {
                    early = Early::draw(&lease);
                } else {
                    early.draw_renewal(&lease);
                }
            }
            Err(_) if lease.check().is_err() => return,
            // It was due by the time that the vault looked: the next round brings evidence, and there is no third way.
            Err(error) if !attest && error.wants_evidence() => {}
            Err(error) => {
                tracing::warn!(%error, "the lease could not be renewed; trying again until it expires");
                let pause = back_off.pause(lease.schedule().ends.remaining(), draw());
                drop(lease);
                if stop.wait(pause) {
                    return;
                }
            }
        }
    }
}

fn reattest(lease: &Inner, room: &Room, attester: &dyn Attester) -> Result<(), Error> {
    let known = lease.ima_offset.load(Ordering::Acquire);
    match reattest_from(lease, room, attester, known) {
        // The vault has lost what it had of the log: then it needs all of it.
        Err(error) if known > 0 && error.wants_whole_log() => reattest_from(lease, room, attester, 0),
        done => done,
    }
    .inspect_err(|error| lease.heed(error))
}

fn reattest_from(lease: &Inner, room: &Room, attester: &dyn Attester, ima_offset: u64) -> Result<(), Error> {
    lease.check()?;
    let recipient = RecipientKey::from_seed(lease.recipient()?)?;
    let start = Moment::now();
    let asked = room.ask(attester, Act::Renew, Some(lease.id), lease.requested().to_vec(), &recipient, start)?;
    let response = room.send(&asked, attester, ima_offset)?;
    let payload = open_checked(room.vault(), &asked, &response, &recipient)?;
    let terms = renewed(&payload, lease.id)?;
    lease.ima_offset.store(payload.ima_offset.unwrap_or(0), Ordering::Release);
    *lease.schedule() = Schedule::new(start, terms.expires_in, terms.renew_after, terms.reattest_after);
    Ok(())
}

/// Listens for revocation until the lease is over. The thread holds the lease only while it works
/// on it, so it does not keep it alive; a stream that is quiet ends with the vault's keep-alives.
fn listen(lease: Weak<Inner>, stop: Arc<Stop>) {
    thread::spawn(move || {
        let mut back_off = BackOff::default();
        while let Some(held) = lease.upgrade() {
            if stop.is_set() || held.check().is_err() {
                return;
            }
            // Revoked before anybody listened: then there is nothing to listen to.
            let opened = open_stream(&held).inspect_err(|e| held.heed(e));
            drop(held);
            let followed = opened.and_then(|stream| {
                back_off.reset();
                follow(stream, &lease, &stop)
            });
            stop.listening.store(false, Ordering::Release);
            if let Err(error) = followed {
                tracing::debug!(%error, "the event stream broke; opening another");
            }
            let Some(left) = lease.upgrade().map(|lease| lease.schedule().ends.remaining()) else { return };
            if stop.wait(back_off.pause(left, draw())) {
                return;
            }
        }
    });
}

struct Stream {
    lines: Box<dyn BufRead>,
    client_random: [u8; 16],
}

fn open_stream(lease: &Inner) -> Result<Stream, Error> {
    let secret = lease.secret()?;
    let proof = lease.prover(&secret).prove(ACT_LISTEN, &[])?;
    let path = format!("/v1/leases/{}/events", lease.id);
    let response = lease.transport.open(&Method::GET, &path, &[], &[proof.header()])?;
    let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
    Ok(Stream { lines: Box::new(BufReader::new(reader)), client_random: *proof.client_random() })
}

fn follow(mut stream: Stream, lease: &Weak<Inner>, stop: &Stop) -> Result<(), Error> {
    let mut expected = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = std::io::Read::take(&mut stream.lines, EVENT as u64);
        let read = bounded.read_until(b'\n', &mut line).map_err(|e| Error::Malformed(e.to_string()))?;
        let Some(lease) = lease.upgrade() else { return Ok(()) };
        if read == 0 || stop.is_set() || lease.check().is_err() {
            return Ok(());
        }
        let Some(data) = line.strip_prefix(b"data:") else { continue };
        let signed: SignedEvent = parse(data.trim_ascii())?;
        let event: LeaseEvent = parse(&signed.event.0)?;
        if event.counter != expected || event.lease != lease.id {
            return Err(Error::NotBelieved("an event of this stream is missing or was replayed".to_owned()));
        }
        expected += 1;
        lease.vault.check_lease_answer(
            ACT_LISTEN,
            lease.id,
            &event.counter.to_be_bytes(),
            &stream.client_random,
            &signed.event.0,
            signed.signature.as_array(),
        )?;
        match event.event {
            EventKind::Listening => stop.listening.store(true, Ordering::Release),
            EventKind::Revoked => lease.finish(LeaseOver::Revoked(event.reason)),
            EventKind::Ended => lease.finish(LeaseOver::Expired),
        }
    }
}

#[cfg(test)]
mod tests;
