//! A process that asks: held by a pidfd, so that its id cannot become another's unnoticed.

use super::{
    control_group::Placement,
    executable::{Digests, read_proc},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::UCred,
    process::{PidfdFlags, pidfd_open},
};
use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    os::fd::OwnedFd,
    path::PathBuf,
};
use strongroom::protocol::{
    caller::{CALLER_VERSION, Caller},
    sha256,
};

/// Why the agent cannot say who a process is.
#[derive(Debug)]
pub(super) enum Unidentified {
    /// It ended.
    Gone,
    /// It runs another program than a moment ago.
    Replaced,
    /// The agent may not look.
    NotPermitted { file: &'static str },
    /// Its file in `/proc` says something unexpected, or nothing.
    Unreadable { file: &'static str, why: String },
    /// Real, effective, saved and file-system ids are not the same.
    SeveralUsers,
    /// What sent the message was another user, by the credentials that came with it.
    AnotherUser,
    /// It is in another user namespace than the agent, where a user is root, and may do what only root may.
    OwnNamespace,
    /// Its executable keeps changing.
    Changing,
    /// Another executable of its user is still being read.
    Slow,
}

impl Unidentified {
    /// What reading a file of `/proc` means for who the process is.
    pub(super) fn reading(file: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::SRCH | Errno::NOENT) => Self::Gone,
            Some(Errno::ACCESS | Errno::PERM) => Self::NotPermitted { file },
            _ => Self::Unreadable { file, why: error.to_string() },
        }
    }
}

impl std::fmt::Display for Unidentified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("the process that sent this has ended"),
            Self::Replaced => f.write_str("the process runs another program than when it was asked who it is"),
            Self::NotPermitted { file } => write!(
                f,
                "the agent may not read /proc/PID/{file}; give it CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, as its unit does"
            ),
            Self::Unreadable { file, why } => write!(f, "/proc/PID/{file} cannot be used: {why}"),
            Self::SeveralUsers => f.write_str(
                "the process has several user or group ids (a set-user-id program?); which of them asks cannot be said",
            ),
            Self::AnotherUser => f.write_str("the credentials of the message are not those of the process"),
            Self::OwnNamespace => f.write_str(
                "the process runs in a user namespace of its own, whose root can have it named as another: start it \
                 in the machine's (no rootless container, no `unshare --user`)",
            ),
            Self::Changing => f.write_str("the process's executable keeps changing"),
            Self::Slow => f.write_str("another program of this user is still being read; is its file system away?"),
        }
    }
}

/// An identified process.
pub(super) struct Process {
    credentials: UCred,
    /// Refers to the process itself, not to its id.
    held: OwnedFd,
    /// Its address space: reads as empty once the process runs another program or has ended.
    program: File,
    pub(super) facts: Caller,
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: [u8; 32],
}

impl Process {
    /// Takes hold of the process that these credentials name, and asks the kernel who it is. What was
    /// read is of one process and one program, or there is none.
    pub(super) fn hold(credentials: UCred, digests: &Digests, boot_id: &str) -> Result<Self, Unidentified> {
        let held =
            pidfd_open(credentials.pid, PidfdFlags::empty()).map_err(|e| Unidentified::reading("pidfd")(e.into()))?;
        let pid = credentials.pid.as_raw_pid();
        let program = File::open(format!("/proc/{pid}/maps")).map_err(Unidentified::reading("maps"))?;
        let facts = facts(credentials, digests, boot_id)?;
        let unreadable = |e: serde_json::Error| Unidentified::Unreadable { file: "", why: e.to_string() };
        let bytes = facts.to_bytes().map_err(unreadable)?;
        let mut process = Self { credentials, held, program, sha256: sha256(&bytes), facts, bytes };
        process.check(credentials)?;
        Ok(process)
    }

    /// A message with these credentials came from this process, which lives and runs the program that it
    /// ran when it was taken hold of, provided that the message was sent since.
    pub(super) fn check(&mut self, credentials: UCred) -> Result<(), Unidentified> {
        if credentials != self.credentials {
            return Err(Unidentified::AnotherUser);
        }
        // In this order: a process that ended has no address space either.
        if !self.lives() {
            return Err(Unidentified::Gone);
        }
        let mut byte = [0];
        self.program.rewind().map_err(Unidentified::reading("maps"))?;
        match self.program.read(&mut byte) {
            Ok(0) => Err(if self.lives() { Unidentified::Replaced } else { Unidentified::Gone }),
            Ok(_) => Ok(()),
            Err(error) => Err(Unidentified::reading("maps")(error)),
        }
    }

    /// Whether what is known of it still holds.
    pub(super) fn is_as_it_was(&mut self, digests: &Digests, boot_id: &str) -> Result<bool, Unidentified> {
        let now = facts(self.credentials, digests, boot_id)?;
        self.check(self.credentials)?;
        Ok(now == self.facts)
    }

    fn lives(&self) -> bool {
        let mut ended = [PollFd::new(&self.held, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error counts as its end.
        poll(&mut ended, Some(&now)).is_ok_and(|events| events == 0)
    }
}

/// What the kernel says of a process id; whose it is, the caller of this makes sure.
fn facts(credentials: UCred, digests: &Digests, boot_id: &str) -> Result<Caller, Unidentified> {
    let pid = credentials.pid.as_raw_pid();
    if user_namespace(&pid.to_string())? != user_namespace("self")? {
        return Err(Unidentified::OwnNamespace);
    }
    let started = started(&read_proc(pid, "stat")?)?;
    let status = read_proc(pid, "status")?;
    let (uid, gid) = (sole_id(&status, "Uid:")?, sole_id(&status, "Gid:")?);
    if (uid, gid) != (credentials.uid.as_raw(), credentials.gid.as_raw()) {
        return Err(Unidentified::AnotherUser);
    }
    let placement = Placement::of(&read_proc(pid, "cgroup")?)
        .ok_or_else(|| Unidentified::Unreadable { file: "cgroup", why: "its path is too long".to_owned() })?;
    Ok(Caller {
        boot_id: boot_id.to_owned(),
        cgroup: placement.path,
        exe: digests.executable(pid, uid)?,
        gid,
        pid: pid.unsigned_abs(),
        pod: placement.pod,
        slurm_job: placement.slurm_job,
        started,
        uid,
        unit: placement.unit,
        v: CALLER_VERSION,
    })
}

/// The user namespace of a process, by its name for people, which is also unique. A process can leave one
/// only for one below it.
///
/// Whoever is root in a user namespace may have the kernel name other processes as senders of his messages,
/// those in process namespaces that belong to it (`scm_check_creds`), and other files as what processes in it
/// execute (`PR_SET_MM`). Processes in the agent's user namespace are in no such process namespace: only root
/// could have put them there.
fn user_namespace(pid: &str) -> Result<PathBuf, Unidentified> {
    fs::read_link(format!("/proc/{pid}/ns/user")).map_err(Unidentified::reading("ns/user"))
}

/// Field 22 of `/proc/PID/stat`. The second, the program's name, may hold anything, parentheses too.
fn started(stat: &str) -> Result<u64, Unidentified> {
    let after = stat.rsplit_once(')').map(|(_, after)| after).unwrap_or_default();
    // After the name comes field 3.
    let field = after.split_whitespace().nth(22 - 3).and_then(|field| field.parse().ok());
    field.ok_or_else(|| Unidentified::Unreadable { file: "stat", why: "it has no start time".to_owned() })
}

/// The id of a line of `/proc/PID/status` with real, effective, saved and file-system ids.
fn sole_id(status: &str, name: &str) -> Result<u32, Unidentified> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let ids: Option<Vec<u32>> = line.map(|l| l.split_whitespace().map_while(|id| id.parse().ok()).collect());
    match ids.as_deref() {
        Some([real, others @ ..]) if others.len() == 3 => {
            if others.iter().all(|id| id == real) {
                Ok(*real)
            } else {
                Err(Unidentified::SeveralUsers)
            }
        }
        _ => Err(Unidentified::Unreadable { file: "status", why: "it names no ids".to_owned() }),
    }
}

/// The boot that this kernel is of.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, getgid, getuid};
    use std::process::{Child, Command, Stdio};

    const BOOT: &str = "boot";

    fn credentials(pid: u32) -> UCred {
        UCred { pid: Pid::from_raw(pid.cast_signed()).unwrap(), uid: getuid(), gid: getgid() }
    }

    fn hold(pid: u32) -> Result<Process, Unidentified> {
        Process::hold(credentials(pid), &Digests::default(), BOOT)
    }

    /// A shell that waits for a line, runs another program on one, and ends without one.
    fn child(then: &str) -> Child {
        let mut child = Command::new("sh");
        child.args(["-c", &format!("echo up; read line; {then}")]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        said(&mut child);
        child
    }

    fn said(child: &mut Child) {
        let mut byte = [0];
        while byte != *b"\n" {
            child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        }
    }

    fn tell(child: &mut Child) {
        use std::io::Write as _;
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    #[test]
    fn a_process_is_the_same_for_as_long_as_it_lives() {
        let mut child = child("exit");
        let (mut process, again) = (hold(child.id()).unwrap(), hold(child.id()).unwrap());
        assert_eq!(process.bytes, again.bytes);
        assert_eq!((process.facts.pid, process.facts.uid), (child.id(), getuid().as_raw()));
        assert!(process.facts.exe.sha256.is_some() && process.facts.started > 0);
        process.check(credentials(child.id())).unwrap();
        assert!(process.is_as_it_was(&Digests::default(), BOOT).unwrap());
        assert!(!process.is_as_it_was(&Digests::default(), "another").unwrap());

        tell(&mut child);
        child.wait().unwrap();
        // Reaped: another process may have the id at any moment, and it is not this one.
        assert!(matches!(process.check(credentials(child.id())), Err(Unidentified::Gone)));
        assert!(matches!(hold(child.id()), Err(Unidentified::Gone)));
    }

    #[test]
    fn a_process_that_ended_and_was_not_reaped_is_gone() {
        let mut child = child("exit");
        let mut process = hold(child.id()).unwrap();
        tell(&mut child);
        // The end of its output comes before its end; a pidfd tells when that is there.
        poll(&mut [PollFd::new(&process.held, PollFlags::IN)], None).unwrap();
        assert!(matches!(process.check(credentials(child.id())), Err(Unidentified::Gone)));
        child.wait().unwrap();
    }

    /// Another process under the id of one that has ended, as far as the kernel lets this test choose ids.
    #[test]
    #[expect(clippy::print_stderr, reason = "who reads the test's output should know that it did nothing")]
    fn an_id_that_is_used_again_is_not_the_process_that_had_it() {
        let last_id = std::path::Path::new("/proc/sys/kernel/ns_last_pid");
        let mut first = child("exit");
        let (id, mut held) = (first.id(), hold(first.id()).unwrap());
        tell(&mut first);
        first.wait().unwrap();
        for _ in 0..50 {
            if fs::write(last_id, (id - 1).to_string()).is_err() {
                return eprintln!("skipped: an id that is used again: {} cannot be written", last_id.display());
            }
            let mut second = child("exit");
            if second.id() == id {
                assert!(matches!(held.check(credentials(id)), Err(Unidentified::Gone)));
                // It is somebody, but not who was held.
                hold(id).unwrap().check(credentials(id)).unwrap();
            }
            tell(&mut second);
            let taken = second.id() == id;
            second.wait().unwrap();
            if taken {
                return;
            }
        }
        eprintln!("skipped: an id that is used again: others were faster, fifty times");
    }

    #[test]
    fn another_program_in_the_same_process_is_noticed() {
        // The very same program, started anew: id, user, start time and file are what they were.
        let mut child = child("exec sh -c 'echo up; read line'");
        let mut process = hold(child.id()).unwrap();
        tell(&mut child);
        said(&mut child);
        assert_eq!(hold(child.id()).unwrap().bytes, process.bytes);
        assert!(matches!(process.check(credentials(child.id())), Err(Unidentified::Replaced)));
        tell(&mut child);
        child.wait().unwrap();
    }

    #[test]
    fn credentials_that_are_not_the_processs_are_refused() {
        let mut child = child("exit");
        let mut other = credentials(child.id());
        other.uid = rustix::process::Uid::from_raw(getuid().as_raw() ^ 1);
        assert!(matches!(Process::hold(other, &Digests::default(), BOOT), Err(Unidentified::AnotherUser)));
        let mut process = hold(child.id()).unwrap();
        assert!(matches!(process.check(other), Err(Unidentified::AnotherUser)));
        assert!(matches!(process.check(credentials(std::process::id())), Err(Unidentified::AnotherUser)));
        tell(&mut child);
        child.wait().unwrap();
    }

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let stat =
            |name: &str| format!("12 ({name}) S {}", (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
        for name in ["sh", "a b", ") R 1 2 3 (", "))))"] {
            assert_eq!(started(&stat(name)).unwrap(), 22, "{name}");
        }
        assert!(started("12 (sh) S 4 5").is_err());
        assert!(started("").is_err());
    }

    #[test]
    fn several_ids_are_nobody() {
        let of = |line: &str| sole_id(&format!("Name:\tx\nUid:\t{line}\nGid:\t9\n"), "Uid:");
        assert_eq!(of("1000\t1000\t1000\t1000").unwrap(), 1000);
        for several in ["1000\t0\t0\t0", "1000\t1000\t0\t1000", "1000\t1000\t1000\t0"] {
            assert!(matches!(of(several), Err(Unidentified::SeveralUsers)), "{several}");
        }
        for wrong in ["", "1000", "1000\tx\t1000\t1000"] {
            assert!(matches!(of(wrong), Err(Unidentified::Unreadable { .. })), "{wrong}");
        }
    }
}
