//! The programs under test, as `make build` leaves them.

use anyhow::{Context as _, ensure};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The project's root.
pub fn project() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// A built program, beside the directory of the current test executable.
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let current = std::env::current_exe().context("finding the test executable")?;
    let found = current.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `make build`"))
}

/// A command that inherits no file but the first three.
///
/// libtss2 does not mark its sockets close-on-exec. A child that is started while another thread
/// talks to a software TPM would hold that connection open, and the TPM, which serves one at a time,
/// would serve nobody else as long as the child lives.
pub fn without_inherited_files(program: &Path) -> Command {
    const CLOSE: &str =
        r#"for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ "$fd" -le 2 ] || eval "exec $fd>&-"; done; exec "$@""#;
    let mut command = Command::new("bash");
    command.args(["-c", CLOSE, "bash"]).arg(program);
    command
}

/// A command without an environment, but for what finds programs and keeps libtss2 quiet.
pub fn bare(program: &Path) -> Command {
    let mut command = without_inherited_files(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("TSS2_LOG", "all+NONE");
    command.stdin(Stdio::null());
    command
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().context("starting bash")?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// The user that has nothing.
pub const NOBODY: u32 = 65534;
/// What runs a command as nobody, with nothing but the right to lock memory.
pub const AS_NOBODY: [&str; 9] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all,+ipc_lock",
    "--ambient-caps=-all,+ipc_lock",
    "--bounding-set=-all,+ipc_lock",
    "--",
];

/// Whether this process is root: some suites then take rights away, and others cannot run without.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test did nothing.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
}
