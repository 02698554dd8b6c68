//! A machine that runs: told what to do over its second serial port.

use super::qemu::{Accelerator, Hardware};
use crate::Ran;
use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Child,
    thread,
    time::{Duration, Instant},
};

/// The host, as its guests call it.
pub const HOST: &str = "10.0.2.2";

/// A boot takes 11 s by software emulation, and several times that where other tests want the processors too.
const BOOT: Duration = Duration::from_mins(3);
/// For one command, whatever it waits for.
const COMMAND: Duration = Duration::from_mins(2);
/// For starting and ending processes.
const PROCESS: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// What an answer may be long at the most.
const LONGEST: usize = 64 << 20;
/// Lines of the console that an error quotes.
const TAIL: usize = 25;

/// A running guest. It is killed when dropped, which its TPM takes for a power cut.
pub struct Guest {
    qemu: Child,
    tpm: Child,
    hardware: Hardware,
    control: UnixStream,
    received: Vec<u8>,
    /// How long it took to come up.
    pub took: Duration,
    /// What runs it.
    pub accelerator: Accelerator,
}

impl Guest {
    pub(super) fn start(hardware: &Hardware, accelerator: Accelerator) -> anyhow::Result<Self> {
        let start = Instant::now();
        let mut tpm = hardware.swtpm()?.spawn().context("starting swtpm")?;
        let socket = hardware.tpm_socket();
        if let Err(e) = wait_for("swtpm listens", || Ok(socket.exists())) {
            end(&mut tpm);
            return Err(e);
        }
        let mut qemu = match hardware.qemu(accelerator).and_then(|mut qemu| Ok(qemu.spawn()?)) {
            Ok(qemu) => qemu,
            Err(e) => {
                end(&mut tpm);
                return Err(e.context("starting qemu-system-x86_64"));
            }
        };
        let control = match connect(hardware, &mut qemu) {
            Ok(control) => control,
            Err(e) => {
                end(&mut qemu);
                end(&mut tpm);
                return Err(e);
            }
        };
        let hardware = hardware.clone();
        let mut guest = Self { qemu, tpm, hardware, control, received: Vec::new(), took: Duration::ZERO, accelerator };
        // Firmware writes to this port too, before.
        while !guest.line(start + BOOT).context("booting")?.ends_with(b"STRONGROOM: up") {}
        guest.took = start.elapsed();
        Ok(guest)
    }

    /// Runs a shell command to its end, without standard input.
    pub fn run(&mut self, command: &str) -> anyhow::Result<Ran> {
        let (code, out, err) = self.ask(command)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ran { code: Some(code), stdout: text(out), stderr: text(err) })
    }

    /// The contents of a file.
    pub fn read(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        let (code, out, err) = self.ask(&format!("cat '{path}'"))?;
        ensure!(code == 0, "reading {path} in the guest: {}", String::from_utf8_lossy(&err));
        Ok(out)
    }

    /// Writes a file.
    pub fn write(&mut self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let command = format!("echo {} | base64 -d >'{path}'", STANDARD.encode(content));
        let (code, _, err) = self.ask(&command)?;
        ensure!(code == 0, "writing {path} in the guest: {}", String::from_utf8_lossy(&err));
        Ok(())
    }

    /// What its TPM's SHA-256 bank holds, PCRs 0 to 15.
    pub fn pcrs(&mut self) -> anyhow::Result<BTreeMap<u8, Vec<u8>>> {
        let ran = self.run("for n in $(seq 0 15); do cat /sys/class/tpm/tpm0/pcr-sha256/$n; done")?.done()?;
        let values: Vec<Vec<u8>> = ran.stdout.lines().map(|line| hex::decode(line.trim())).collect::<Result<_, _>>()?;
        ensure!(values.len() == 16, "{} PCRs: {}", values.len(), ran.stderr);
        Ok((0..).zip(values).collect())
    }

    /// Firmware's log of the boot.
    pub fn boot_log(&mut self) -> anyhow::Result<Vec<u8>> {
        self.read("/sys/kernel/security/tpm0/binary_bios_measurements")
    }

    /// IMA's log up to now.
    pub fn ima_log(&mut self) -> anyhow::Result<Vec<u8>> {
        self.read("/sys/kernel/security/ima/binary_runtime_measurements")
    }

    /// The file of the unified kernel image that it was booted from, if it was.
    pub fn unified_image(&self) -> PathBuf {
        self.hardware.unified_image()
    }

    /// Keeps what lies in `/run/state` for later boots, and powers off in order: the TPM is told.
    pub fn shut_down(mut self) -> anyhow::Result<()> {
        self.run("tar -cf /dev/vdb -C /run/state . && sync")?.done()?;
        let line = STANDARD.encode("poweroff -f");
        writeln!(self.control, "{line}")?;
        let (qemu, tpm) = (&mut self.qemu, &mut self.tpm);
        let over = wait_for("the guest powers off", || Ok(qemu.try_wait()?.is_some()))
            .and_then(|()| wait_for("its TPM ends", || Ok(tpm.try_wait()?.is_some())));
        over.with_context(|| self.last_words())
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<(i32, Vec<u8>, Vec<u8>)> {
        let until = Instant::now() + COMMAND;
        writeln!(self.control, "{}", STANDARD.encode(command))?;
        let mut field = |name: &str| -> anyhow::Result<String> {
            let line = String::from_utf8(self.line(until).with_context(|| format!("running {command:.200}"))?)?;
            let value = line.strip_prefix(name).with_context(|| format!("{line:.200} instead of {name}"))?;
            Ok(value.trim().to_owned())
        };
        let (out, err) = (STANDARD.decode(field("out")?)?, STANDARD.decode(field("err")?)?);
        Ok((field("done")?.parse().context("an exit code")?, out, err))
    }

    /// The next line from the guest, without its end.
    fn line(&mut self, until: Instant) -> anyhow::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let rest = self.received.get(searched..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=searched + end).collect();
                line.pop();
                return Ok(line);
            }
            searched = self.received.len();
            ensure!(searched < LONGEST, "the guest sends a line without an end");
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the guest took too long\n{}", self.last_words());
            }
            self.control.set_read_timeout(Some(left))?;
            let mut part = [0; 1 << 14];
            match self.control.read(&mut part) {
                Ok(0) => bail!("the guest is gone\n{}", self.last_words()),
                Ok(length) => self.received.extend_from_slice(part.get(..length).unwrap_or_default()),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e).context("reading the guest's serial port"),
            }
        }
    }

    fn last_words(&self) -> String {
        last_words(&self.hardware)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        end(&mut self.qemu);
        end(&mut self.tpm);
    }
}

fn connect(hardware: &Hardware, qemu: &mut Child) -> anyhow::Result<UnixStream> {
    let mut stream = None;
    wait_for("QEMU listens", || {
        ensure!(qemu.try_wait()?.is_none(), "QEMU ended");
        stream = UnixStream::connect(hardware.control()).ok();
        Ok(stream.is_some())
    })
    .with_context(|| last_words(hardware))?;
    stream.context("no connection")
}

/// The end of what the console showed, and what QEMU said.
fn last_words(hardware: &Hardware) -> String {
    let console = fs::read(hardware.console()).unwrap_or_default();
    let console = String::from_utf8_lossy(&console).replace(['\r', '\x1b'], "");
    let lines: Vec<&str> = console.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
    let errors = fs::read_to_string(hardware.errors()).unwrap_or_default();
    format!("the guest's console:\n{tail}\nQEMU:\n{errors}")
}

fn wait_for(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !done()? {
        ensure!(start.elapsed() < PROCESS, "waited {PROCESS:?}: {what}");
        thread::sleep(POLL);
    }
    Ok(())
}

fn end(child: &mut Child) {
    // It may have ended by itself; then there is nothing to kill.
    let _ = child.kill();
    let _ = child.wait();
}
