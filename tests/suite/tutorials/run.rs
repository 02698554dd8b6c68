//! A reader who types every word.

use super::{matching::differs, page::Step, stage::Stage};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// A tutorial takes half a minute; a loaded machine may take many times that.
const PATIENCE: Duration = Duration::from_mins(6);

/// Follows the steps in one shell. The inner error is what the page says wrongly.
pub(super) fn run(stage: &Stage, steps: &[Step]) -> anyhow::Result<Result<(), String>> {
    let printed = stage.printed();
    // A reader's shell goes on after an error; here the first one, and a variable that is not set, is the end.
    let mut script = "set -eu -o pipefail\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        let _ = write!(script, "exec >'{}' 2>&1\n{}", printed.join(number.to_string()).display(), step.commands);
    }
    let _ = writeln!(script, "exec >'{}'", printed.join("end").display());
    let file = stage.home().join(".tutorial");
    fs::write(&file, script)?;
    let status = finish(stage.shell(&file)?, &stage.home())?;
    let told = judge(&printed, steps, status);
    for file in fs::read_dir(&printed)? {
        fs::remove_file(file?.path())?;
    }
    Ok(told)
}

/// Waits for the shell, and ends what it left running. No status: it had not ended by itself.
fn finish(mut shell: Child, home: &Path) -> anyhow::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(&shell);
    let start = Instant::now();
    // Not reaped before its group is ended: until then nobody else can have its number.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = loop {
        match waitid(WaitId::Pid(pid), options) {
            Ok(None) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            other => break matches!(other, Ok(Some(_))),
        }
    };
    // Nothing may be left of them.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = shell.wait()?;
    end_tpms(home);
    Ok(ended.then_some(status))
}

/// Software TPMs have groups of their own, and files that name them.
fn end_tpms(home: &Path) {
    for machine in fs::read_dir(home.join("learn")).into_iter().flatten().flatten() {
        let file = fs::read_to_string(machine.path().join("tpm/pid"));
        let Some(pid) = file.ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?)) else { continue };
        let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
        if name.is_ok_and(|name| name.trim() == "swtpm") {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Compares what was printed, up to the step where the shell ended.
fn judge(printed: &Path, steps: &[Step], status: Option<ExitStatus>) -> Result<(), String> {
    let output =
        |name: &str| fs::read(printed.join(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let whole = output("end").is_some();
    for (number, step) in steps.iter().enumerate() {
        let (page, line) = &step.place;
        let Some(here) = output(&number.to_string()) else { break };
        if !whole && output(&(number + 1).to_string()).is_none() {
            let how = match status.map(|status| (status.code(), status)) {
                None => "did not end".to_owned(),
                Some((Some(code), _)) => format!("ended with exit code {code}"),
                Some((None, status)) => format!("ended: {status}"),
            };
            return Err(format!("{page}, line {line}: the shell {how} in\n{}--- which printed\n{here}", step.commands));
        }
        let Some((at, expected)) = &step.expected else { continue };
        if let Some(row) = differs(expected, &here) {
            let wanted = expected.lines().nth(row).unwrap_or("(the end)");
            return Err(format!(
                "{page}, line {}: `{wanted}` is not what comes next; printed was\n{here}--- where the page says\n{expected}",
                at + row
            ));
        }
    }
    if whole { Ok(()) } else { Err("the shell did not begin".to_owned()) }
}
