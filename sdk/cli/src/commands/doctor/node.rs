//! What only trying tells: this process's memory, the node's devices, the vault, file modes.

use super::findings::Findings;
use crate::{
    agent::open_devices,
    context::{Context, is_there, read_json},
    times,
};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};
use strongroom::{
    Error,
    collect::{
        AgentAddress, AgentAttester, Attester, CollectError, Collector, CollectorConfig, NodeConfig, agent::SOCKET,
    },
    memory::{KeyPages, KeyPagesPreference, MemoryError, Protection, harden_process},
    protocol::{
        challenge::{Challenge, ChallengeRequest, Purpose},
        evidence::EvidenceKind,
    },
};

/// Seconds that a nonce lives, by the protocol.
const NONCE_LIFE: u64 = 60;
/// Seconds by which this machine's clock may differ from the vault's.
const CLOCK_TOLERANCE: u64 = 5;
/// Seconds from which certificates are misjudged and records cannot be followed.
const CLOCK_WRONG: u64 = 3600;
/// Seconds that the doctor waits for one operation of a TPM.
const TPM_PATIENCE: u64 = 20;

/// For files that hold no secret.
const LEGIBLE: &str = "it holds no secret: chmod 0644 it, and run this as the user that runs jobs";
const AS_THE_JOB: &str = "run this as the user that runs jobs, whose --home it looks at";

/// Whether this user may not read a file that is there.
fn is_closed(path: &Path) -> bool {
    fs::File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// Key pages and hardening, as a job of this user would have them.
pub(super) fn process(findings: &mut Findings) {
    match harden_process() {
        Ok(_) => findings.ok("hardening", "undumpable, core limit 0: no core, no tracing by the same user"),
        Err(error) => {
            findings.fail("hardening", error.to_string(), "allow prctl(2) and setrlimit(2) in the seccomp filter");
        }
    }
    let secret = Protection::default().with_key_pages(KeyPagesPreference::MemfdSecret);
    memfd_secret(KeyPages::new(&secret).map(drop), findings);
}

fn memfd_secret(tried: Result<(), MemoryError>, findings: &mut Findings) {
    const CHECK: &str = "memfd_secret";
    match tried {
        Ok(()) => findings.ok(CHECK, "keys lie in pages that even root cannot read"),
        Err(error @ MemoryError::NoMemfdSecret { .. }) => findings.warn(
            CHECK,
            format!("keys lie in locked anonymous pages, which root can read: {error}"),
            "boot with secretmem.enable=1 (before Linux 6.5), let memfd_secret(2) through seccomp filters; \
             a policy with `secret_key_pages` releases nothing to this node until then",
        ),
        Err(error) => findings.fail(CHECK, error.to_string(), "see memlock"),
    }
}

/// Where evidence comes from: the agent, or this process.
pub(super) fn evidence(context: &Context, findings: &mut Findings) {
    const CHECK: &str = "evidence";
    let path = context.node_path();
    // In the order in which a job looks: what was named, what a launcher names, the configuration, the usual place.
    if let Some(AgentAddress::Path(socket)) = context.agent() {
        return agent(socket, findings);
    }
    if let Ok(Some(AgentAddress::Path(socket))) = AgentAddress::from_environment() {
        return agent(&socket, findings);
    }
    let there = match is_there(&path) {
        Ok(there) => there,
        Err(failure) => return findings.fail(CHECK, failure.message, AS_THE_JOB),
    };
    if !there && Path::new(SOCKET).exists() {
        return agent(Path::new(SOCKET), findings);
    }
    if !there {
        return findings.fail(
            CHECK,
            format!("{} is not there: this machine is not enrolled", path.display()),
            "strongroom node enroll, then approval by an operator",
        );
    }
    match read_json(&path) {
        Ok(NodeConfig::Agent(config)) => agent(&config.agent, findings),
        Ok(NodeConfig::Devices(config)) => {
            if config.devices.contains(&EvidenceKind::Tpm2) {
                tpm(config, findings);
            }
            if Path::new(SOCKET).exists() {
                findings.warn(
                    "agent",
                    format!("{SOCKET} is there, and {} does not use it", path.display()),
                    format!(
                        "let {} hold {{\"agent\": \"{SOCKET}\"}}, unless the node runs a single job",
                        path.display()
                    ),
                );
            } else {
                findings.ok("agent", "none: evidence is collected in process, as on a node that runs a single job");
            }
        }
        Err(failure) if is_closed(&path) => findings.fail(CHECK, failure.message, LEGIBLE),
        Err(failure) => findings.fail(CHECK, failure.message, "correct the file, or enrol again"),
    }
}

/// The devices that this process opens itself; `None` where an agent has them, or nothing is configured.
pub(super) fn in_process(context: &Context) -> Option<CollectorConfig> {
    if context.agent().is_some() || AgentAddress::from_environment() != Ok(None) {
        return None;
    }
    match read_json(&context.node_path()) {
        Ok(NodeConfig::Devices(config)) => {
            Some(CollectorConfig { tpm_timeout_s: config.tpm_timeout_s.min(TPM_PATIENCE), ..config })
        }
        _ => None,
    }
}

fn tpm(config: CollectorConfig, findings: &mut Findings) {
    let config = CollectorConfig { tpm_timeout_s: config.tpm_timeout_s.min(TPM_PATIENCE), ..config };
    let place = format!("{}, AK in {}", config.tcti, config.state_dir.display());
    match Collector::open_enrolled(&config) {
        Ok(_) => findings.ok("tpm", format!("{place}: the AK is this TPM's")),
        Err(error) => {
            let remedy = match &error {
                CollectError::DevicePermission { .. } | CollectError::AkFile { .. } => {
                    "jobs that share a node need neither: let node.json name the agent; on a node of a single job, run \
                     as the user that enrolled it, in the device's group (often tss)"
                }
                _ => "the message names what is missing; a TPM that was replaced or cleared needs another enrolment",
            };
            findings.fail("tpm", format!("{place}: {error}"), remedy);
        }
    }
}

fn agent(socket: &Path, findings: &mut Findings) {
    const CHECK: &str = "agent";
    for device in open_devices() {
        findings.fail(
            CHECK,
            format!("this user can open {}, and so name any caller: the agent proves nothing", device.display()),
            "take the user out of the device's group (often tss)",
        );
    }
    match fs::metadata(socket) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return findings.fail(
                CHECK,
                format!("{} is no socket", socket.display()),
                "start the agent: systemctl start strongroom-agent.socket",
            );
        }
        Err(error) => {
            return findings.fail(
                CHECK,
                format!("{}: {error}", socket.display()),
                "start the agent: systemctl start strongroom-agent.socket; its directory has to be open to this user",
            );
        }
    }
    match AgentAttester::at(socket.to_owned()).caller() {
        Ok(_) => findings.ok(CHECK, format!("{} knows this process", socket.display())),
        Err(error @ CollectError::AgentPermission { .. }) => findings.fail(
            CHECK,
            error.to_string(),
            "usermod -aG strongroom-jobs USER, as root; it counts from the user's next login",
        ),
        Err(error) => findings.fail(
            CHECK,
            format!("{}: {error}", socket.display()),
            "see the agent's log: journalctl -u strongroom-agent",
        ),
    }
}

/// Whether the vault answers, is the one that is pinned, and has the same time.
pub(super) fn vault(context: &Context, findings: &mut Findings) {
    const CHECK: &str = "vault";
    let vault = match context.glance() {
        Ok(vault) => vault,
        Err(failure) => {
            let path = context.join_path();
            let remedy = match is_there(&path) {
                Ok(false) => "strongroom join FILE, with the file that the vault's operator gives out",
                Ok(true) if is_closed(&path) => LEGIBLE,
                Ok(true) => "join with the file of the right vault, start the vault, or open the network to it",
                Err(_) => AS_THE_JOB,
            };
            return findings.fail(CHECK, failure.message, remedy);
        }
    };
    findings.ok(CHECK, format!("{} answers, and is pinned", vault.info().vault_id));
    let challenge: Result<Challenge, Error> =
        vault.post("/v1/challenges", &ChallengeRequest { purpose: Purpose::Possession });
    match challenge {
        Ok(challenge) => {
            let there = challenge.nonce.expiry().saturating_sub(NONCE_LIFE);
            let here = u64::try_from(times::now().unix_timestamp()).unwrap_or(0);
            clock(here, there, findings);
        }
        Err(error) => {
            findings.warn(CHECK, format!("it gives no nonce now: {error}"), "see the vault's log; it may be locked");
        }
    }
}

/// Leases are counted on a clock that nobody sets; certificates and records are not.
fn clock(here: u64, there: u64, findings: &mut Findings) {
    const CHECK: &str = "clock";
    const REMEDY: &str = "synchronise both with NTP or PTP: systemctl enable --now systemd-timesyncd";
    let apart = here.abs_diff(there);
    let found = format!("{apart} s from the vault's");
    if apart <= CLOCK_TOLERANCE {
        findings.ok(CHECK, found);
    } else if apart <= CLOCK_WRONG {
        findings.warn(CHECK, found, REMEDY);
    } else {
        findings.fail(CHECK, found, REMEDY);
    }
}

/// What others may read or write that they must not.
pub(super) fn files(context: &Context, findings: &mut Findings) {
    // Whoever writes the join file chooses the vault; whoever has the AK's file quotes with it.
    for (path, forbidden) in [
        (context.join_path(), 0o022),
        (context.node_path(), 0o022),
        (context.state_dir(), 0o077),
        (context.token_path(), 0o077),
    ] {
        mode(&path, forbidden, findings);
    }
}

fn mode(path: &Path, forbidden: u32, findings: &mut Findings) {
    const CHECK: &str = "file modes";
    // What is not there is told by those who need it.
    let Ok(seen) = fs::metadata(path) else { return };
    let mode = seen.permissions().mode() & 0o777;
    let owner = seen.uid();
    let mine = [0, rustix::process::geteuid().as_raw()].contains(&owner);
    let found = format!("{} has mode {mode:04o} and belongs to user {owner}", path.display());
    if mode & forbidden == 0 && mine {
        findings.ok(CHECK, found);
    } else if mine {
        findings.fail(
            CHECK,
            format!("{found}: others may use it"),
            format!("chmod {:04o} {}", mode & !forbidden, path.display()),
        );
    } else {
        findings.fail(CHECK, found, format!("chown it to the user that runs jobs, or to root: {}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::findings::Verdict, *};
    use std::{fs::Permissions, io};

    fn found(look: impl FnOnce(&mut Findings)) -> Verdict {
        let mut findings = Findings::default();
        look(&mut findings);
        assert_eq!(findings.0.len(), 1, "{findings:?}");
        assert_eq!(findings.0[0].remedy.is_some(), findings.0[0].verdict != Verdict::Ok);
        findings.0[0].verdict
    }

    #[test]
    fn clocks_may_differ_by_a_little() {
        for (here, there, verdict) in [
            (100, 100, Verdict::Ok),
            (105, 100, Verdict::Ok),
            (100, 106, Verdict::Warn),
            (3700, 100, Verdict::Warn),
            (100, 3701, Verdict::Fail),
        ] {
            assert_eq!(found(|findings| clock(here, there, findings)), verdict, "{here} {there}");
        }
    }

    #[test]
    fn a_kernel_without_secret_pages_is_a_warning_and_no_pages_at_all_a_failure() {
        let missing = || MemoryError::NoMemfdSecret { source: io::Error::from_raw_os_error(38) };
        assert_eq!(found(|f| memfd_secret(Ok(()), f)), Verdict::Ok);
        assert_eq!(found(|f| memfd_secret(Err(missing()), f)), Verdict::Warn);
        let limit = MemoryError::LockLimit { needed: 16384, locked: 0, limit: 0 };
        assert_eq!(found(|f| memfd_secret(Err(limit), f)), Verdict::Fail);
    }

    #[test]
    fn files_that_others_may_use_are_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = |bits: u32, forbidden: u32| {
            fs::set_permissions(file.path(), Permissions::from_mode(bits)).unwrap();
            found(|findings| mode(file.path(), forbidden, findings))
        };
        assert_eq!(
            (with(0o600, 0o077), with(0o640, 0o077), with(0o602, 0o077)),
            (Verdict::Ok, Verdict::Fail, Verdict::Fail)
        );
        assert_eq!((with(0o644, 0o022), with(0o664, 0o022)), (Verdict::Ok, Verdict::Fail));
        let mut findings = Findings::default();
        mode(Path::new("/nothing/there"), 0o077, &mut findings);
        assert!(findings.0.is_empty());
    }

    #[test]
    fn an_agent_that_is_not_there_is_a_failure() {
        assert_eq!(found(|findings| agent(Path::new("/nothing/there.sock"), findings)), Verdict::Fail);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(found(|findings| agent(file.path(), findings)), Verdict::Fail);
    }
}
