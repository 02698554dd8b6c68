//! Which program a process runs: the file behind `/proc/PID/exe`, and the digest of its content.

use super::{mounts, process::Unidentified};
use ring::digest::{Context, SHA256};
use rustix::{
    fs::{Mode, OFlags, open},
    time::{ClockId, clock_gettime},
};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, Metadata},
    io::Read as _,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
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
/// How long a request waits for its user's turn to have a file read.
const PATIENCE: Duration = Duration::from_secs(20);
/// Read so much at once, bytes.
const STEP: usize = 256 << 10;
const DELETED: &str = " (deleted)";

/// Digests of executables, so that a program is read once.
#[derive(Default)]
pub(super) struct Digests {
    known: Mutex<HashMap<Version, String>>,
    /// Users for whom a file is being read, one at a time: who keeps the agent reading, from a server that
    /// does not answer say, keeps himself waiting.
    reading: Mutex<HashSet<u32>>,
    read: Condvar,
}

/// A user's turn to have a file read.
struct Turn<'a> {
    digests: &'a Digests,
    uid: u32,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.digests.reading.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.uid);
        self.digests.read.notify_all();
    }
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
    /// The program that this user's process runs. The caller makes sure that the id is still the process's.
    pub(super) fn executable(&self, pid: i32, uid: u32) -> Result<Executable, Unidentified> {
        let link = format!("/proc/{pid}/exe");
        let path = fs::read_link(&link).map_err(Unidentified::reading("exe"))?;
        // By the link, not by its text: it is the file itself, in whatever namespace. And not for reading
        // yet: where a user serves the file, he would be asked, and could leave the agent without an answer.
        let file = open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let file = File::from(file.map_err(|e| Unidentified::reading("exe")(e.into()))?);
        let path = path.to_string_lossy().into_owned();
        if path.ends_with(DELETED) {
            tracing::info!(pid, path, "runs a program whose file was deleted or replaced");
        }
        // A package's upgrade deletes the file of what runs; the caller stays the same.
        let path = path.strip_suffix(DELETED).unwrap_or(&path).to_owned();
        let sha256 = if mounts::is_roots(&file, pid)? {
            let readable = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
            self.digest(&readable.map_err(Unidentified::reading("exe"))?, uid)?
        } else {
            tracing::info!(pid, path, "runs a program from a file system that is not the machine's: no digest");
            None
        };
        Ok(Executable { path, sha256 })
    }

    /// SHA-256 of a file, lower-case hex; `None` if its content cannot be vouched for.
    fn digest(&self, file: &File, uid: u32) -> Result<Option<String>, Unidentified> {
        let metadata = file.metadata().map_err(Unidentified::reading("exe"))?;
        if !metadata.is_file() || metadata.size() > LARGEST {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            let version = Version::of(&file.metadata().map_err(Unidentified::reading("exe"))?);
            if let Some(known) = self.recall(&version) {
                return Ok(Some(known));
            }
            let _turn = self.turn(uid, PATIENCE)?;
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

    fn turn(&self, uid: u32, patience: Duration) -> Result<Turn<'_>, Unidentified> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.read.wait_timeout_while(reading, patience, |reading| reading.contains(&uid));
        let (mut reading, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Unidentified::Slow);
        }
        reading.insert(uid);
        Ok(Turn { digests: self, uid })
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
    let (mut context, mut buffer, mut at) = (Context::new(&SHA256), vec![0; STEP], 0);
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

    const USER: u32 = 1000;

    #[test]
    fn this_process_runs_the_program_of_this_test() {
        let own = std::env::current_exe().unwrap();
        let found = Digests::default().executable(process::id().cast_signed(), USER).unwrap();
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
        let first = digests.digest(&file, USER).unwrap().unwrap();
        assert_eq!(digests.digest(&file, USER).unwrap().unwrap(), first);
        file.write_all_at(b"two", 0).unwrap();
        file.set_modified(modified).unwrap();
        assert_ne!(digests.digest(&file, USER).unwrap().unwrap(), first);
    }

    #[test]
    fn what_changed_a_moment_ago_is_not_remembered_and_what_is_old_is() {
        let digests = Digests::default();
        let file = tempfile::tempfile().unwrap();
        digests.digest(&file, USER).unwrap();
        assert!(digests.known.lock().unwrap().is_empty());
        digests.digest(&File::open("/bin/sh").unwrap(), USER).unwrap();
        assert_eq!(digests.known.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_is_read_without_end_holds_up_its_user_alone() {
        let digests = Digests::default();
        let endless = digests.turn(USER, Duration::ZERO).unwrap();
        assert!(matches!(digests.turn(USER, Duration::ZERO), Err(Unidentified::Slow)));
        digests.digest(&File::open("/bin/sh").unwrap(), USER + 1).unwrap().unwrap();
        // What is known already is not waited for.
        digests.digest(&File::open("/bin/sh").unwrap(), USER).unwrap().unwrap();
        drop(endless);
        digests.turn(USER, Duration::ZERO).unwrap();
    }

    #[test]
    fn what_cannot_be_vouched_for_has_no_digest() {
        let digests = Digests::default();
        let large = tempfile::tempfile().unwrap();
        large.set_len(LARGEST + 1).unwrap();
        assert_eq!(digests.digest(&large, USER).unwrap(), None);
        assert_eq!(digests.digest(&File::open("/dev/null").unwrap(), USER).unwrap(), None);
    }
}
