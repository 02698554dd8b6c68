//! What the agent gives up before it serves.

use crate::output::{Exit, Failure};
use rustix::{
    fs::Mode,
    process::{geteuid, umask},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};
use std::{fs, path::Path};
use strongroom::memory::harden_process;

/// Inodes of the initial process-id and user namespaces (`include/uapi/linux/nsfs.h`); they do not change.
const INITIAL: [(&str, &str); 2] = [("pid", "pid:[4026531836]"), ("user", "user:[4026531837]")];

/// Gives up all capabilities but those that identify callers; no core, no tracing by others of this user,
/// no files for others, no new rights. For the calling thread and those that it starts from now on.
pub(crate) fn confine() -> Result<(), Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Failure::new(Exit::Machine, format!("{what}: {error}"));
    harden_process().map_err(strongroom::Error::from)?;
    umask(Mode::from_raw_mode(0o077));
    set_no_new_privs(true).map_err(|e| failed("setting no_new_privs", &e))?;
    let has = capabilities(None).map_err(|e| failed("reading capabilities", &e))?;
    let kept = has.permitted & needed(geteuid().is_root());
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(|e| failed("dropping capabilities", &e))?;
    if !kept.contains(CapabilitySet::SYS_PTRACE) {
        tracing::warn!("without CAP_SYS_PTRACE, callers that have hardened themselves cannot be identified");
    }
    Ok(())
}

/// To look at processes that protect themselves, and to read their programs and the boot log. Root that
/// has nothing else could not open a TPM that belongs to the user `tss`.
fn needed(root: bool) -> CapabilitySet {
    let needed = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    if root { needed | CapabilitySet::DAC_OVERRIDE } else { needed }
}

/// Whether process ids and user ids are those of the whole machine. Elsewhere the kernel tells of senders
/// outside neither.
pub(crate) fn initial_namespaces() -> Result<(), Failure> {
    for (kind, initial) in INITIAL {
        let found =
            fs::read_link(Path::new("/proc/self/ns").join(kind)).map_err(|e| Failure::file("/proc/self/ns", e))?;
        if found.as_os_str() != initial {
            return Err(Failure::new(
                Exit::Machine,
                format!(
                    "the agent runs in a {kind} namespace of its own, where it cannot tell who asks: run it on the \
                     host (in Kubernetes with hostPID), or give --accept-namespaces if nobody outside can connect"
                ),
            ));
        }
    }
    Ok(())
}
