//! Boots a machine that is not there: makes the firmware event log, extends it into a software
//! TPM, and writes it to a file.

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use strongroom_collect::TpmDevice;
use strongroom_protocol::{
    evidence::{PcrBank, PcrSelection},
    sha256,
};
use strongroom_tests::{Event, Machine, bootlog::kind, tpm_commands};

/// Boots a stand-in machine into a software TPM.
///
/// Example: boot-standin --tcti swtpm:host=127.0.0.1,port=2321 --log boot.log
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The software TPM, just powered on.
    #[arg(long)]
    tcti: String,
    /// Where to write the event log; without it nothing is booted (see --extend).
    #[arg(long, required_unless_present = "extend")]
    log: Option<PathBuf>,
    /// The kernel's command line (PCR 8, and GRUB's configuration in PCR 9).
    #[arg(long, requires = "log")]
    kernel_cmdline: Option<String>,
    /// Secure Boot (PCR 7).
    #[arg(long, value_enum, default_value = "on")]
    secure_boot: Switch,
    /// Which firmware: another number is another build (PCR 0).
    #[arg(long, default_value_t = 1)]
    firmware: u32,
    /// Which kernel and initrd: another number is another build (PCR 4 and 9).
    #[arg(long, default_value_t = 1)]
    kernel: u32,
    /// Measures TEXT into PCR after the boot that --log is of, as a boot loader would: the event is written, too.
    #[arg(long, value_name = "PCR=TEXT", value_parser = extension, requires = "log")]
    measure: Vec<(u32, String)>,
    /// Extends PCR by SHA-256 of TEXT, after booting if --log is given; no event is written.
    #[arg(long, value_name = "PCR=TEXT", value_parser = extension)]
    extend: Vec<(u32, String)>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(path) = arguments.log.as_ref().filter(|_| arguments.measure.is_empty()) {
        ensure_just_powered_on(&arguments.tcti)?;
        let usual = Machine::default();
        let log = Machine {
            kernel_cmdline: arguments.kernel_cmdline.unwrap_or(usual.kernel_cmdline),
            secure_boot: matches!(arguments.secure_boot, Switch::On),
            firmware: arguments.firmware,
            kernel: arguments.kernel,
        }
        .boot_log();
        log.extend_into(&arguments.tcti)?;
        log.write(path)?;
        println!("booted: {} events in {}", log.events.len(), path.display());
    }
    for ((pcr, text), path) in arguments.measure.iter().zip(arguments.log.iter().cycle()) {
        let event = Event::of_data(*pcr, kind::IPL, text.as_bytes());
        tpm_commands::extend(&mut tpm_commands::connect(&arguments.tcti)?, *pcr, event.digest)?;
        event.append(path)?;
        println!("measured into PCR {pcr}");
    }
    for (pcr, text) in &arguments.extend {
        tpm_commands::extend(&mut tpm_commands::connect(&arguments.tcti)?, *pcr, sha256(text.as_bytes()))?;
        println!("extended PCR {pcr}");
    }
    Ok(())
}

/// Booting twice into the same PCRs would give values that no log explains.
fn ensure_just_powered_on(tcti: &str) -> anyhow::Result<()> {
    let device = TpmDevice::open(&tcti.parse()?)?;
    let pcrs = device.pcrs(&PcrSelection { bank: PcrBank::Sha256, pcrs: vec![0] })?;
    let zero = pcrs.values.0.values().all(|value| value.0.iter().all(|byte| *byte == 0));
    ensure!(zero, "the TPM at {tcti} has booted already: restart it first");
    Ok(())
}

fn extension(text: &str) -> anyhow::Result<(u32, String)> {
    let (pcr, text) = text.split_once('=').context("write PCR=TEXT, such as 8=changed")?;
    let pcr = pcr.parse().ok().filter(|pcr| *pcr < 24).context("a PCR is 0 to 23")?;
    Ok((pcr, text.to_owned()))
}
