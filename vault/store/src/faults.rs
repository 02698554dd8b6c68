//! Points at which a process may die, named so that a test can make it die there.

use crate::store::StoreError;

/// A point in the sequencer's commit. What holds when the process ends there stands beside each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    /// The head is locked and extends the outside checkpoint. Nothing is written.
    AfterRead,
    /// Changes and entries are inserted, not committed: the database takes them back.
    AfterInsert,
    /// A checkpoint is signed that nobody has seen, over a tree that is not committed: it is lost with the process.
    AfterSign,
    /// Tiles and head are written, not committed: the database takes them back.
    BeforeCommit,
    /// The entries are durable, no waiter knows it, and the outside checkpoint is older than the head:
    /// the next start finds that the head extends it. The answers are lost, the records are not.
    AfterCommitBeforeOutside,
    /// The outside checkpoint is the head. Only the answers are lost.
    AfterOutsideBeforeAnswer,
}

impl CrashPoint {
    /// Every point, in order.
    pub const ALL: [Self; 6] = [
        Self::AfterRead,
        Self::AfterInsert,
        Self::AfterSign,
        Self::BeforeCommit,
        Self::AfterCommitBeforeOutside,
        Self::AfterOutsideBeforeAnswer,
    ];

    /// The point's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfterRead => "after read",
            Self::AfterInsert => "after insert",
            Self::AfterSign => "after sign",
            Self::BeforeCommit => "before commit",
            Self::AfterCommitBeforeOutside => "after commit, before the outside checkpoint",
            Self::AfterOutsideBeforeAnswer => "after the outside checkpoint, before the answer",
        }
    }

    /// Whether the batch is durable at this point.
    pub fn is_durable(self) -> bool {
        matches!(self, Self::AfterCommitBeforeOutside | Self::AfterOutsideBeforeAnswer)
    }
}

/// What happens at a crash point. Nothing, but in tests: no configuration sets it.
pub trait Faults: Send + Sync {
    /// Called at each point; an error, usually [`StoreError::Injected`], ends the commit there.
    fn at(&self, point: CrashPoint) -> Result<(), StoreError>;
}

/// Nothing happens.
pub(crate) struct NoFaults;

impl Faults for NoFaults {
    fn at(&self, _: CrashPoint) -> Result<(), StoreError> {
        Ok(())
    }
}
