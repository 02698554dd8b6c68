//! Administration by bearer tokens: for people and machines that are no nodes.

use crate::{
    Error, Patience,
    pinned::PinnedVault,
    room::reach,
    transport::{Transport, parse},
};
use rustix::process::geteuid;
use serde::{Serialize, de::DeserializeOwned};
use std::{io::Read, os::unix::fs::MetadataExt, path::Path, time::Duration};
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
    ///
    /// A file that others may read or write is refused, as ssh does with a key: it is as good as
    /// lost. So is one that holds anything but one token. Group bits count only on a file of the
    /// caller's own: a service manager that hands a credential to a service may own it and let the
    /// service in as a group.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let seen = file.metadata().map_err(failed)?;
        if exposed(seen.mode(), seen.uid() == geteuid().as_raw()) {
            return Err(Error::TokenExposed { path: path.to_owned(), mode: seen.mode() & 0o777 });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(256));
        file.take(TOKEN).read_to_end(&mut text).map_err(failed)?;
        let token = std::str::from_utf8(text.trim_ascii()).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::TokenMalformed(path.to_owned()));
        }
        Ok(Self::new(token))
    }

    /// Takes a token over.
    pub fn new(token: &str) -> Self {
        Self(Zeroizing::new(token.to_owned()))
    }

    pub(crate) fn header(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.0.as_str()))
    }
}

/// Whether somebody else may read or write a file of this mode.
fn exposed(mode: u32, own: bool) -> bool {
    mode & if own { 0o077 } else { 0o007 } != 0
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
        Self::connect_patiently(join, token, Patience::default())
    }

    /// The same, with another patience than the default one.
    pub fn connect_patiently(join: &JoinFile, token: Option<Token>, patience: Patience) -> Result<Self, Error> {
        let (transport, vault, info) = reach(join, Duration::from_mins(1), patience)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    #[test]
    fn a_token_that_others_may_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "srt_x\n").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Token::from_file(&path).err().unwrap();
            assert!(matches!(error, Error::TokenExposed { mode: seen, .. } if seen == mode), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(Token::from_file(&path).unwrap().header().as_str(), "Bearer srt_x");
        }
    }

    #[test]
    fn a_file_that_holds_no_token_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for wrong in [b"srt_x\nsrt_y\n".as_slice(), b"", b"\n", b"srt_x y", b"srt_\xff", b"srt_\x00x"] {
            std::fs::write(&path, wrong).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let error = Token::from_file(&path).err().unwrap();
            assert!(matches!(error, Error::TokenMalformed(_)), "{wrong:?}: {error}");
            assert!(error.to_string().contains("token file") && !error.to_string().contains("srt_x"), "{error}");
        }
    }

    #[test]
    fn a_credential_that_a_service_manager_hands_over_may_have_a_group() {
        assert!(!exposed(0o100_440, false));
        assert!(exposed(0o100_440, true));
        assert!(exposed(0o100_444, false));
    }
}
