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

/// A command without an environment, but for what finds programs and keeps libtss2 quiet.
pub fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("TSS2_LOG", "all+NONE");
    command.stdin(Stdio::null());
    command
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        command.get_program().display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// Whether this process is root: some suites then take rights away, and others cannot run without.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test did nothing.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
}
