//! A directory in the names of the store: what is there, what is good enough, what is written.

use crate::{output::Failure, private_file::PrivateFile};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};
use strongroom_attest::{
    Pins,
    endorsements::{Content, Store, WARNED},
};

/// Lists and collateral are fetched again once they are so old, seconds: they change before they end.
const FRESH: u64 = 86_400;

/// The directory, with what the library makes of its files.
pub(super) struct Directory {
    path: PathBuf,
    /// Chains that were fetched vouch for what comes after them.
    store: Store,
    /// Unix seconds.
    now: u64,
}

impl Directory {
    /// A directory that is there, or is made. `now`: Unix seconds.
    pub(super) fn open(path: &Path, pins: Pins, now: i64) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|source| Failure::file(path, source))?;
        let (mut store, now) = (Store::new(pins), u64::try_from(now).unwrap_or_default());
        // Chains of an earlier run vouch for what is asked for in this one. What cannot be read is fetched anew.
        for chain in ["ark", "ask", "asvk"] {
            for entry in fs::read_dir(path.join(chain)).into_iter().flatten().flatten() {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                drop(store.import(&bytes, None, now));
            }
        }
        Ok(Self { path: path.to_owned(), store, now })
    }

    /// Whether a file of this name is there, is vouched for, and good for a while.
    pub(super) fn has(&mut self, name: &str, id: Option<&str>) -> bool {
        let path = self.path.join(name);
        let Ok(bytes) = fs::read(&path) else { return false };
        let Ok(found) = self.store.import(&bytes, id, self.now) else { return false };
        let good = found.iter().any(|one| {
            let lasting = one.name == name && one.from <= self.now && one.until.saturating_sub(self.now) >= WARNED;
            let changing = matches!(one.content, Content::RevocationList | Content::Collateral);
            lasting && !(changing && age(&path, self.now).is_none_or(|age| age >= FRESH))
        });
        if !good {
            // What takes its place may be of an earlier date, of a service that is behind.
            for one in found {
                self.store.remove(&one.name);
            }
        }
        good
    }

    /// What of fetched bytes has these names, once a pinned root vouches for all of it.
    pub(super) fn check(
        &mut self,
        bytes: &[u8],
        id: Option<&str>,
        names: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let found = self.store.import(bytes, id, self.now).map_err(|error| error.to_string())?;
        let of_name = |name: &String| {
            let one = found.iter().find(|one| one.name == *name);
            one.map(|one| (name.clone(), one.bytes.clone())).ok_or_else(|| {
                let got: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
                format!("the service gave something else: {}", got.join(", "))
            })
        };
        names.iter().map(of_name).collect()
    }

    /// Writes a file, whole or not at all.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| Failure::file(parent, source))?;
        }
        let mut file = PrivateFile::create(&path, true, ".strongroom.")?;
        file.write_all(bytes).map_err(|source| Failure::file(&path, source))?;
        file.commit()
    }
}

/// Seconds since a file was written.
fn age(path: &Path, now: u64) -> Option<u64> {
    let written = fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(written.as_secs()))
}
