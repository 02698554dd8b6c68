//! `strongroomd backup`: a consistent copy of the database, while the vault serves.
//!
//! It writes no record. The ledger has one writer at a time: a commit beside a serving vault would
//! move the head and the checkpoint outside under it, and it would lock itself.

use super::output;
use crate::{config::Config, start};
use anyhow::{Context as _, Result, bail};
use std::{path::Path, process::ExitCode};

pub(super) async fn run(config: &Path, to: &Path, json: bool) -> Result<ExitCode> {
    let config = Config::load(config)?;
    if to.exists() {
        bail!("{} exists: a backup never overwrites anything", to.display());
    }
    let store = start::open_store_as_it_is(&config).await?;
    start::vault_row(&*store, &config).await?;
    store.backup(to).await.with_context(|| format!("copy the database to {}", to.display()))?;
    let size = store.head().await?.map_or(0, |h| h.size);
    if json {
        output::json(&serde_json::json!({ "backup": to, "ledger_size": size }))?;
    } else {
        output::text(format!(
            "copied the database (ledger of about {size} entries) to {}\nNot in it: the root key ({}), TLS keys, the checkpoint kept outside.\n",
            to.display(),
            config.custody.path.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{init::make, system_time};
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_copy_is_made_of_what_this_program_understands_and_of_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("vault");
        let made = make(&dir, "https://vault.example:8443", "root", false, system_time()).await.unwrap();
        let to = parent.path().join("copy.db");
        run(&made.config, &to, true).await.unwrap();
        assert!(to.exists());

        std::fs::remove_file(&to).unwrap();
        // Another file: connections that were just dropped may still be closing the first.
        let old = dir.join("old.db");
        std::fs::write(&old, b"").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = std::fs::read_to_string(&made.config).unwrap();
        std::fs::write(&made.config, text.replace("\"vault.db\"", "\"old.db\"")).unwrap();
        let error = format!("{:#}", run(&made.config, &to, true).await.unwrap_err());
        assert!(error.contains("schema 0, this program wants 7: run serve"), "{error}");
        assert_eq!(std::fs::metadata(&old).unwrap().len(), 0, "it was migrated");
        assert!(!to.exists());
    }
}
