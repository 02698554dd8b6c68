//! Why a change was not made, as backends tell the sequencer.

use crate::store::StoreError;

/// Why a change was not made.
pub(crate) enum Unmade {
    /// The rows are not as it needs them.
    Refused(String),
    /// The database did not do it.
    Failed(StoreError),
}

pub(crate) type Applied<T = ()> = Result<T, Unmade>;

impl From<StoreError> for Unmade {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

pub(crate) fn refused<T>(why: impl Into<String>) -> Applied<T> {
    Err(Unmade::Refused(why.into()))
}
