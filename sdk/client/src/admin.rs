//! Administration by bearer tokens: for people and machines that are no nodes.

use crate::{
    Error,
    pinned::PinnedVault,
    room::reach,
    transport::{Transport, parse},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{io::Read, path::Path, time::Duration};
use strongroom_ledger::VerifierKey;
use strongroom_protocol::{admin::VaultInfo, join::JoinFile};
use ureq::http::Method;
use zeroize::Zeroizing;

/// Longest token file that is read, bytes.
const TOKEN: u64 = 256;

/// A bearer token. No `Debug`, no `Clone`; zeroed on drop.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Reads a token file: one line. A token never travels in an argument or the environment.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut text = Zeroizing::new(String::with_capacity(256));
        file.take(TOKEN).read_to_string(&mut text).map_err(failed)?;
        Ok(Self::new(text.trim()))
    }

    /// Takes a token over.
    pub fn new(token: &str) -> Self {
        Self(Zeroizing::new(token.to_owned()))
    }

    pub(crate) fn header(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.0.as_str()))
    }
}

/// A connection for administration, with or without a token.
pub struct Admin {
    transport: Transport,
    vault: PinnedVault,
    info: VaultInfo,
    token: Option<Token>,
}

impl Admin {
    /// Connects, and refuses a vault that the join file does not pin.
    pub fn connect(join: &JoinFile, token: Option<Token>) -> Result<Self, Error> {
        let (transport, vault, info) = reach(join, Duration::from_mins(1))?;
        Ok(Self { transport, vault, info, token })
    }

    /// What the vault says of itself; only its identity is verified.
    pub fn info(&self) -> &VaultInfo {
        &self.info
    }

    /// The pinned key that receipts and exports are verified with.
    pub fn ledger_key(&self) -> &VerifierKey {
        self.vault.verifier()
    }

    /// Reads JSON. `path` starts with `/v1/`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.transport.get(path, self.token.as_ref())
    }

    /// Sends JSON and reads JSON.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|e| Error::Malformed(e.to_string()))?;
        parse(&self.transport.call(&Method::POST, path, &body, self.token.as_ref())?)
    }

    /// Deletes, and reads JSON.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        parse(&self.transport.call(&Method::DELETE, path, &[], self.token.as_ref())?)
    }

    /// A long answer, read by the caller as it comes: exports.
    pub fn stream(&self, path: &str) -> Result<Box<dyn Read + Send>, Error> {
        let bearer = self.token.as_ref().map(Token::header);
        let headers: Vec<(&str, &str)> = bearer.iter().map(|b| ("authorization", b.as_str())).collect();
        let response = self.transport.open(&Method::GET, path, &[], &headers)?;
        Ok(Box::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
    }
}
