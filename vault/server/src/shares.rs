//! What each address may have of something that all of them share: connections, bytes of bodies.
//!
//! An address is counted as [`Peer`] has it, so that one host is one address. Of an address that has nothing and waits
//! for nothing, nothing is kept.

use crate::admission::Peer;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The same share for each address.
#[derive(Clone)]
pub struct Shares {
    each: usize,
    of: Arc<Mutex<HashMap<Peer, Share>>>,
}

struct Share {
    free: Arc<Semaphore>,
    /// Who has a part of it, or waits for one.
    seats: usize,
}

/// A part of an address's share, given back when it is dropped.
pub struct Part {
    // Dropped in this order: whoever waits for the permits finds the share still there.
    _permits: OwnedSemaphorePermit,
    _seat: Seat,
}

struct Seat {
    shares: Shares,
    peer: Peer,
}

impl Shares {
    /// `each`: units that one address may have at one time.
    pub fn new(each: usize) -> Self {
        Self { each, of: Arc::default() }
    }

    /// So many units of the peer's share, if they are free now.
    pub fn try_take(&self, peer: Peer, units: u32) -> Option<Part> {
        let (free, seat) = self.sit(peer);
        let permits = free.try_acquire_many_owned(units).ok()?;
        Some(Part { _permits: permits, _seat: seat })
    }

    /// So many units of the peer's share; whoever came before gets theirs before. `None` is for units that no share
    /// has.
    pub async fn take(&self, peer: Peer, units: u32) -> Option<Part> {
        if usize::try_from(units).is_ok_and(|units| units > self.each) {
            return None;
        }
        let (free, seat) = self.sit(peer);
        // INVARIANT: it is never closed.
        let permits = free.acquire_many_owned(units).await.ok()?;
        Some(Part { _permits: permits, _seat: seat })
    }

    /// How many addresses have something, or wait for it.
    pub fn addresses(&self) -> usize {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn sit(&self, peer: Peer) -> (Arc<Semaphore>, Seat) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Share { free: Arc::new(Semaphore::new(self.each)), seats: 0 };
        let share = of.entry(peer).or_insert_with(new);
        share.seats += 1;
        (Arc::clone(&share.free), Seat { shares: self.clone(), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut of = self.shares.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut share) = of.entry(self.peer) {
            share.get_mut().seats -= 1;
            if share.get().seats == 0 {
                share.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::address([192, 0, 2, last].into())
    }

    #[tokio::test]
    async fn each_address_has_its_share_and_none_of_anothers() {
        let shares = Shares::new(3);
        let two = shares.try_take(peer(1), 2).unwrap();
        assert!(shares.try_take(peer(1), 2).is_none());
        let third = shares.try_take(peer(1), 1).unwrap();
        assert!(shares.try_take(peer(2), 3).is_some());
        let waiting = tokio::spawn({
            let shares = shares.clone();
            async move { shares.take(peer(1), 2).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(third);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one is not two");
        drop(two);
        assert!(waiting.await.unwrap());
        assert!(shares.take(peer(1), 4).await.is_none(), "nobody waits for what never comes");
        assert_eq!(shares.addresses(), 0, "nothing stays of who has nothing");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing() {
        let shares = Shares::new(1);
        let only = shares.try_take(peer(1), 1).unwrap();
        let waiting = tokio::spawn({
            let shares = shares.clone();
            async move { shares.take(peer(1), 1).await.is_some() }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(shares.addresses(), 1);
        drop(only);
        assert_eq!(shares.addresses(), 0);
    }
}
