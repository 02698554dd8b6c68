//! Going on with a log that went back in time, once a person has decided to.

use crate::{
    backend::Backend,
    outside::{Outside, describe},
    sequencer::{Marks, Sequencer, check_extends},
    store::StoreError,
    tail::{TAIL_ENTRIES, check_tail},
};
use std::{path::Path, sync::Arc};
use strongroom_ledger::{Checkpoint, Signer, VerifierKey, consistency_tiles};

/// What a person gives up by going on with the database as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Size and root of what the database has, and the log goes on from.
    pub database: String,
    /// What the checkpoint file outside it said.
    pub outside: String,
    /// The replica that marked the database, and what its own checkpoint said.
    pub marked: Option<(String, String)>,
}

impl Sequencer {
    /// Opens a log that went back in time, or whose checkpoint file is gone, to go on from where the database
    /// is. `size` is how many entries the person who decides believes it to have. The first commit takes the
    /// mark of the rollback away and begins the checkpoint file anew: it has to hold the record that tells of it.
    ///
    /// Refused ([`StoreError::Unusable`]) if the database has another size, or if there is nothing to decide;
    /// and if the end of the log is not what was signed ([`StoreError::Corrupt`]).
    pub async fn accepting(
        store: Arc<dyn Backend>,
        signer: Arc<dyn Signer + Send + Sync>,
        verifier: VerifierKey,
        outside: &Path,
        replica: impl Into<String>,
        size: u64,
    ) -> Result<(Self, Abandoned), StoreError> {
        let Some(tail) = store.tail(TAIL_ENTRIES).await? else {
            return Err(StoreError::Unusable(
                "the database's ledger is empty: it is no copy of this vault's".to_owned(),
            ));
        };
        check_tail(&tail, &verifier)?;
        let head = Checkpoint::of(verifier.name(), &tail.head.frontier);
        if head.size != size {
            return Err(StoreError::Unusable(format!(
                "the database has {}, not {size}: look again which one it is, and say its size",
                describe(&head)
            )));
        }
        let found = match Outside::read(outside, &verifier) {
            Ok(Some(found)) => {
                let known = found.known().clone();
                if tail.head.mark.is_none() && extends(&*store, &known).await? {
                    return Err(StoreError::Unusable(
                        "there is nothing to accept: the database extends the checkpoint kept outside".to_owned(),
                    ));
                }
                describe(&known)
            }
            Ok(None) => "no checkpoint file".to_owned(),
            Err(StoreError::Corrupt(what)) => what,
            Err(error) => return Err(error),
        };
        let marked = tail.head.mark.map(|mark| (mark.replica, mark.outside));
        let abandoned = Abandoned { database: describe(&head), outside: found, marked };
        let outside = Outside::taken_over(outside, head);
        Ok((Self::over(store, signer, verifier, outside, replica.into(), Marks::Cleared), abandoned))
    }
}

async fn extends(store: &dyn Backend, known: &Checkpoint) -> Result<bool, StoreError> {
    let size = known.size;
    let wanted = move |head: u64| consistency_tiles(size, head).unwrap_or_default();
    let Some((head, tiles)) = store.snapshot(&wanted).await? else { return Ok(false) };
    match check_extends(&head.frontier, known, &tiles) {
        Err(StoreError::Rollback { .. }) => Ok(false),
        checked => checked.map(|()| true),
    }
}
