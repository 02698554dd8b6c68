//! A replica's name belongs to the process that took it last.
//!
//! A replica that died has to be able to start again at once, so a name is taken, not asked for. Of two
//! that were given one name by mistake the earlier one finds out at its next commit, and says so.

use super::{PostgresStore, WriteTransaction, log, rows::get};
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
            .map_err(|_| StoreError::Unusable("this process has a replica's name already".to_owned()))
    }

    /// By way of the connections that read: whether a commit would be refused now because another process has
    /// the replica's name, or because the ledger is marked as gone back in time.
    pub(super) async fn check_standing(&self) -> Result<(), StoreError> {
        let occupied = self.occupied.get();
        let asked = query("SELECT rollback, (SELECT process FROM replicas WHERE name = $1) AS process FROM head")
            .bind(occupied.map(|occupied| occupied.name.clone()));
        for row in self.rows(asked).await? {
            if let Some(mark) = log::mark(&row)? {
                return Err(mark.error());
            }
            if let Some(occupied) = occupied {
                occupied.check(get(&row, "process")?)?;
            }
        }
        Ok(())
    }
}

impl Occupied {
    fn check(&self, process: Option<&[u8]>) -> Result<(), StoreError> {
        if process == Some(&self.process) {
            return Ok(());
        }
        Err(StoreError::Displaced { replica: self.name.clone() })
    }
}

impl WriteTransaction {
    /// Refuses to go on under a name that another process has taken since.
    pub(super) fn check_name(&self, process: Option<&[u8]>) -> Result<(), StoreError> {
        match &self.occupied {
            Some(occupied) => occupied.check(process),
            None => Ok(()),
        }
    }
}
