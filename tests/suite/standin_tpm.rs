//! The software TPM as the demo runs it: from a shell, by a user who has nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};
use strongroom_collect::{EkChoice, EkKind, TpmDevice};
use strongroom_tests::{Swtpm, programs};

const NOBODY: &str = "65534";

/// Runs it as `nobody` if we are root, without environment but for `PATH`.
fn standin_tpm(program: &Path, arguments: &[&str]) -> String {
    // Not by the owner of /proc/self: a hardened process belongs to root there.
    let is_root = programs::is_root();
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").args(arguments);
    let run = command.output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap().trim().to_owned()
}

/// Powers the TPM off even when the test fails: nobody else would.
struct PowerOff<'a>(&'a Path);

impl Drop for PowerOff<'_> {
    fn drop(&mut self) {
        let tcti = fs::read_to_string(self.0.join("tcti")).unwrap_or_default();
        if let Some(port) = tcti.trim().rsplit_once('=').and_then(|(_, port)| port.parse().ok()) {
            let _ = Swtpm::stop(port);
        }
    }
}

#[test]
fn a_user_without_rights_runs_a_tpm() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // The build directory may not be open to others.
    let program = dir.path().join("standin-tpm");
    fs::copy(env!("CARGO_BIN_EXE_standin-tpm"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let tpm = dir.path().join("tpm");
    let path = tpm.to_str().unwrap();
    let _power_off = PowerOff(&tpm);

    let tcti = standin_tpm(&program, &["start", "--p256", "--dir", path]);
    let first = TpmDevice::open(&tcti.parse().unwrap()).unwrap();
    let certificates = first.ek_certificate_chain(EkChoice::Auto).unwrap();
    assert_eq!(certificates.kind, EkKind::EccP256);
    let pid = fs::read_to_string(tpm.join("pid")).unwrap();
    assert_eq!(fs::read_to_string(tpm.join("tcti")).unwrap().trim(), tcti);

    let again = standin_tpm(&program, &["restart", "--dir", path]);
    assert_eq!(again, tcti);
    let second = TpmDevice::open(&tcti.parse().unwrap()).unwrap();
    assert_eq!(second.ek_certificate_chain(EkChoice::Auto).unwrap(), certificates);
    assert_ne!(fs::read_to_string(tpm.join("pid")).unwrap(), pid);

    standin_tpm(&program, &["stop", "--dir", path]);
    assert!(TpmDevice::open(&tcti.parse().unwrap()).is_err());
    assert!(!tpm.join("pid").exists());
}

#[test]
fn a_tpm_ends_when_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let tpm = Swtpm::start(dir.path()).unwrap();
    let process = format!("/proc/{}", tpm.pid().unwrap());
    assert!(Path::new(&process).exists());
    drop(tpm);
    assert!(!Path::new(&process).exists());
}
