//! `strongroomd accept-restore`: going on with a database that went back in time.
//!
//! Keys may have been released, nodes revoked and tokens withdrawn in what is lost: a person decides, on the
//! vault's machine, with its files and its root key. The ledger shows who, and what was given up.

use super::{output, stopped::Stopped};
use crate::{
    api::tokens,
    config::Config,
    start::told,
    vault::{self, subject, system},
};
use anyhow::Result;
use serde::Serialize;
use std::{path::Path, process::ExitCode, sync::Arc};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_store::Sequencer;

/// What was accepted.
#[derive(Debug, Serialize)]
struct Accepted {
    /// Size and root of the database's ledger, which goes on from there.
    database: String,
    /// What the checkpoint file outside the database said.
    outside: String,
    /// Index of its record in the ledger.
    index: u64,
}

pub(super) async fn run(config: &Path, size: u64, person: &str, json: bool) -> Result<ExitCode> {
    let config = Config::load(config)?;
    let accepted = accept(&config, size, person).await?;
    if json {
        output::json(&accepted)?;
    } else {
        output::text(format!(
            "accepted     the database with {}\ngiven up     {}\nrecorded at  index {} of the ledger\n",
            accepted.database, accepted.outside, accepted.index
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn accept(config: &Config, size: u64, person: &str) -> Result<Accepted> {
    tokens::check_person(person).map_err(told)?;
    let vault = Stopped::open(config).await?;
    let (replica, outside) = (&config.server.replica, &config.ledger.outside_checkpoint);
    let (store, signer, key) = (Arc::clone(&vault.store), Arc::clone(&vault.signer), vault.ledger_key.clone());
    let (sequencer, abandoned) = Sequencer::accepting(store, signer, key, outside, replica, size).await?;

    let subject = subject(SubjectKind::Vault, vault.vault_id);
    let now = vault.store.now().await?;
    let mut record = vault::record(replica, now, system("accept-restore"), Action::VaultUnlocked, subject)?;
    let mut details: Vec<(&str, serde_json::Value)> = vec![
        ("person", person.into()),
        ("database", abandoned.database.clone().into()),
        ("outside", abandoned.outside.clone().into()),
    ];
    if let Some((replica, outside)) = abandoned.marked {
        details.extend([("found_by", replica.into()), ("found_outside", outside.into())]);
    }
    record.details.extend(details.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let committed = vault.commit(sequencer, record, vec![]).await?;
    Ok(Accepted { database: abandoned.database, outside: abandoned.outside, index: committed.index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::{init::make, system_time},
        occupancy::Occupancy,
        start::{self, Opened, open},
    };
    use std::{fs, path::PathBuf};
    use strongroom_ledger::Record;

    /// A vault whose database is older than the checkpoint outside by one record.
    async fn restored(parent: &Path) -> (Config, PathBuf) {
        let dir = parent.join("vault");
        let made = make(&dir, "https://vault.example:8443", "root", false, system_time()).await.unwrap();
        let config = Config::load(&made.config).unwrap();
        let (database, copy) = (dir.join("vault.db"), parent.join("copy.db"));
        start::open_store(&config).await.unwrap().backup(&copy).await.unwrap();
        let Opened::Open(open) = open(config.clone()).await.unwrap() else { panic!("the vault is locked") };
        start::record_start(&open.vault, "none").await.unwrap();
        open.vault.queue.close().await;
        drop(open);
        for leftover in ["vault.db-wal", "vault.db-shm"] {
            let _ = fs::remove_file(dir.join(leftover));
        }
        fs::rename(copy, &database).unwrap();
        (config, dir)
    }

    #[tokio::test]
    async fn a_restored_database_is_gone_on_with_when_somebody_says_so_and_the_ledger_shows_it() {
        let parent = tempfile::tempdir().unwrap();
        let (config, dir) = restored(parent.path()).await;
        let Opened::Locked(reason) = open(config.clone()).await.unwrap() else { panic!("the vault is open") };
        assert!(reason.contains("gone back in time"), "{reason}");
        let size = start::open_store(&config).await.unwrap().head().await.unwrap().unwrap().size;
        let outside = || fs::read_to_string(dir.join("checkpoint.outside")).unwrap();
        let before = outside();

        for (size, person) in [(size + 1, "ada"), (size - 1, "ada"), (size, "two words")] {
            assert!(accept(&config, size, person).await.is_err(), "{size} {person}");
        }
        let serving = Occupancy::take(&config).unwrap();
        let refused = accept(&config, size, "ada").await.unwrap_err().to_string();
        assert!(refused.contains("stop it first"), "{refused}");
        drop(serving);
        assert_eq!(outside(), before, "a refusal changes nothing");

        let accepted = accept(&config, size, "ada").await.unwrap();
        assert_eq!(accepted.index, size);
        assert!(accepted.outside.starts_with(&format!("{} entries", size + 1)), "{accepted:?}");
        let store = start::open_store(&config).await.unwrap();
        assert_eq!(outside(), store.head().await.unwrap().unwrap().checkpoint);
        let record = Record::parse(&store.entry(size).await.unwrap().unwrap().body.unwrap().0).unwrap();
        assert_eq!((record.action, record.actor.id.as_str()), (Action::VaultUnlocked, "accept-restore"));
        assert_eq!(record.details["person"], "ada");
        drop(store);
        assert!(matches!(open(config.clone()).await.unwrap(), Opened::Open(_)));
        let refused = format!("{:#}", accept(&config, size + 1, "ada").await.unwrap_err());
        assert!(refused.contains("nothing to accept"), "{refused}");
    }
}
