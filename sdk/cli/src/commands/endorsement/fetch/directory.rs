//! A directory in the names of the store: what is there, what is good enough, what is written.

use super::{service::Vendor, wanted::Wanted};
use crate::{context::read_regular, output::Failure, private_file::PrivateFile};
use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};
use strongroom_attest::{
    PinKind, Pins,
    endorsements::{Content, Endorsement, MAX_BYTES, Store, WARNED},
    nvidia::rim,
};

/// Lists, collateral and answers are fetched again once they are so old, seconds: they change before they end.
const FRESH: u64 = 86_400;

/// The directory, with what the library makes of its files.
pub(super) struct Directory {
    path: PathBuf,
    /// Chains that were fetched vouch for what comes after them.
    store: Store,
    /// Unix seconds.
    now: u64,
    /// Held as long as this writes: of two that fetch into one directory, neither would keep a vendor's pace.
    _lock: File,
}

/// When each vendor was asked last, by empty files of the directory.
pub(super) struct Notes {
    path: PathBuf,
    now: u64,
}

impl Notes {
    fn file(&self, vendor: Vendor) -> PathBuf {
        self.path.join(format!(".asked-{}", vendor.name()))
    }

    /// Time since an earlier run asked, in whole seconds, rounded down.
    pub(super) fn since(&self, vendor: Vendor) -> Option<Duration> {
        age(&self.file(vendor), self.now).map(|age| Duration::from_secs(age.saturating_sub(1)))
    }

    /// Notes that a vendor is asked now. Without a note the next run might come too early, and wait then.
    pub(super) fn asked(&self, vendor: Vendor) {
        drop(fs::write(self.file(vendor), b"\n"));
    }
}

impl Directory {
    /// A directory that is there, or is made. `now`: Unix seconds.
    pub(super) fn open(path: &Path, pins: Pins, now: i64) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|source| Failure::file(path, source))?;
        let lock = lock(path)?;
        let (mut store, now) = (Store::new(pins), u64::try_from(now).unwrap_or_default());
        // Chains of an earlier run vouch for what is asked for in this one. What cannot be read is fetched anew.
        for chain in ["ark", "ask", "asvk"] {
            for entry in fs::read_dir(path.join(chain)).into_iter().flatten().flatten() {
                let bytes = read(&entry.path()).unwrap_or_default();
                drop(store.import(&bytes, None, now));
            }
        }
        Ok(Self { path: path.to_owned(), store, now, _lock: lock })
    }

    /// When earlier runs asked, for the pace of this one.
    pub(super) fn notes(&self) -> Notes {
        Notes { path: self.path.clone(), now: self.now }
    }

    /// What the signer of a manifest needs that was fetched, or was there.
    pub(super) fn of_signer(&self, id: &str) -> Result<Vec<Wanted>, String> {
        let bytes = self.store.manifest(id).ok_or("the manifest is not there")?;
        let verified = rim::verify(id, bytes, self.store.pins(), self.now).map_err(|error| error.to_string())?;
        Wanted::of_chain(PinKind::NvidiaRimRoot, verified.chain())
    }

    /// A thing of this directory that is vouched for.
    pub(super) fn get(&self, name: &str) -> Option<&Endorsement> {
        self.store.get(name)
    }

    /// Whether a file of this name is there, is vouched for, and good for a while.
    pub(super) fn has(&mut self, name: &str, id: Option<&str>) -> bool {
        let path = self.path.join(name);
        let Some(bytes) = read(&path) else { return false };
        let Ok(found) = self.store.import(&bytes, id, self.now) else { return false };
        let good = found.iter().any(|one| {
            // An answer lasts for days: it is good until it is to be fetched again in any case.
            let ahead = if one.content == Content::Answer { FRESH } else { WARNED };
            let lasting = one.name == name && one.from <= self.now && one.until.saturating_sub(self.now) >= ahead;
            let changing = matches!(one.content, Content::RevocationList | Content::Collateral | Content::Answer);
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
        if let Some(problem) = found.iter().find_map(|one| self.untimely(one)) {
            for one in &found {
                self.store.remove(&one.name);
            }
            return Err(problem);
        }
        let of_name = |name: &String| {
            let one = found.iter().find(|one| one.name == *name);
            one.map(|one| (name.clone(), one.bytes.clone())).ok_or_else(|| {
                let got: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
                format!("the service gave something else: {}", got.join(", "))
            })
        };
        names.iter().map(of_name).collect()
    }

    /// Why something is of no use at this time.
    fn untimely(&self, one: &Endorsement) -> Option<String> {
        if one.content == Content::Answer && one.until <= self.now {
            return Some(format!("the service gave an answer about {} whose end is past", one.subject));
        }
        one.check_made_by(self.now).err().map(|error| error.to_string())
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

/// Takes the directory for this process.
fn lock(path: &Path) -> Result<File, Failure> {
    let at = path.join(".lock");
    let file = File::create(&at).map_err(|source| Failure::file(&at, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::usage(format!("{}: another command fetches into it: wait for its end", path.display())))
        }
        Err(TryLockError::Error(source)) => Err(Failure::file(&at, source)),
    }
}

/// What is in a file, where that can be an endorsement.
fn read(path: &Path) -> Option<Vec<u8>> {
    read_regular(path, MAX_BYTES as u64).ok()
}

/// Seconds since a file was written.
fn age(path: &Path, now: u64) -> Option<u64> {
    let written = fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(written.as_secs()))
}
