//! `strongroomd backup`: a consistent copy of the database, while the vault serves.

use super::print;
use crate::{config::Config, start};
use anyhow::{Context as _, Result, bail};
use std::{path::Path, process::ExitCode};
use strongroom_store::Store;

pub(super) async fn run(config: &Path, to: &Path, json: bool) -> Result<ExitCode> {
    let config = Config::load(config)?;
    if to.exists() {
        bail!("{} exists: a backup never overwrites anything", to.display());
    }
    let store = start::open_store(&config).await?;
    start::vault_row(&store, &config).await?;
    store.backup(to).await.with_context(|| format!("copy the database to {}", to.display()))?;
    let size = store.head().await?.map_or(0, |h| h.size);
    if json {
        print(&serde_json::json!({ "backup": to, "ledger_size": size }))?;
    } else {
        println!("copied the database (ledger of about {size} entries) to {}", to.display());
        println!("Not in it: the root key ({}), TLS keys, the checkpoint kept outside.", config.custody.path.display());
    }
    Ok(ExitCode::SUCCESS)
}
