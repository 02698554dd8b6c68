//! What can go wrong with protected memory.

use std::io;

/// Why protected memory could not be had. Nothing was opened into weaker memory instead.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The size does not fit into the address space.
    #[error("{bytes} bytes are more than an address space holds")]
    TooLarge {
        /// Bytes asked for.
        bytes: usize,
    },
    /// There is not that much memory. Said before any page is touched, because the kernel would
    /// answer too large a claim by killing a process.
    #[error(
        "{needed} bytes of memory are needed and {available} are available ({bound}): \
         use a machine or a memory limit with more, or open fewer tensors at a time"
    )]
    NotEnoughMemory {
        /// Bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
        /// What sets the bound: `MemAvailable`, or the control group's `memory.max`.
        bound: &'static str,
    },
    /// The process may not lock that much memory, so it could reach swap.
    #[error(
        "{needed} bytes cannot be locked into memory: RLIMIT_MEMLOCK is {limit} bytes, {locked} are locked already. \
         Give the systemd unit LimitMEMLOCK=infinity (or at least {}) or AmbientCapabilities=CAP_IPC_LOCK; \
         in a shell have root start the program with `setpriv --inh-caps +ipc_lock --ambient-caps +ipc_lock`, \
         or raise the limit, as far as its hard bound allows, with `ulimit -l {}`",
        needed.saturating_add(*locked),
        needed.saturating_add(*locked).div_ceil(1024)
    )]
    LockLimit {
        /// Bytes to be locked.
        needed: u64,
        /// Bytes that the process holds locked already.
        locked: u64,
        /// `RLIMIT_MEMLOCK`, soft, in bytes.
        limit: u64,
    },
    /// The kernel has no `memfd_secret(2)`, or forbids it, and nothing less was accepted.
    #[error(
        "key pages from memfd_secret(2) are required, and the kernel refuses them ({source}): \
         it needs CONFIG_SECRETMEM, up to Linux 6.4 the boot option secretmem.enable=1, and a seccomp filter that lets it pass"
    )]
    NoMemfdSecret {
        /// `ENOSYS`, `EPERM` or `EACCES`.
        source: io::Error,
    },
    /// The kernel refused a call without which memory is not protected.
    #[error("the kernel refuses to {purpose} ({call}: {source})")]
    Refused {
        /// The system call, with its decisive argument.
        call: &'static str,
        /// What it was for, as in "refuses to ...".
        purpose: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// A protection that was in force has been lifted since, by the process itself or by its privileges changing.
    #[error("{protection} is no longer in force: call harden_process() after every change of user, and do not lift it")]
    Lifted {
        /// Which.
        protection: &'static str,
    },
    /// The memory belongs to the parent process: children do not inherit protected memory.
    #[error(
        "this memory belongs to the parent process; open the asset again in the forked child, or start children with spawn"
    )]
    Forked,
}

impl MemoryError {
    /// The calling thread's last error, as a refusal of `call`.
    pub(crate) fn refused(call: &'static str, purpose: &'static str) -> Self {
        Self::Refused { call, purpose, source: io::Error::last_os_error() }
    }
}
