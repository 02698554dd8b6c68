//! Bodies of requests: how many bytes of them the vault holds at one time, and how fast they have to come.
//!
//! ```text
//! head ──enter──> Bodies::hold ──> handler ──> read_body ──> answer
//!                 │ what an address may hold   │ deadline, least rate, the endpoint's limit
//!                 └ what all may hold          └ dropped: what was held is free
//! ```
//!
//! Evidence takes megabytes, and whoever sends it is nobody before it was read. So a body is not read before there is
//! room for the whole of it: the connection waits, and the sender with it, by TCP's own means. Room is given first come,
//! first served, within what one address may hold; who has waited for long is asked to come back.
//!
//! What is read of an endpoint that takes little ([`SLIP`]) needs no room: it is less than what its connection takes
//! anyway. Renewals of leases are among them, and wait for nobody's evidence.

use crate::{
    admission::Peer,
    config::LimitsConfig,
    problem::{Answer, Refused},
    shares::{Part, Shares},
};
use axum::body::{Body, HttpBody};
use std::{sync::Arc, time::Duration};
use strongroom_protocol::{Code, Problem, limits};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// What an endpoint reads that takes a few values from anybody, bytes.
pub const SLIP: usize = limits::POSSESSION_BODY;
/// What an endpoint reads that takes a form from whoever administers, bytes.
pub const FORM: usize = 64 << 10;
/// What an endpoint reads that takes evidence, endorsements or whole policies, bytes.
pub const LOAD: usize = limits::BODY;

/// Bytes of one unit of room.
const UNIT: usize = 1 << 10;
/// How long nothing of a body may come.
const GRACE: Duration = Duration::from_secs(5);
/// How long a request waits for room before it is asked to come back. A client gives a request 30 seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a body is read, put into each request by the router.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Most bytes of it.
    pub limit: usize,
    /// How long it may take as a whole.
    pub within: Duration,
    /// How long nothing at all may come.
    pub grace: Duration,
    /// Bytes that have to come in each second after that.
    pub bytes_per_second: u32,
}

impl Terms {
    /// As the configuration has them, for an endpoint that reads at most `limit` bytes.
    pub fn new(limits: &LimitsConfig, limit: usize) -> Self {
        let within = Duration::from_secs(limits.body_timeout_s);
        Self { limit, within, grace: GRACE, bytes_per_second: limits.body_bytes_per_second }
    }

    /// How long after its beginning more of a body has to be there, of which so many bytes are.
    pub fn patience(&self, received: usize) -> Duration {
        let received = u32::try_from(received).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * received / self.bytes_per_second.max(1);
        self.within.min(self.grace.saturating_add(earned))
    }
}

/// Room for bodies.
pub struct Bodies {
    free: Arc<Semaphore>,
    units: usize,
    addresses: Shares,
    patience: Duration,
}

/// Room for one body, given back when it is dropped.
pub struct Room {
    bytes: u32,
    _of_all: OwnedSemaphorePermit,
    _of_address: Option<Part>,
}

impl Bodies {
    /// As much room as is configured.
    pub fn new(limits: &LimitsConfig) -> Self {
        let units = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT;
        let all = units(limits.body_bytes).min(Semaphore::MAX_PERMITS);
        let each = units(limits.body_bytes_per_address).min(all);
        Self { free: Arc::new(Semaphore::new(all)), units: all, addresses: Shares::new(each), patience: PATIENCE }
    }

    /// Bytes of room that are taken.
    pub fn held(&self) -> usize {
        (self.units - self.free.available_permits()) * UNIT
    }

    /// Waits for room for a body for which so many bytes are [`needed`]; 429 when nothing becomes free.
    pub async fn hold(&self, peer: Option<Peer>, bytes: usize) -> Answer<Option<Room>> {
        if bytes == 0 {
            return Ok(None);
        }
        // INVARIANT: at most `LOAD`, so it fits.
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let until = Instant::now() + self.patience;
        // In this order: whoever waits for its own address keeps no room from others meanwhile.
        let of_address = match peer {
            Some(peer) => {
                let taken = timeout_at(until, self.addresses.take(peer, units)).await;
                Some(taken.ok().flatten().ok_or_else(|| full("address", "this address holds all that it may"))?)
            }
            None => None,
        };
        let taken = timeout_at(until, Arc::clone(&self.free).acquire_many_owned(units)).await;
        let of_all = taken.ok().and_then(Result::ok).ok_or_else(|| full("all", "the vault holds all that it may"))?;
        let bytes = units.saturating_mul(1 << 10);
        metrics::gauge!("strongroom_body_bytes").increment(f64::from(bytes));
        Ok(Some(Room { bytes, _of_all: of_all, _of_address: of_address }))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        metrics::gauge!("strongroom_body_bytes").decrement(f64::from(self.bytes));
    }
}

fn full(whose: &'static str, what: &str) -> Refused {
    metrics::counter!("strongroom_bodies_refused_total", "full" => whose).increment(1);
    Problem::new(Code::TooMany).detail(format!("no room for this body: {what} of bodies")).retry_after(1).into()
}

/// Bytes that room is needed for, at an endpoint that reads at most `limit`: none for what takes little, or is not read.
/// What is announced to be larger is refused unread.
pub fn needed(body: &Body, limit: usize) -> usize {
    if limit <= SLIP || body.is_end_stream() {
        return 0;
    }
    match body.size_hint().exact().map(usize::try_from) {
        Some(Ok(announced)) if announced <= limit => announced,
        Some(_) => 0,
        None => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;

    const MIB: usize = 1 << 20;

    fn bodies(all: usize, each: usize) -> Bodies {
        let limits =
            LimitsConfig { body_bytes: all as u64, body_bytes_per_address: each as u64, ..LimitsConfig::default() };
        Bodies { patience: Duration::from_millis(10), ..Bodies::new(&limits) }
    }

    fn peer(last: u8) -> Peer {
        Peer::address([192, 0, 2, last].into())
    }

    fn of(bytes: usize) -> Body {
        Body::from(vec![b' '; bytes])
    }

    async fn code(bodies: &Bodies, peer: impl Into<Option<Peer>>, bytes: usize) -> Option<(Code, Option<u64>)> {
        bodies.hold(peer.into(), bytes).await.err().map(|refused| (refused.code(), refused.0.retry_after))
    }

    #[tokio::test]
    async fn all_together_hold_no_more_than_the_budget() {
        let bodies = bodies(8 * MIB, 8 * MIB);
        let first = bodies.hold(Some(peer(1)), 4 * MIB).await.unwrap();
        let second = bodies.hold(Some(peer(2)), 4 * MIB).await.unwrap();
        assert_eq!(bodies.held(), 8 << 20);
        assert_eq!(code(&bodies, peer(3), 1).await, Some((Code::TooMany, Some(1))));
        assert_eq!(code(&bodies, None, 1).await, Some((Code::TooMany, Some(1))), "nor one that comes from nowhere");
        drop(first);
        assert_eq!(code(&bodies, peer(3), 4 * MIB).await, None);
        drop(second);
        assert_eq!((bodies.held(), bodies.addresses.addresses()), (0, 0));
    }

    #[tokio::test]
    async fn one_address_holds_no_more_than_its_share() {
        let bodies = bodies(8 * MIB, 4 * MIB);
        let first = bodies.hold(Some(peer(1)), 4 * MIB).await.unwrap();
        assert_eq!(code(&bodies, peer(1), 1).await, Some((Code::TooMany, Some(1))));
        assert_eq!(code(&bodies, peer(2), 4 * MIB).await, None);
        drop(first);
        assert_eq!(code(&bodies, peer(1), 4 * MIB).await, None);
    }

    /// The load of a body that does not say how large it is, or is not read at all.
    #[test]
    fn room_is_for_what_is_read() {
        let unsaid = || Body::from_stream(tokio_stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{}"))]));
        assert_eq!(needed(&unsaid(), LOAD), LOAD);
        assert_eq!(needed(&unsaid(), SLIP), 0, "a slip waits for nobody");
        assert_eq!(needed(&of(9000), FORM), 9000);
        assert_eq!(needed(&of(5 * MIB), LOAD), 0, "it is refused unread");
        assert_eq!(needed(&Body::empty(), LOAD), 0);
        assert_eq!(needed(&of(100), SLIP), 0);
    }

    #[tokio::test]
    async fn what_takes_little_does_not_wait() {
        let bodies = bodies(4 * MIB, 4 * MIB);
        let _all = bodies.hold(None, LOAD).await.unwrap();
        assert_eq!(bodies.held(), LOAD);
        assert!(bodies.hold(None, 0).await.unwrap().is_none());
    }

    #[test]
    fn a_body_earns_its_time_by_coming() {
        let terms = Terms { bytes_per_second: 1000, ..Terms::new(&LimitsConfig::default(), LOAD) };
        assert_eq!(terms.patience(0), GRACE);
        assert_eq!(terms.patience(2500), GRACE + Duration::from_millis(2500));
        assert_eq!(terms.patience(LOAD), Duration::from_secs(30), "and never more than the whole");
        assert_eq!(Terms { bytes_per_second: 0, ..terms }.patience(LOAD), Duration::from_secs(30));
    }
}
