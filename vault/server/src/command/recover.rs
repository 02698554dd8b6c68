//! `strongroomd recover-admin`: a token of role admin for a vault in which nobody has one any more.
//!
//! It needs what would suffice for anything else: the vault's files and its root key, with the vault
//! stopped. The ledger shows it.

use super::{
    init::{FIRST_TOKEN, write},
    output,
    stopped::Stopped,
};
use crate::{
    api::tokens,
    clock::rfc3339,
    config::Config,
    start::{TAIL, told},
    vault::{self, subject, system},
};
use anyhow::Result;
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::admin::{CreateToken, Role};
use strongroom_store::{Change, Sequencer};

/// What was made.
#[derive(Debug, Serialize)]
struct Recovered {
    /// The token's id.
    id: String,
    /// Whose it is.
    person: String,
    /// The file with the token, mode 0600.
    out: PathBuf,
    /// Until when it is good, RFC 3339.
    expires_at: String,
    /// Index of its record in the ledger.
    index: u64,
}

pub(super) async fn run(config: &Path, person: &str, out: &Path, json: bool) -> Result<ExitCode> {
    let config = Config::load(config)?;
    let made = recover(&config, person, out).await?;
    if json {
        output::json(&made)?;
    } else {
        output::text(format!(
            "token        {} (person {}, role admin, until {})\nin           {}\nrecorded at  index {} of the ledger\n",
            made.id,
            made.person,
            made.expires_at,
            made.out.display(),
            made.index
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn recover(config: &Config, person: &str, out: &Path) -> Result<Recovered> {
    let vault = Stopped::open(config).await?;
    let (store, signer, key) = (Arc::clone(&vault.store), Arc::clone(&vault.signer), vault.ledger_key.clone());
    let (replica, outside) = (&config.server.replica, &config.ledger.outside_checkpoint);
    let sequencer = Sequencer::new(store, signer, key, outside, replica).await?;
    // A ledger that cannot be trusted is not written on.
    sequencer.verify_tail(TAIL).await?;

    let now = vault.store.now().await?;
    let request = CreateToken { person: person.to_owned(), roles: vec![Role::Admin], expires_in: FIRST_TOKEN };
    tokens::check(&request).map_err(told)?;
    tokens::check_apart(&request, &vault.store.tokens().await?, now).map_err(told)?;
    let (secret, row) = tokens::make(request, now)?;
    let made = |index| Recovered {
        id: row.id.clone(),
        person: person.to_owned(),
        out: out.to_owned(),
        expires_at: rfc3339(row.expires_at),
        index,
    };
    let subject = subject(SubjectKind::Token, &row.id);
    let mut record = vault::record(replica, now, system("recover-admin"), Action::TokenCreated, subject)?;
    let details: [(&str, serde_json::Value); 4] = [
        ("person", person.into()),
        ("roles", tokens::roles(&row.roles).into()),
        ("expires_at", rfc3339(row.expires_at).into()),
        ("recovery", true.into()),
    ];
    record.details.extend(details.map(|(name, value)| (name.to_owned(), value)));

    // The file first: a token that the ledger has and nobody holds would be no help.
    write(out, format!("{}\n", secret.as_str()).as_bytes(), 0o600)?;
    let committed = vault.commit(sequencer, record, vec![Change::CreateToken(row.clone())]).await;
    if committed.is_err() {
        // What it holds opens nothing.
        let _ = fs::remove_file(out);
    }
    committed.map(|committed| made(committed.index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::{init::make, system_time},
        occupancy::Occupancy,
        start,
    };
    use std::os::unix::fs::PermissionsExt as _;
    use strongroom_ledger::Record;
    use strongroom_protocol::{Fixed, sha256};

    #[tokio::test]
    async fn an_admin_comes_back_by_the_vaults_files_and_root_key_and_the_ledger_shows_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("vault");
        let made = make(&dir, "https://vault.example:8443", "root", false, system_time()).await.unwrap();
        let config = Config::load(&made.config).unwrap();
        let out = parent.path().join("ada.token");

        let serving = Occupancy::take(&config).unwrap();
        let refused = recover(&config, "ada", &out).await.unwrap_err().to_string();
        assert!(refused.contains("stop it first") && !out.exists(), "{refused}");
        drop(serving);
        assert!(recover(&config, "two words", &out).await.is_err());
        assert!(!out.exists());
        let root_key = dir.join("root.key");
        let kept = fs::read(&root_key).unwrap();
        fs::write(&root_key, [7; 32]).unwrap();
        assert!(recover(&config, "ada", &out).await.is_err(), "another root key");
        fs::write(&root_key, kept).unwrap();
        assert!(!out.exists());

        let recovered = recover(&config, "ada", &out).await.unwrap();
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&out).unwrap();
        let store = start::open_store_as_it_is(&config).await.unwrap();
        let row = store.token(Fixed(sha256(text.trim().as_bytes()))).await.unwrap().unwrap().row;
        assert_eq!((row.id.as_str(), row.person.as_str(), row.revoked), (recovered.id.as_str(), "ada", false));
        assert_eq!(row.roles, [Role::Admin]);
        let entry = store.entry(recovered.index).await.unwrap().unwrap();
        let record = Record::parse(&entry.body.unwrap().0).unwrap();
        assert_eq!(record.action, Action::TokenCreated);
        assert_eq!((record.actor.id.as_str(), &record.details["recovery"]), ("recover-admin", &true.into()));
        // Nothing is written over.
        assert!(recover(&config, "ada", &out).await.is_err());
        assert_eq!(fs::read_to_string(&out).unwrap(), text);
    }
}
