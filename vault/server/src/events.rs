//! What happens to leases, told at once to those who listen in this process.

use strongroom_protocol::{LeaseId, NodeId, lease::EventKind};
use tokio::sync::broadcast;

/// Notices kept for a listener that is slow; one that is slower reads the store instead.
const KEPT: usize = 1024;

/// Whose leases ended, and how. A listener looks its own lease up before it says anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// One lease.
    Lease(LeaseId),
    /// Every lease of a node.
    Node(NodeId),
    /// Leases that hold a key version, or all: each listener looks.
    Any,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// To whose leases.
    pub whose: Whose,
    /// What.
    pub event: EventKind,
    /// Why, where a person said so.
    pub reason: Option<String>,
}

/// The in-process notices. Other replicas' acts are found by looking at the store each second.
pub struct Events(broadcast::Sender<Notice>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(KEPT).0)
    }
}

impl Events {
    /// Tells all listeners.
    pub fn tell(&self, notice: Notice) {
        // An error only means that nobody listens.
        let _ = self.0.send(notice);
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }
}
