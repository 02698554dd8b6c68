//! Which program a process runs: the file behind `/proc/PID/exe`, and the digest of its content.

use super::process::Unidentified;
use ring::digest::{Context, SHA256};
use rustix::{
    fs::fstatfs,
    time::{ClockId, clock_gettime},
};
use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    sync::{Mutex, PoisonError},
};
use strongroom::protocol::caller::Executable;

/// The largest file that is digested, bytes.
const LARGEST: u64 = 1 << 30;
/// Digests that are remembered.
const REMEMBERED: usize = 1024;
/// Attempts while a file changes under the agent.
const ATTEMPTS: usize = 3;
/// A file that changed this recently may change again without its times showing it, seconds.
const SETTLED: i64 = 2;
/// `FUSE_SUPER_MAGIC`: a process decides what is read, and may decide anew each time.
const FUSE: i64 = 0x6573_5546;
const DELETED: &str = " (deleted)";

/// Digests of executables, so that a program is read once.
#[derive(Default)]
pub(super) struct Digests {
    known: Mutex<HashMap<Version, String>>,
    /// One file is read at a time, whoever asks.
    reading: Mutex<()>,
}

/// A file as it is: whatever changes its content changes its `ctime`, which nobody can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    fn is_settled(&self) -> bool {
        clock_gettime(ClockId::Realtime).tv_sec.saturating_sub(self.changed.0) >= SETTLED
    }
}

impl Digests {
    /// The program that this process runs. The caller makes sure that the id is still the process's.
    pub(super) fn executable(&self, pid: i32) -> Result<Executable, Unidentified> {
        let link = format!("/proc/{pid}/exe");
        let path = fs::read_link(&link).map_err(Unidentified::reading("exe"))?;
        // Opened by the link, not by its text: it is the file itself, in whatever namespace.
        let file = File::open(&link).map_err(Unidentified::reading("exe"))?;
        let path = path.to_string_lossy().into_owned();
        if path.ends_with(DELETED) {
            tracing::info!(pid, path, "runs a program whose file was deleted or replaced");
        }
        // A package's upgrade deletes the file of what runs; the caller stays the same.
        let path = path.strip_suffix(DELETED).unwrap_or(&path).to_owned();
        Ok(Executable { path, sha256: self.digest(&file)? })
    }

    /// SHA-256 of a file, lower-case hex; `None` if its content cannot be vouched for.
    fn digest(&self, file: &File) -> Result<Option<String>, Unidentified> {
        let failed = Unidentified::reading("exe");
        let metadata = file.metadata().map_err(failed)?;
        let fuse = fstatfs(file).map_err(|e| Unidentified::reading("exe")(e.into()))?.f_type == FUSE;
        if !metadata.is_file() || metadata.size() > LARGEST || fuse {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            let version = Version::of(&file.metadata().map_err(Unidentified::reading("exe"))?);
            if let Some(known) = self.recall(&version) {
                return Ok(Some(known));
            }
            let _alone = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = self.recall(&version) {
                return Ok(Some(known));
            }
            let digest = read(file).map_err(Unidentified::reading("exe"))?;
            if Version::of(&file.metadata().map_err(Unidentified::reading("exe"))?) == version {
                self.remember(version, &digest);
                return Ok(Some(digest));
            }
        }
        Err(Unidentified::Changing)
    }

    fn recall(&self, version: &Version) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(version).cloned()
    }

    fn remember(&self, version: Version, digest: &str) {
        if !version.is_settled() {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(version, digest.to_owned());
    }
}

/// Reads from the beginning, whatever was read before.
fn read(file: &File) -> std::io::Result<String> {
    use std::os::unix::fs::FileExt as _;
    let (mut context, mut buffer, mut at) = (Context::new(&SHA256), vec![0; 1 << 20], 0);
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 || at > LARGEST {
            return Ok(hex::encode(context.finish()));
        }
        context.update(buffer.get(..read).unwrap_or_default());
        at += read as u64;
    }
}

/// A file of `/proc`, at most so many bytes of it.
pub(super) fn read_proc(pid: i32, name: &'static str) -> Result<String, Unidentified> {
    let mut text = Vec::new();
    let file = File::open(format!("/proc/{pid}/{name}")).map_err(Unidentified::reading(name))?;
    file.take(64 << 10).read_to_end(&mut text).map_err(Unidentified::reading(name))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write as _, os::unix::fs::FileExt as _, process};

    #[test]
    fn this_process_runs_the_program_of_this_test() {
        let own = std::env::current_exe().unwrap();
        let found = Digests::default().executable(process::id().cast_signed()).unwrap();
        assert_eq!(found.path, own.to_str().unwrap());
        let digest = ring::digest::digest(&SHA256, &fs::read(own).unwrap());
        assert_eq!(found.sha256.unwrap(), hex::encode(digest));
    }

    #[test]
    fn a_file_that_changed_has_another_digest_though_its_times_were_set_back() {
        let digests = Digests::default();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one").unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let first = digests.digest(&file).unwrap().unwrap();
        assert_eq!(digests.digest(&file).unwrap().unwrap(), first);
        file.write_all_at(b"two", 0).unwrap();
        file.set_modified(modified).unwrap();
        assert_ne!(digests.digest(&file).unwrap().unwrap(), first);
    }

    #[test]
    fn what_changed_a_moment_ago_is_not_remembered_and_what_is_old_is() {
        let digests = Digests::default();
        let file = tempfile::tempfile().unwrap();
        digests.digest(&file).unwrap();
        assert!(digests.known.lock().unwrap().is_empty());
        digests.digest(&File::open("/bin/sh").unwrap()).unwrap();
        assert_eq!(digests.known.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_vouched_for_has_no_digest() {
        let digests = Digests::default();
        let large = tempfile::tempfile().unwrap();
        large.set_len(LARGEST + 1).unwrap();
        assert_eq!(digests.digest(&large).unwrap(), None);
        assert_eq!(digests.digest(&File::open("/dev/null").unwrap()).unwrap(), None);
    }
}
