//! Keeping a whole process out of core dumps and debuggers.

use crate::error::MemoryError;

/// Proof that the process was hardened; see [`harden_process`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Hardening {}

/// Makes the process undumpable (`PR_SET_DUMPABLE`) and sets its core limit to zero, hard and soft,
/// so that it leaves no core, and so that other processes of the same user can neither trace it
/// nor read its memory. Idempotent. To be called before the first secret arrives, and again after
/// a change of user.
///
/// From then on `/proc/self/mem` and its like belong to root: an unprivileged process can no
/// longer open its own, and profilers of the same user no longer attach.
///
/// # Errors
/// [`MemoryError::Refused`] if the kernel refuses.
pub fn harden_process() -> Result<Hardening, MemoryError> {
    // The limit first: it cannot be raised again, even if the second call failed.
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a live rlimit, and the call only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } != 0 {
        return Err(MemoryError::refused("setrlimit(RLIMIT_CORE)", "set the core limit to zero"));
    }
    let off: libc::c_ulong = 0;
    // SAFETY: PR_SET_DUMPABLE takes one integer and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, off, off, off, off) } != 0 {
        return Err(MemoryError::refused("prctl(PR_SET_DUMPABLE)", "make the process undumpable"));
    }
    let hardening = Hardening {};
    hardening.check()?;
    Ok(hardening)
}

impl Hardening {
    /// Asks the kernel whether all of it is still in force: a change of user, or anyone in the
    /// process, can make it dumpable again.
    ///
    /// # Errors
    /// [`MemoryError::Lifted`] names what is not.
    pub fn check(self) -> Result<(), MemoryError> {
        // SAFETY: PR_GET_DUMPABLE takes no further arguments and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } != 0 {
            return Err(MemoryError::Lifted { protection: "exclusion from core dumps and tracing (PR_SET_DUMPABLE)" });
        }
        let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        // SAFETY: `limit` is a live, writable rlimit.
        let asked = unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
        if asked != 0 || limit.rlim_cur != 0 {
            return Err(MemoryError::Lifted { protection: "the core limit of zero (RLIMIT_CORE)" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_limit_above_zero_is_noticed() {
        let mut core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: plain system calls on live values; the child leaves by `_exit`.
        let child = unsafe {
            libc::getrlimit(libc::RLIMIT_CORE, &raw mut core);
            libc::fork()
        };
        if child == 0 {
            let refused = |limit| {
                let core = libc::rlimit { rlim_cur: limit, ..core };
                // SAFETY: as above.
                let set = unsafe {
                    libc::setrlimit(libc::RLIMIT_CORE, &raw const core) + libc::prctl(libc::PR_SET_DUMPABLE, 0)
                };
                set == 0 && Hardening {}.check().is_err()
            };
            // Where the hard limit is zero there is nothing to notice.
            let told = (refused(core.rlim_max) || core.rlim_max == 0) && !refused(0);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(told)) };
        }
        let mut status = 0;
        // SAFETY: `status` is live, and the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1);
    }
}
