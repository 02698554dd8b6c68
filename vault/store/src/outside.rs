//! The last committed checkpoint, kept in a file outside the database.
//!
//! It is what finds a database that went back in time: a restored backup, a failover that lost
//! commits. It is signed like every checkpoint, so whoever can write the file cannot invent one; a
//! person who decides to go on after a rollback has the database's own signed head put here.

use crate::store::StoreError;
use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use strongroom_ledger::{Checkpoint, SignedCheckpoint, VerifierKey};

/// A checkpoint file, bytes: a note is far smaller.
const FILE_BYTES: u64 = 128 << 10;

/// The file, and what it held when this process last read or wrote it.
pub(crate) struct Outside {
    path: PathBuf,
    known: Checkpoint,
}

impl Outside {
    /// Reads the file; none where there is none.
    pub(crate) fn read(path: &Path, key: &VerifierKey) -> Result<Option<Self>, StoreError> {
        Ok(read(path, key)?.map(|known| Self { path: path.to_owned(), known }))
    }

    /// A file that says `known` as soon as something is committed, whatever it says now.
    pub(crate) fn taken_over(path: &Path, known: Checkpoint) -> Self {
        Self { path: path.to_owned(), known }
    }

    /// Begins a file for a log that has none yet.
    pub(crate) fn create(path: &Path, signed: &SignedCheckpoint) -> Result<Self, StoreError> {
        write(path, &signed.to_string()).map_err(|e| unwritable(&e))?;
        Ok(Self { path: path.to_owned(), known: signed.unverified().clone() })
    }

    /// The last checkpoint that is known to be committed.
    pub(crate) fn known(&self) -> &Checkpoint {
        &self.known
    }

    /// Replaces the file's content, durably, before anything else may happen.
    pub(crate) async fn advance(&mut self, signed: &SignedCheckpoint) -> Result<(), StoreError> {
        let (path, text) = (self.path.clone(), signed.to_string());
        tokio::task::spawn_blocking(move || write(&path, &text))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|e| unwritable(&e))?;
        self.known = signed.unverified().clone();
        Ok(())
    }

    /// Whether the file still holds what this process knows.
    pub(crate) fn check_file(&self, key: &VerifierKey) -> Result<(), StoreError> {
        let found = read(&self.path, key)?;
        if found.as_ref() == Some(&self.known) {
            return Ok(());
        }
        Err(StoreError::Rollback {
            database: format!("{} (answered by this process)", describe(&self.known)),
            outside: found.map_or_else(|| "no checkpoint file".to_owned(), |found| describe(&found)),
        })
    }
}

/// A checkpoint in a message: its size and root.
pub(crate) fn describe(checkpoint: &Checkpoint) -> String {
    format!("{} entries with root {}", checkpoint.size, strongroom_protocol::Fixed(checkpoint.root))
}

fn read(path: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, StoreError> {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > FILE_BYTES => {
            return Err(StoreError::Corrupt("the checkpoint file outside the database is no checkpoint".to_owned()));
        }
        _ => {}
    }
    let text = fs::read_to_string(path)
        .map_err(|e| StoreError::Unusable(format!("the checkpoint file outside the database is unreadable: {e}")))?;
    SignedCheckpoint::parse(&text)
        .and_then(|signed| signed.verify(std::slice::from_ref(key)).cloned())
        .map(Some)
        .map_err(|e| StoreError::Corrupt(format!("the checkpoint file outside the database: {e}")))
}

/// A new file takes the old one's name only when its bytes are on the disk, and the name is on the
/// disk before this returns: a crash leaves the old content or the new.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut fresh = OsString::from(path);
    fresh.push(".new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_directory_of(path)
}

/// Makes a name in its directory durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory)?.sync_all()
}

fn unwritable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!(
        "the checkpoint file outside the database cannot be written, and nothing is answered before it is: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use strongroom_ledger::Frontier;

    fn signed(seed: u8, entries: u8) -> (VerifierKey, SignedCheckpoint) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = VerifierKey::new("log", pair.public_key().as_ref().try_into().unwrap()).unwrap();
        let mut frontier = Frontier::new();
        (0..entries).for_each(|entry| frontier.push(&[entry; 32]).unwrap());
        let signed = Checkpoint::of("log", &frontier).sign(&key, &pair).unwrap();
        (key, signed)
    }

    #[tokio::test]
    async fn the_file_holds_the_last_checkpoint_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        let (key, empty) = signed(1, 0);
        assert!(Outside::read(&path, &key).unwrap().is_none());
        let mut outside = Outside::create(&path, &empty).unwrap();
        let (_, three) = signed(1, 3);
        outside.advance(&three).await.unwrap();
        assert_eq!(Outside::read(&path, &key).unwrap().unwrap().known(), three.unverified());
        outside.check_file(&key).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        fs::write(&path, empty.to_string()).unwrap();
        assert!(matches!(outside.check_file(&key), Err(StoreError::Rollback { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(outside.check_file(&key), Err(StoreError::Rollback { .. })));
    }

    #[test]
    fn a_checkpoint_of_another_key_or_a_changed_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        let (key, three) = signed(1, 3);
        let (_, foreign) = signed(2, 3);
        for wrong in [foreign.to_string(), three.to_string().replacen("\n3\n", "\n2\n", 1), String::new()] {
            fs::write(&path, wrong).unwrap();
            assert!(matches!(Outside::read(&path, &key), Err(StoreError::Corrupt(_))));
        }
        fs::write(&path, three.to_string()).unwrap();
        assert_eq!(Outside::read(&path, &key).unwrap().unwrap().known().size, 3);
    }
}
