//! The caller: which process of a node asked, as the node's agent saw it.
//!
//! The agent writes the *caller bytes*: [`Caller`] as RFC 8785 JSON. Evidence binds them, the vault
//! hashes what it received, and policy reads them as `input.caller`. They stay the same for as long as
//! the process runs the same program as the same user in the same control group: a renewal on evidence
//! needs the very same bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of [`Caller`] that agents write.
pub const CALLER_VERSION: u8 = 1;

/// A process, by what the kernel of its node says of it. Nothing comes from its environment or arguments.
///
/// The fields stand in the order of RFC 8785, so that [`Caller::to_bytes`] needs no sorting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The kernel's boot id: with `pid` and `started`, no other process ever had the same three.
    pub boot_id: String,
    /// Its control group's path in the unified hierarchy, from the root; empty where there is none.
    pub cgroup: String,
    /// The program that it runs.
    pub exe: Executable,
    /// Its group: real, effective, saved and file system's, which are the same.
    pub gid: u32,
    /// Its process id, as the agent sees it.
    pub pid: u32,
    /// The Kubernetes pod that it runs in, by its control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// The Slurm job that it runs in, by its control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm_job: Option<SlurmJob>,
    /// When it was started: clock ticks since the boot (`proc_pid_stat(5)`, field 22).
    pub started: u64,
    /// Its user: real, effective, saved and file system's, which are the same.
    pub uid: u32,
    /// The unit of the system's service manager that it runs in, by its control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Always 1.
    pub v: u8,
}

/// The file that a process executes. For a script it is the interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Executable {
    /// Where the process's own mount namespace has it, or had it. For people: whoever may mount can choose it.
    pub path: String,
    /// SHA-256 of its content, lower-case hex; null where its content cannot be vouched for: on a file
    /// system that a user's process serves, or above the agent's cap.
    pub sha256: Option<String>,
}

/// A Kubernetes pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    /// The container's id, where the control group names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The pod's UID, with hyphens.
    pub uid: String,
}

/// A Slurm job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlurmJob {
    /// The job's id.
    pub id: u64,
    /// The step: a number, `batch`, `extern` or `interactive`.
    pub step: String,
}

impl Caller {
    /// The caller bytes.
    ///
    /// # Errors
    /// None for a value of this type; the error is that of the serialiser.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Caller {
        Caller {
            boot_id: "fc6913e2-4563-4d45-9c7a-8d881c501d95".into(),
            cgroup: "/system.slice/a\"\n\u{e9}.service".into(),
            exe: Executable { path: "/usr/bin/python3.11".into(), sha256: Some("ab".repeat(32)) },
            gid: 1000,
            pid: 4242,
            pod: Some(Pod { container: Some("c1".into()), uid: "u1".into() }),
            slurm_job: Some(SlurmJob { id: 77, step: "batch".into() }),
            started: 123_456,
            uid: 1000,
            unit: Some("a.service".into()),
            v: CALLER_VERSION,
        }
    }

    /// A JSON object of serde sorts its keys, as RFC 8785 does for ASCII ones.
    #[test]
    fn the_bytes_are_canonical() {
        for caller in [whole(), Caller { pod: None, slurm_job: None, unit: None, ..whole() }] {
            let bytes = caller.to_bytes().unwrap();
            let sorted = serde_json::to_vec(&serde_json::to_value(&caller).unwrap()).unwrap();
            assert_eq!(String::from_utf8(bytes.clone()).unwrap(), String::from_utf8(sorted).unwrap());
            assert_eq!(serde_json::from_slice::<Caller>(&bytes).unwrap(), caller);
        }
    }
}
