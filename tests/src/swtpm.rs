//! A software TPM 2.0 (swtpm) with an EK certificate of its own CA, as a vendor would make one.

use crate::{programs::without_inherited_files, swtpm_ports, tpm_commands};
use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// swtpm starts in a few milliseconds; a loaded machine may take seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(3);
/// Pairs of ports tried before giving up.
const TRIES: u32 = 10;
/// `CMD_SHUTDOWN` of swtpm's control channel (`swtpm_ioctls`(3)).
const CMD_SHUTDOWN: u32 = 3;
/// First NV index of the issuers' certificates.
const NV_CHAIN: u32 = 0x01c0_0100;
/// NV index of the P-256 EK's certificate.
const NV_P256_EK: u32 = 0x01c0_000a;

/// A running software TPM; ends when dropped, without a word to the TPM (a power cut).
#[derive(Debug)]
pub struct Swtpm {
    dir: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Swtpm {
    /// Makes a TPM in `dir` if there is none (state, CA, RSA-2048 EK with a certificate, the
    /// issuer's certificate beside it), and powers it on. Needs neither root nor `HOME`.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let new = !dir.join("state/tpm2-00.permall").exists();
        if new {
            manufacture(&dir)?;
        }
        let mut swtpm = Self { dir, port: 0, process: None };
        swtpm.power_on_somewhere()?;
        if new {
            swtpm.store_issuer()?;
            // The first boot that anybody sees is one after an orderly shutdown.
            swtpm.restart()?;
        }
        Ok(swtpm)
    }

    /// Gives a P-256 EK certificate too, which the collector prefers.
    pub fn provision_p256_ek(&self) -> anyhow::Result<()> {
        let mut tpm = tpm_commands::connect(&self.tcti())?;
        let (x, y) = tpm_commands::p256_ek(&mut tpm)?;
        let certificate = self.dir.join("ek-p256.der");
        let mut command = without_inherited_files(Path::new("swtpm_cert"));
        command.args(["--type", "ek", "--tpm2", "--decryption", "--days", "-1", "--serial", "9000"]);
        command.args(["--ecc-curveid", "secp256r1", "--ecc-x", &hex::encode(x), "--ecc-y", &hex::encode(y)]);
        command.args(["--tpm-manufacturer", "id:00001014", "--tpm-model", "swtpm", "--tpm-version", "id:20191023"]);
        command.args(["--tpm-spec-family", "2.0", "--tpm-spec-level", "0", "--tpm-spec-revision", "164"]);
        command.arg("--signkey").arg(self.dir.join("ca/signkey.pem"));
        command.arg("--issuercert").arg(self.issuer_ca()).arg("--out-cert").arg(&certificate);
        run(&mut command)?;
        tpm_commands::store(&mut tpm, NV_P256_EK, &fs::read(certificate)?)
    }

    /// The TCTI, as the collector's configuration wants it.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// PEM: the root of the CA that signed the EK certificate's issuer.
    pub fn root_ca(&self) -> PathBuf {
        self.dir.join("ca/swtpm-localca-rootca-cert.pem")
    }

    /// PEM: the issuer of the EK certificate; the TPM carries it too.
    pub fn issuer_ca(&self) -> PathBuf {
        self.dir.join("ca/issuercert.pem")
    }

    /// Where state, CA and log lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process that is the TPM.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// An orderly reboot: PCRs are zero again, and the reset count has grown by one. The port stays.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        tpm_commands::shut_down(&mut tpm_commands::connect(&self.tcti())?)?;
        self.power_off()?;
        self.power_on_at(self.port)
    }

    /// Shuts down in order. Its state stays on disk, for another process to power it on.
    pub fn shut_down(mut self) -> anyhow::Result<()> {
        tpm_commands::shut_down(&mut tpm_commands::connect(&self.tcti())?)?;
        self.power_off()
    }

    /// A power cut and a reboot: the TPM cannot say any more that its clock never ran backwards.
    pub fn pull_plug(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.power_on_at(self.port)
    }

    /// Lets the TPM run on without this value; [`Self::stop`] ends it.
    pub fn release(mut self) -> Option<u32> {
        self.process.take().map(|child| child.id())
    }

    /// Shuts down, in order, a TPM that was started by another process.
    pub fn stop(port: u16) -> anyhow::Result<()> {
        tpm_commands::shut_down(&mut tpm_commands::connect(&format!("swtpm:host=127.0.0.1,port={port}"))?)?;
        ask_to_end(port)?;
        wait_until_gone(port)
    }

    fn power_off(&mut self) -> anyhow::Result<()> {
        ask_to_end(self.port)?;
        // By the process, not by its port: somebody else may have taken that by now.
        match &mut self.process {
            Some(child) => wait_for(|| Ok(child.try_wait()?.is_some())).context("swtpm did not end")?,
            None => wait_until_gone(self.port)?,
        }
        self.process = None;
        Ok(())
    }

    /// Where it was the last time if that can be, so that configuration stays true.
    fn power_on_somewhere(&mut self) -> anyhow::Result<()> {
        let last = fs::read_to_string(self.dir.join("port")).ok().and_then(|port| port.trim().parse().ok());
        let mut port = last.unwrap_or_else(swtpm_ports::guess);
        for _ in 1..TRIES {
            if self.power_on_at(port).is_ok() {
                break;
            }
            port = swtpm_ports::guess();
        }
        if self.process.is_none() {
            self.power_on_at(port)?;
        }
        fs::write(self.dir.join("port"), format!("{}\n", self.port)).context("keeping the port")
    }

    /// Powers on, and returns when this very process listens on both ports.
    fn power_on_at(&mut self, port: u16) -> anyhow::Result<()> {
        let log = File::options().append(true).create(true).open(self.dir.join("swtpm.log"))?;
        let mut command = without_inherited_files(Path::new("swtpm"));
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", self.dir.join("state").display()));
        command.arg("--server").arg(format!("type=tcp,port={port}"));
        command.arg("--ctrl").arg(format!("type=tcp,port={}", port + 1));
        // A group of its own: a Ctrl-C at the terminal is for whoever started us.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("starting swtpm (package `swtpm`)")?;
        let listening = wait_for(|| {
            if let Some(status) = child.try_wait()? {
                bail!("swtpm ended with {status}, see {}", self.dir.join("swtpm.log").display());
            }
            Ok([port, port + 1].into_iter().all(|port| swtpm_ports::listens(child.id(), port)))
        });
        self.process = Some(child);
        self.port = port;
        listening.inspect_err(|_| self.kill())
    }

    /// The issuer's certificate goes where vendors put theirs, so that one pinned root is enough.
    fn store_issuer(&self) -> anyhow::Result<()> {
        let pem = fs::read_to_string(self.issuer_ca())?;
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).context("reading the issuer's certificate")?;
        tpm_commands::store(&mut tpm_commands::connect(&self.tcti())?, NV_CHAIN, &der)
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes state, CA and certificates in `dir`, with a configuration of its own.
fn manufacture(dir: &Path) -> anyhow::Result<()> {
    let (state, ca) = (dir.join("state"), dir.join("ca"));
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&ca)?;
    let (dir_text, ca_text) = (dir.display(), ca.display());
    ensure!(!dir_text.to_string().contains(char::is_whitespace), "{dir_text}: swtpm_setup cannot take spaces");
    fs::write(
        dir.join("swtpm_setup.conf"),
        format!(
            "create_certs_tool = /usr/bin/swtpm_localca\n\
             create_certs_tool_config = {dir_text}/swtpm-localca.conf\n\
             create_certs_tool_options = {dir_text}/swtpm-localca.options\n\
             active_pcr_banks = sha256\n"
        ),
    )?;
    fs::write(
        dir.join("swtpm-localca.conf"),
        format!(
            "statedir = {ca_text}\nsigningkey = {ca_text}/signkey.pem\n\
             issuercert = {ca_text}/issuercert.pem\ncertserial = {ca_text}/certserial\n"
        ),
    )?;
    fs::write(
        dir.join("swtpm-localca.options"),
        "--platform-manufacturer Strongroom\n--platform-version 1.0\n--platform-model StandIn\n",
    )?;
    let mut command = without_inherited_files(Path::new("swtpm_setup"));
    command.args(["--tpm2", "--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--pcr-banks", "sha256"]);
    command.arg("--tpm-state").arg(format!("dir://{}", state.display()));
    command.arg("--config").arg(dir.join("swtpm_setup.conf"));
    run(&mut command)
}

/// Tells the swtpm that listens on `port` to write its state and end.
fn ask_to_end(port: u16) -> anyhow::Result<()> {
    let mut control = TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).context("connecting to swtpm's control")?;
    control.set_read_timeout(Some(PATIENCE))?;
    control.write_all(&CMD_SHUTDOWN.to_be_bytes())?;
    let mut answer = [0; 4];
    // It may close the connection before the answer is out; the port tells.
    if control.read_exact(&mut answer).is_ok() {
        ensure!(answer == [0; 4], "swtpm refused to end: {answer:?}");
    }
    Ok(())
}

fn wait_until_gone(port: u16) -> anyhow::Result<()> {
    wait_for(|| Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err())).context("swtpm did not end")
}

/// Asks again and again, since neither a child nor a port can be waited for without `unsafe`.
fn wait_for(mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !done()? {
        ensure!(start.elapsed() < PATIENCE, "still waiting after {PATIENCE:?}");
        thread::sleep(POLL);
    }
    Ok(())
}

/// Runs a tool and shows its output when it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().context("starting bash")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} (packages `swtpm` and `swtpm-tools`) ended with {}: {}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(())
}
