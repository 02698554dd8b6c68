//! Launch measurements of guests that are still to be started (row S10).

use super::values;
use crate::{context::read_capped, output::Failure};
use clap::ValueEnum;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use strongroom::protocol::{
    admin::{ReferenceValues, SnpValues, TdxValues},
    evidence::{PcrBank, PcrMap},
    requirements::Register,
};
use strongroom_attest::snp::launch::{Kernel, LaunchInputs, LaunchRefused, Monitor, measurement};

/// Largest firmware, bytes: one more is refused by its name.
const FIRMWARE: u64 = 64 << 20;
/// Largest kernel and initial file system that are read, bytes.
const IMAGE: u64 = 1 << 30;
/// Largest command line, bytes.
const COMMAND_LINE: u64 = 64 << 10;
/// Numbers of CPUs of one set.
const SIZES: usize = 256;

/// The monitors whose launches are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Vmm {
    /// QEMU
    #[default]
    Qemu,
    /// Amazon's
    Ec2,
    /// libkrun
    Krun,
}

/// What a guest is launched from.
#[derive(Debug, clap::Args)]
pub(crate) struct Launch {
    /// OVMF, whole, as it is mapped below 4 GiB
    #[arg(long, value_name = "FILE")]
    ovmf: PathBuf,
    /// The kernel, where the monitor loads it itself
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initial file system that the monitor loads with it
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The command line that the monitor gives the kernel
    #[arg(long, visible_alias = "append", value_name = "TEXT", requires = "kernel", conflicts_with = "append_file")]
    cmdline: Option<String>,
    /// A file with the command line; a line feed at its end is no part of it
    #[arg(long, value_name = "FILE", requires = "kernel")]
    append_file: Option<PathBuf>,
    /// Virtual CPUs; several numbers, with commas between or the option again, give a measurement each
    #[arg(long, value_name = "N", required = true, value_delimiter = ',')]
    vcpus: Vec<u32>,
    /// The CPU model, as QEMU names it: EPYC-Milan, EPYC-v4
    #[arg(long, value_name = "MODEL")]
    vcpu_type: String,
    /// The monitor: each sets the CPUs up in its own way
    #[arg(long, value_enum, default_value_t)]
    vmm: Vmm,
    /// Features that the host's KVM sets for the guest: 1, or 21 where it swaps debug registers
    #[arg(long, value_name = "HEX", default_value = "1", value_parser = features)]
    guest_features: u64,
}

/// A mask in hexadecimal.
fn features(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mask = u64::from_str_radix(digits, 16).ok().filter(|_| plain);
    mask.ok_or_else(|| "features are a mask of at most 64 bits in hexadecimal, such as 0x21".to_owned())
}

impl Launch {
    /// The measurement of each number of CPUs.
    pub(super) fn values(&self) -> Result<ReferenceValues, Failure> {
        if self.vcpus.len() > SIZES {
            return Err(Failure::usage(format!("--vcpus: more than {SIZES} numbers")));
        }
        let firmware = read_capped(&self.ovmf, FIRMWARE)?;
        let read = |path: Option<&PathBuf>, limit| path.map(|path| read_capped(path, limit)).transpose();
        let (kernel, initrd) = (read(self.kernel.as_ref(), IMAGE)?, read(self.initrd.as_ref(), IMAGE)?);
        let command_line = self.command_line()?;
        let kernel = kernel.as_ref().map(|image| Kernel {
            image,
            initrd: initrd.as_deref().unwrap_or_default(),
            command_line: &command_line,
        });
        let mut measurements = BTreeSet::new();
        for &cpus in &self.vcpus {
            let inputs = LaunchInputs {
                firmware: &firmware,
                kernel,
                cpus,
                cpu_type: &self.vcpu_type,
                guest_features: self.guest_features,
                monitor: match self.vmm {
                    Vmm::Qemu => Monitor::Qemu,
                    Vmm::Ec2 => Monitor::Ec2,
                    Vmm::Krun => Monitor::Krun,
                },
            };
            measurements.insert(Register(measurement(&inputs).map_err(|refused| wrong(&self.ovmf, &refused))?));
        }
        let snp = SnpValues { measurements };
        Ok(ReferenceValues { snp, ..ReferenceValues::of(PcrBank::Sha256, PcrMap::default()) })
    }

    fn command_line(&self) -> Result<String, Failure> {
        let Some(path) = &self.append_file else { return Ok(self.cmdline.clone().unwrap_or_default()) };
        let text = String::from_utf8(read_capped(path, COMMAND_LINE)?)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        Ok(text.strip_suffix('\n').map_or_else(|| text.clone(), str::to_owned))
    }
}

fn wrong(ovmf: &Path, refused: &LaunchRefused) -> Failure {
    let of = match refused {
        LaunchRefused::S10Cpus { .. } => "--vcpus".to_owned(),
        LaunchRefused::S10CpuType { .. } => "--vcpu-type".to_owned(),
        _ => ovmf.display().to_string(),
    };
    Failure::usage(format!("{of}: {}", crate::plain::line(&refused.to_string())))
}

/// Refuses a set that accepts zeros: what was not measured shows them, and they name no software.
pub(super) fn check(values: &ReferenceValues) -> Result<(), Failure> {
    let ReferenceValues { snp: SnpValues { measurements }, tdx: TdxValues { mrtds }, .. } = values;
    for (name, registers) in [("snp.measurements", measurements), ("tdx.mrtds", mrtds)] {
        if registers.contains(&Register([0; 48])) {
            return Err(Failure::usage(format!("{name} has zeros, the measurement of nothing: leave them out")));
        }
    }
    Ok(())
}

/// Measurements in a word for a table.
pub(super) fn counted(values: &ReferenceValues) -> String {
    let ReferenceValues { snp: SnpValues { measurements }, tdx: TdxValues { mrtds }, .. } = values;
    values::counted([("snp", measurements.len()), ("tdx", mrtds.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_a_mask_in_hexadecimal() {
        assert_eq!(features("1"), Ok(1));
        assert_eq!(features("0x21"), Ok(0x21));
        for wrong in ["", "0x", "+1", "g", "11112222333344445"] {
            assert!(features(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn zeros_are_no_measurement() {
        let mut values = ReferenceValues::of(PcrBank::Sha256, PcrMap::default());
        (values.snp.measurements, values.tdx.mrtds) = ([Register([1; 48])].into(), [Register([1; 48])].into());
        assert!(check(&values).is_ok());
        let mut snp = values.clone();
        snp.snp.measurements.insert(Register([0; 48]));
        values.tdx.mrtds.insert(Register([0; 48]));
        for (values, name) in [(snp, "snp.measurements"), (values, "tdx.mrtds")] {
            let refused = check(&values).unwrap_err().message;
            assert!(refused.contains(name), "{refused}");
        }
    }

    #[test]
    fn measurements_are_counted_by_kind() {
        let mut values = ReferenceValues::of(PcrBank::Sha256, PcrMap::default());
        assert_eq!(counted(&values), "");
        values.snp.measurements.insert(Register([1; 48]));
        values.tdx.mrtds.extend([Register([1; 48]), Register([2; 48])]);
        assert_eq!(counted(&values), "1 snp, 2 tdx");
    }
}
