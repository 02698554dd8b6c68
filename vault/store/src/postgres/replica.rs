//! A replica's name belongs to the process that took it last.
//!
//! A replica that died has to be able to start again at once, so a name is taken, not asked for. Of two
//! that were given one name by mistake the earlier one finds out at its next commit, and says so.

use super::{PostgresStore, WriteTransaction};
use crate::store::StoreError;
use ring::rand::{SecureRandom as _, SystemRandom};
use sqlx::query;

/// The name that this process has taken.
#[derive(Debug, Clone)]
pub(super) struct Occupied {
    pub(super) name: String,
    process: [u8; 16],
}

impl PostgresStore {
    pub(super) async fn take_name(&self, name: &str) -> Result<(), StoreError> {
        let mut process = [0; 16];
        SystemRandom::new()
            .fill(&mut process)
            .map_err(|_| StoreError::Unavailable("the operating system has no random bytes".to_owned()))?;
        let mut tx = self.begin_writing().await?;
        let taken = query(
            "INSERT INTO replicas (name, process) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET process = excluded.process, since = now()",
        )
        .bind(name.to_owned())
        .bind(process.to_vec());
        tx.execute(taken).await?;
        tx.commit().await?;
        self.occupied
            .set(Occupied { name: name.to_owned(), process })
            .map_err(|_| StoreError::Unavailable("this process has a replica's name already".to_owned()))
    }
}

impl WriteTransaction {
    /// Refuses to go on under a name that another process has taken since.
    pub(super) fn check_name(&self, process: Option<&[u8]>) -> Result<(), StoreError> {
        match &self.occupied {
            Some(occupied) if process != Some(&occupied.process) => Err(StoreError::Unavailable(format!(
                "another process has taken the name of the replica {}: give each replica a name of its own, and \
                 start this one again",
                occupied.name
            ))),
            _ => Ok(()),
        }
    }
}
