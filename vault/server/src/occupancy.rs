//! One process at a time writes a vault's database file, or is one replica of a shared database.
//!
//! Two over one file would each find the head of the ledger moved by the other and have to take that
//! for a fork. The lock is the kernel's and ends with the process, however it ends; the file itself
//! stays. Looking (`doctor`) and copying (`backup`) need no lock.

use crate::config::{BackendKind, Config};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The right to write the database, until it is dropped.
#[derive(Debug)]
pub struct Occupancy {
    _locked: File,
}

impl Occupancy {
    /// Takes the lock beside the configuration's database, or says which process has it.
    pub fn take(config: &Config) -> Result<Self> {
        if config.store.backend == BackendKind::Sqlite && !config.store.path.exists() {
            bail!(
                "there is no database {}: run `strongroomd init`, or correct [store] path",
                config.store.path.display()
            );
        }
        let path = lock_path(config);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.with_context(|| format!("open the lock {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Best effort: who it is helps, and is not needed.
                let _ = file.take(20).read_to_string(&mut holder);
                let holder = holder.trim();
                bail!(
                    "another strongroomd (process {}) works on {}: stop it first",
                    if holder.is_empty() { "unknown" } else { holder },
                    written(config).display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("take the lock {}", path.display()));
            }
        }
        // For whoever is refused; the lock holds without it, on a full disk too.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _locked: file })
    }
}

/// What one process alone writes: SQLite's file; of a database that replicas share, the checkpoint that
/// each of them keeps outside.
fn written(config: &Config) -> &Path {
    match config.store.backend {
        BackendKind::Sqlite => &config.store.path,
        BackendKind::Postgres => &config.ledger.outside_checkpoint,
    }
}

fn lock_path(config: &Config) -> PathBuf {
    let mut path = OsString::from(written(config));
    path.push(".lock");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.resolve(directory.path());
        let missing = Occupancy::take(&config).unwrap_err().to_string();
        assert!(missing.contains("there is no database"), "{missing}");
        std::fs::write(&config.store.path, b"").unwrap();
        let first = Occupancy::take(&config).unwrap();
        let refused = Occupancy::take(&config).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        drop(Occupancy::take(&config).unwrap());
        assert!(lock_path(&config).exists());
    }
}
