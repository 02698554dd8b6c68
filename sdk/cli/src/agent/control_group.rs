//! Where a process runs, by its control group.
//!
//! Only layouts that begin at the root of the hierarchy count. Users may own groups further down (a
//! user's service manager, a delegated scope) and name what they make there as they like.

use strongroom::protocol::caller::{Pod, SlurmJob};

/// Longest path that is kept, bytes.
const LONGEST: usize = 4096;

/// What a control group says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) path: String,
    pub(super) unit: Option<String>,
    pub(super) slurm_job: Option<SlurmJob>,
    pub(super) pod: Option<Pod>,
}

impl Placement {
    /// Reads `/proc/PID/cgroup`: the line of the unified hierarchy, `0::PATH`. `None` if the path is too long.
    pub(super) fn of(text: &str) -> Option<Self> {
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        if path.len() > LONGEST {
            return None;
        }
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        // `..` leads above the root of the agent's own namespace: nothing is known of what is there.
        let known = !parts.contains(&"..");
        Some(Self {
            path: path.to_owned(),
            unit: unit(&parts).filter(|_| known),
            slurm_job: slurm_job(&parts).filter(|_| known),
            pod: pod(&parts).filter(|_| known),
        })
    }
}

/// The unit of the system's service manager: the first service or scope below its slices.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "names of units are case-sensitive")]
fn unit(parts: &[&str]) -> Option<String> {
    let name = parts.iter().find(|part| !part.ends_with(".slice"))?;
    (name.ends_with(".service") || name.ends_with(".scope")).then(|| (*name).to_owned())
}

/// `/system.slice/[NODE_]slurmstepd.scope/job_N/step_S/…` (Slurm's plugin cgroup/v2).
fn slurm_job(parts: &[&str]) -> Option<SlurmJob> {
    let ["system.slice", scope, job, step, ..] = parts else { return None };
    if *scope != "slurmstepd.scope" && !scope.ends_with("_slurmstepd.scope") {
        return None;
    }
    let id = number(job.strip_prefix("job_")?)?;
    let step = step.strip_prefix("step_")?;
    let known = matches!(step, "batch" | "extern" | "interactive") || number(step).is_some();
    known.then(|| SlurmJob { id, step: step.to_owned() })
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n: &u64| n.to_string() == text)
}

/// Kubernetes, by either of the kubelet's drivers.
fn pod(parts: &[&str]) -> Option<Pod> {
    match parts {
        ["kubepods.slice", class, pod, rest @ ..]
            if matches!(*class, "kubepods-burstable.slice" | "kubepods-besteffort.slice") =>
        {
            let class = class.strip_suffix(".slice")?;
            by_systemd(pod.strip_prefix(class)?, rest)
        }
        ["kubepods.slice", pod, rest @ ..] => by_systemd(pod.strip_prefix("kubepods")?, rest),
        ["kubepods", "burstable" | "besteffort", pod, rest @ ..] | ["kubepods", pod, rest @ ..] => {
            let uid = pod_uid(pod.strip_prefix("pod")?)?;
            Some(Pod { container: rest.first().and_then(|id| container_id(id)), uid })
        }
        _ => None,
    }
}

/// `-podUID.slice`, then `RUNTIME-ID.scope`.
fn by_systemd(pod: &str, rest: &[&str]) -> Option<Pod> {
    let uid = pod_uid(&pod.strip_prefix("-pod")?.strip_suffix(".slice")?.replace('_', "-"))?;
    let container = rest.first().and_then(|scope| {
        let (runtime, id) = scope.strip_suffix(".scope")?.rsplit_once('-')?;
        // A runtime's monitor lies beside the container that it watches.
        if runtime.ends_with("conmon") { None } else { container_id(id) }
    });
    Some(Pod { container, uid })
}

/// A UUID, or the hash that stands for one in static pods.
fn pod_uid(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f' | b'-');
    (matches!(text.len(), 32 | 36) && text.bytes().all(plain)).then(|| text.to_owned())
}

fn container_id(text: &str) -> Option<String> {
    let hex = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    (text.len() == 64 && hex).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "0a1b2c3d-1111-2222-3333-444455556666";
    const ID: &str = "e0c1f7a2b3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e";

    fn of(path: &str) -> Placement {
        Placement::of(&format!("12:pids:/elsewhere\n1:name=systemd:/job_1\n0::{path}\n")).unwrap()
    }

    fn job(id: u64, step: &str) -> SlurmJob {
        SlurmJob { id, step: step.to_owned() }
    }

    #[test]
    fn units_of_the_system_are_named() {
        for (path, unit) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            // What a user's own manager runs is that manager's to the system.
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service", Some("user@1000.service")),
            ("/system.slice/slurmstepd.scope/job_1/step_0/user/task_0", Some("slurmstepd.scope")),
            ("/", None),
            ("/system.slice", None),
            ("/docker/abc", None),
            ("/docker/nginx.service", None),
            ("/../system.slice/nginx.service", None),
        ] {
            assert_eq!(of(path).unit.as_deref(), unit, "{path}");
            assert_eq!(of(path).path, path);
        }
    }

    #[test]
    fn slurm_jobs_are_known_by_where_slurm_puts_them() {
        let root = "/system.slice/slurmstepd.scope";
        assert_eq!(of(&format!("{root}/job_1234/step_0/user/task_0")).slurm_job, Some(job(1234, "0")));
        assert_eq!(of(&format!("{root}/job_1234/step_batch/user/task_0")).slurm_job, Some(job(1234, "batch")));
        assert_eq!(of(&format!("{root}/job_1234/step_extern/slurm")).slurm_job, Some(job(1234, "extern")));
        let several = "/system.slice/gpu-17_slurmstepd.scope/job_9/step_interactive/user/task_special";
        assert_eq!(of(several).slurm_job, Some(job(9, "interactive")));
        for other in [
            // What a user may make below what is his own.
            "/user.slice/user-1000.slice/user@1000.service/slurmstepd.scope/job_1234/step_0",
            "/user.slice/user-1000.slice/user@1000.service/system.slice/slurmstepd.scope/job_1234/step_0",
            "/system.slice/mine.service/slurmstepd.scope/job_1234/step_0",
            "/system.slice/notslurmstepd.scope/job_1234/step_0",
            "/system.slice/slurmstepd.scope/job_1234",
            "/system.slice/slurmstepd.scope/job_01234/step_0",
            "/system.slice/slurmstepd.scope/job_+1/step_0",
            "/system.slice/slurmstepd.scope/job_1234/step_mine",
            "/system.slice/slurmstepd.scope/system/job_1/step_0",
            "/../system.slice/slurmstepd.scope/job_1234/step_0",
        ] {
            assert_eq!(of(other).slurm_job, None, "{other}");
        }
    }

    #[test]
    fn pods_are_known_by_where_the_kubelet_puts_them() {
        let escaped = POD.replace('-', "_");
        for path in [
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{escaped}.slice/cri-containerd-{ID}.scope"
            ),
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{escaped}.slice/crio-{ID}.scope/container"
            ),
            format!("/kubepods.slice/kubepods-pod{escaped}.slice/docker-{ID}.scope"),
            format!("/kubepods/burstable/pod{POD}/{ID}"),
            format!("/kubepods/pod{POD}/{ID}"),
        ] {
            assert_eq!(of(&path).pod, Some(Pod { container: Some(ID.into()), uid: POD.into() }), "{path}");
        }
        let conmon = format!("/kubepods.slice/kubepods-pod{escaped}.slice/crio-conmon-{ID}.scope");
        assert_eq!(of(&conmon).pod, Some(Pod { container: None, uid: POD.into() }));
        let hashed = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(&format!("/kubepods/pod{hashed}")).pod.unwrap().uid, hashed);
        for other in [
            format!(
                "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{escaped}.slice/crio-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-pod{escaped}.slice/crio-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod{escaped}/crio-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod{}.slice", "../etc".repeat(6)),
            format!("/mine/kubepods/pod{POD}/{ID}"),
            "/kubepods.slice/kubepods-burstable.slice".to_owned(),
        ] {
            assert_eq!(of(&other).pod, None, "{other}");
        }
    }

    #[test]
    fn without_a_unified_hierarchy_there_is_no_placement() {
        assert_eq!(Placement::of("4:memory:/slurm/uid_1000/job_7/step_0\n").unwrap(), Placement::default());
        assert!(Placement::of(&format!("0::/{}", "a".repeat(LONGEST))).is_none());
    }
}
