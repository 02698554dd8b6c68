//! A joined client: the vault it believes, the PCRs to quote, and the memory it keeps keys in.

use crate::{Error, Patience, pinned::PinnedVault, transport::Transport};
use std::{sync::Arc, time::Duration};
use strongroom_ledger::VerifierKey;
use strongroom_memory::{Hardening, KeyPages, Protection, harden_process};
use strongroom_protocol::{
    VaultId,
    admin::{AssetCurrent, VaultInfo},
    evidence::PcrSelection,
    join::JoinFile,
    sha256,
    statement::check_asset_name,
};

/// How a room is set up. The default demands every protection.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is demanded of memory; weakening it is shown in the ledger.
    pub protection: Protection,
    /// Patience with one connection or answer.
    pub timeout: Duration,
    /// Patience with one request, over all attempts at it.
    pub patience: Patience,
}

impl Default for Options {
    fn default() -> Self {
        Self { protection: Protection::default(), timeout: Duration::from_secs(30), patience: Patience::default() }
    }
}

/// A connection to a vault that is believed. Shared by threads.
pub struct Room {
    transport: Arc<Transport>,
    vault: PinnedVault,
    info: VaultInfo,
    pages: KeyPages,
    protection: Protection,
    hardening: Hardening,
}

impl Room {
    /// Hardens the process, makes key pages, and asks the vault who it is. A vault that the join
    /// file does not pin is refused.
    pub fn connect(join: &JoinFile, options: Options) -> Result<Self, Error> {
        let hardening = harden_process()?;
        let pages = KeyPages::new(&options.protection)?;
        let (transport, vault, info) = reach(join, options.timeout, options.patience)?;
        Ok(Self { transport: Arc::new(transport), vault, info, pages, protection: options.protection, hardening })
    }

    /// What the vault says of itself; only its identity is verified.
    pub fn info(&self) -> &VaultInfo {
        &self.info
    }

    /// The vault's id.
    pub fn vault_id(&self) -> VaultId {
        self.vault.id()
    }

    /// The pinned key that receipts and exports are verified with.
    pub fn ledger_key(&self) -> &VerifierKey {
        self.vault.verifier()
    }

    /// The version of an asset that new objects are sealed under.
    pub fn current(&self, asset: &str) -> Result<AssetCurrent, Error> {
        check_asset_name(asset).map_err(|e| Error::Request(format!("asset `{}`: {e}", asset.escape_debug())))?;
        self.transport.get(&format!("/v1/assets/{asset}/current"), None)
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn transport_handle(&self) -> Arc<Transport> {
        Arc::clone(&self.transport)
    }

    pub(crate) fn vault(&self) -> &PinnedVault {
        &self.vault
    }

    pub(crate) fn pcr_selection(&self) -> &PcrSelection {
        &self.info.pcr_selection
    }

    pub(crate) fn key_pages(&self) -> &KeyPages {
        &self.pages
    }

    pub(crate) fn protection(&self) -> &Protection {
        &self.protection
    }

    pub(crate) fn hardening(&self) -> &Hardening {
        &self.hardening
    }
}

/// Connects and checks who answers.
pub(crate) fn reach(
    join: &JoinFile,
    timeout: Duration,
    patience: Patience,
) -> Result<(Transport, PinnedVault, VaultInfo), Error> {
    let vault = PinnedVault::from_join(join)?;
    let transport = Transport::new(join, timeout, patience)?;
    let info: VaultInfo = transport.get("/v1/vault", None)?;
    let answered = VaultId::from(sha256(info.identity_key.as_array()));
    if answered != vault.id() || info.vault_id != vault.id() {
        return Err(Error::NotBelieved(format!(
            "{} is the vault {answered}, and the join file pins {}",
            transport.url(),
            vault.id()
        )));
    }
    Ok((transport, vault, info))
}
