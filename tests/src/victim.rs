//! A process whose memory is to be read: started, told what to do, and looked into.

use crate::programs::{bare, built};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Lines, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio},
};

/// The program `memory-victim` in one of its roles. It is killed when this is dropped.
pub struct Victim {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// The first line that it said.
    pub hello: Value,
}

impl Victim {
    /// Where the program is.
    pub fn program() -> anyhow::Result<PathBuf> {
        built("memory-victim")
    }

    /// Starts it in a directory of its own, by another program perhaps (`setpriv ...`), and waits for
    /// its first line.
    pub fn start<I: AsRef<OsStr>>(
        program: &Path,
        starter: &[&OsStr],
        directory: &Path,
        arguments: impl IntoIterator<Item = I>,
    ) -> anyhow::Result<Self> {
        let mut command = match starter.split_first() {
            Some((first, rest)) => {
                let mut command = bare(Path::new(first));
                command.args(rest).arg(program);
                command
            }
            None => bare(program),
        };
        command.args(arguments).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting memory-victim")?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        let input = child.stdin.take();
        let mut victim = Self { child, input, lines, hello: Value::Null };
        victim.hello = victim.hear()?;
        Ok(victim)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it something that it will not answer.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("standard input is closed")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Tells it something, and hears the answer, which may be an error of its own.
    pub fn ask(&mut self, line: &str) -> anyhow::Result<Value> {
        self.tell(line)?;
        self.hear()
    }

    /// The same, where it has to be able to do it.
    pub fn done(&mut self, line: &str) -> anyhow::Result<Value> {
        let answer = self.ask(line)?;
        ensure!(answer.get("error").is_none(), "{line}: {answer}");
        Ok(answer)
    }

    fn hear(&mut self) -> anyhow::Result<Value> {
        let line = self.lines.next().context("memory-victim ended without an answer")??;
        serde_json::from_str(&line).with_context(|| format!("reading {line}"))
    }

    /// Closes its standard input and waits for its end.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        drop(self.input.take());
        Ok(self.child.wait()?)
    }

    /// Waits for its end, which something else brings about.
    pub fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// What lies in a pipe of its own, which stays readable when it is gone.
    pub fn pipe(&self, descriptor: &Value) -> anyhow::Result<File> {
        Ok(File::open(format!("/proc/{}/fd/{descriptor}", self.pid()))?)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that is in a pipe without writers.
pub fn drain(mut pipe: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The memory of another process.
pub struct Memory {
    pid: u32,
    file: File,
}

/// A mapped area, as `/proc/PID/smaps` has it.
#[derive(Debug, Clone)]
pub struct Area {
    /// Its first byte.
    pub start: u64,
    /// Behind its last byte.
    pub end: u64,
    /// `rw-p` and the like.
    pub permissions: String,
    /// What is mapped; empty for anonymous memory.
    pub name: String,
    /// Flags of two letters: `lo` locked, `dd` left out of dumps, `dc` not copied on fork.
    pub flags: Vec<String>,
}

impl Area {
    /// Whether it has this flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }
}

impl Memory {
    /// Opens `/proc/PID/mem`.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        Ok(Self { pid, file: File::open(format!("/proc/{pid}/mem"))? })
    }

    /// Reads what lies at an address.
    pub fn read(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    }

    /// What is mapped now.
    pub fn areas(&self) -> anyhow::Result<Vec<Area>> {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.pid))?;
        let mut areas = Vec::new();
        for line in smaps.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            if let Some(flags) = line.strip_prefix("VmFlags:") {
                let last: &mut Area = areas.last_mut().context("flags without an area")?;
                last.flags = flags.split_whitespace().map(str::to_owned).collect();
            } else if let Some((start, end)) = first.split_once('-') {
                let hex = |text| u64::from_str_radix(text, 16);
                let (Ok(start), Ok(end)) = (hex(start), hex(end)) else { continue };
                let permissions = words.next().unwrap_or_default().to_owned();
                let name = words.skip(3).collect::<Vec<_>>().join(" ");
                areas.push(Area { start, end, permissions, name, flags: Vec::new() });
            }
        }
        Ok(areas)
    }

    /// Every area that can be read, but for unchanged pages of files: those that `wanted` wants.
    pub fn contents(&self, wanted: impl Fn(&Area) -> bool) -> anyhow::Result<Vec<(Area, Vec<u8>)>> {
        let mut contents = Vec::new();
        for area in self.areas()?.into_iter().filter(|area| wanted(area)) {
            let of_a_file = area.name.starts_with('/') && !area.permissions.starts_with("rw");
            if area.permissions.starts_with("---") || of_a_file {
                continue;
            }
            let length = usize::try_from(area.end - area.start)?;
            // What the kernel refuses is what there is to be seen here.
            if let Ok(bytes) = self.read(area.start, length) {
                contents.push((area, bytes));
            }
        }
        Ok(contents)
    }
}

/// Where `part` begins in `bytes`, if it is there.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let first = part.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| byte == first) {
        let place = from + at;
        if bytes.get(place..)?.starts_with(part) {
            return Some(place);
        }
        from = place + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn parts_are_found_wherever_they_are() {
        assert_eq!(find(b"aababc", b"abc"), Some(3));
        assert_eq!(find(b"abc", b"abc"), Some(0));
        assert_eq!(find(b"ab", b"abc"), None);
        assert_eq!(find(b"", b"a"), None);
    }
}
