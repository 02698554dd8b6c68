//! Who is connected: bounds for each user and for all, and an idle connection makes room for a new one.

use std::{
    collections::HashMap,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Most connections at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) user: usize,
    pub(super) all: usize,
}

/// Everybody who is connected.
pub(super) struct Door {
    places: Places,
    next: AtomicU64,
    guests: Mutex<HashMap<u64, Guest>>,
}

struct Guest {
    uid: u32,
    stream: UnixStream,
    /// Since when it has asked nothing; none while a request of it is answered.
    idle: Option<Instant>,
}

/// A connection's place, given back when it is dropped.
pub(super) struct Place {
    door: Arc<Door>,
    number: u64,
}

impl Door {
    pub(super) fn new(places: Places) -> Arc<Self> {
        Arc::new(Self { places, next: AtomicU64::new(0), guests: Mutex::default() })
    }

    /// A place for a connection of this user; `None` if there is none. The connection that has been idle
    /// for longest, of this user if he has too many, is closed for it.
    pub(super) fn enter(self: &Arc<Self>, uid: u32, stream: UnixStream) -> Option<Place> {
        let mut guests = self.guests();
        let own = guests.values().filter(|guest| guest.uid == uid).count();
        if own >= self.places.user {
            close_idle(&mut guests, |guest| guest.uid == uid)?;
        } else if guests.len() >= self.places.all {
            close_idle(&mut guests, |_| true)?;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        guests.insert(number, Guest { uid, stream, idle: Some(Instant::now()) });
        Some(Place { door: Arc::clone(self), number })
    }

    fn guests(&self) -> MutexGuard<'_, HashMap<u64, Guest>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the one of these that is idle for longest.
fn close_idle(guests: &mut HashMap<u64, Guest>, of: impl Fn(&Guest) -> bool) -> Option<()> {
    let idle = guests.iter().filter(|(_, guest)| of(guest)).filter_map(|(number, g)| Some((g.idle?, *number)));
    let (_, number) = idle.min()?;
    let guest = guests.remove(&number)?;
    tracing::debug!(uid = guest.uid, "closed an idle connection to make room");
    // Its thread sees the end, and its client connects again.
    let _ = guest.stream.shutdown(Shutdown::Both);
    Some(())
}

impl Place {
    /// Says whether a request is being answered.
    pub(super) fn at_work(&self, working: bool) {
        if let Some(guest) = self.door.guests().get_mut(&self.number) {
            guest.idle = (!working).then(Instant::now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.guests().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn guest(door: &Arc<Door>, uid: u32) -> Option<(Place, UnixStream)> {
        let (client, served) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        door.enter(uid, served).map(|place| (place, client))
    }

    fn is_closed(client: &mut UnixStream) -> bool {
        client.read(&mut [0]).is_ok_and(|read| read == 0)
    }

    #[test]
    fn a_user_makes_room_by_his_own_idle_connections() {
        let door = Door::new(Places { user: 2, all: 10 });
        let (_other, mut other) = guest(&door, 2).unwrap();
        let (first, mut first_client) = guest(&door, 1).unwrap();
        let (second, mut second_client) = guest(&door, 1).unwrap();
        first.at_work(true);
        let (third, _third_client) = guest(&door, 1).unwrap();
        assert!(is_closed(&mut second_client) && !is_closed(&mut first_client) && !is_closed(&mut other));
        drop(second);
        third.at_work(true);
        assert!(guest(&door, 1).is_none(), "both are at work");
        first.at_work(false);
        assert!(guest(&door, 1).is_some());
        assert!(is_closed(&mut first_client));
    }

    #[test]
    fn all_together_have_a_bound_and_places_come_back() {
        let door = Door::new(Places { user: 2, all: 2 });
        let (a, _a) = guest(&door, 1).unwrap();
        let (b, _b) = guest(&door, 2).unwrap();
        a.at_work(true);
        b.at_work(true);
        assert!(guest(&door, 3).is_none());
        drop(a);
        assert!(guest(&door, 3).is_some());
    }
}
