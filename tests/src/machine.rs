//! A machine that boots shim, GRUB and Linux, as a log of what its firmware would measure.

use crate::{
    boot_events as events,
    bootlog::{BootLog, Event},
};
use strongroom_protocol::sha256;

/// What may differ between two boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's command line (PCR 8).
    pub kernel_cmdline: String,
    /// Whether Secure Boot is on (PCR 7).
    pub secure_boot: bool,
    /// Which firmware it is: another number is another build (PCR 0).
    pub firmware: u32,
    /// Which kernel and initrd: another number is another build (PCR 4 and 9).
    pub kernel: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            kernel_cmdline: "/vmlinuz root=/dev/mapper/root ro lockdown=integrity".into(),
            secure_boot: true,
            firmware: 1,
            kernel: 1,
        }
    }
}

impl Machine {
    /// The log of one boot, in the order in which EDK II, shim and GRUB measure.
    pub fn boot_log(&self) -> BootLog {
        let mut log = self.platform();
        log.extend(self.secure_boot_variables());
        log.push(events::separator(7));
        log.push(events::driver(b"network card option ROM"));
        log.extend(boot_options());
        log.push(events::action(4, "Calling EFI Application from Boot Option"));
        log.extend((0..=6).map(events::separator));
        log.extend(self.shim());
        log.extend(self.grub());
        log.push(events::action(5, "Exit Boot Services Invocation"));
        log.push(events::action(5, "Exit Boot Services Returned with Success"));
        BootLog::new(log)
    }

    fn platform(&self) -> Vec<Event> {
        let volume = |name| format!("{name}, build {}", self.firmware).into_bytes();
        vec![
            events::crtm_version(&format!("1.0.{}", self.firmware)),
            events::firmware_blob(0x0082_0000, 0x000e_0000, &volume("PEI volume")),
            events::firmware_blob(0x0090_0000, 0x00c0_0000, &volume("DXE volume")),
        ]
    }

    fn secure_boot_variables(&self) -> Vec<Event> {
        if !self.secure_boot {
            let empty = ["PK", "KEK", "db", "dbx"].map(|name| events::secure_boot_variable(name, &[]));
            return [events::secure_boot_variable("SecureBoot", &[0])].into_iter().chain(empty).collect();
        }
        let revoked = ["a boot loader with a hole", "another"].map(|image| sha256(image.as_bytes()));
        vec![
            events::secure_boot_variable("SecureBoot", &[1]),
            events::secure_boot_variable("PK", &events::certificate_list(&certificate("platform key"))),
            events::secure_boot_variable("KEK", &events::certificate_list(&certificate("key exchange key"))),
            events::secure_boot_variable("db", &events::certificate_list(&certificate("signature database"))),
            events::secure_boot_variable("dbx", &events::hash_list(&revoked)),
        ]
    }

    fn shim(&self) -> Vec<Event> {
        let mut log = Vec::new();
        if self.secure_boot {
            log.push(events::db_authority(&certificate("signature database")));
        }
        log.push(events::partition_table(*b"disk of stand-in"));
        log.push(events::application(b"shim", "\\EFI\\debian\\shimx64.efi"));
        log.push(events::shim_list("MokList", &events::certificate_list(&certificate("distribution"))));
        log.push(events::shim_list("MokListX", &events::hash_list(&[sha256(b"revoked")])));
        if self.secure_boot {
            log.push(events::shim_authority("SbatLevel", b"sbat,1,2023012900\nshim,2\ngrub,3\n"));
            log.push(events::shim_authority("Shim", &certificate("distribution")));
        }
        log.push(events::application(b"GRUB", "\\EFI\\debian\\grubx64.efi"));
        log
    }

    fn grub(&self) -> Vec<Event> {
        let kernel = format!("Linux, build {}", self.kernel);
        let initrd = format!("initrd, build {}", self.kernel);
        let configuration = format!("linux {}\ninitrd /initrd.img\nboot\n", self.kernel_cmdline);
        vec![
            events::grub_file("(hd0,gpt1)/EFI/debian/grub.cfg", b"configfile ($root)/boot/grub/grub.cfg"),
            events::grub_command("set prefix=(hd0,gpt2)/boot/grub"),
            events::grub_command("configfile (hd0,gpt2)/boot/grub/grub.cfg"),
            events::grub_file("(hd0,gpt2)/boot/grub/grub.cfg", configuration.as_bytes()),
            events::grub_command(&format!("linux {}", self.kernel_cmdline)),
            events::grub_file("/vmlinuz", kernel.as_bytes()),
            events::application(kernel.as_bytes(), "\\vmlinuz"),
            events::grub_kernel_cmdline(&self.kernel_cmdline),
            events::grub_command("initrd /initrd.img"),
            events::grub_file("/initrd.img", initrd.as_bytes()),
        ]
    }
}

fn boot_options() -> Vec<Event> {
    vec![
        events::boot_variable("BootOrder", &[0, 0]),
        events::boot_variable("Boot0000", b"\x01\0\0\0\x04\0d\0e\0b\0i\0a\0n\0\0\0\x7f\xff\x04\0"),
    ]
}

/// Bytes in a certificate's place: the log is about which one, nobody verifies with it.
fn certificate(name: &str) -> Vec<u8> {
    let mut der = vec![0x30, 0x82, 0x01, 0x20];
    der.extend((0..9_u8).flat_map(|block| sha256(&[name.as_bytes(), &[block]].concat())));
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed_by(other: &Machine) -> Vec<u32> {
        let (before, after) = (Machine::default().boot_log().replay(), other.boot_log().replay());
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        before.iter().filter(|(pcr, value)| after.get(pcr) != Some(value)).map(|(pcr, _)| *pcr).collect()
    }

    #[test]
    fn each_difference_shows_in_its_pcrs() {
        let usual = Machine::default();
        assert_eq!(changed_by(&usual), [0_u32; 0]);
        assert_eq!(changed_by(&Machine { kernel_cmdline: "/vmlinuz single".into(), ..usual.clone() }), [8, 9]);
        assert_eq!(changed_by(&Machine { secure_boot: false, ..usual.clone() }), [7]);
        assert_eq!(changed_by(&Machine { firmware: 2, ..usual.clone() }), [0]);
        assert_eq!(changed_by(&Machine { kernel: 2, ..usual }), [4, 9]);
    }

    #[test]
    fn the_firmwares_pcrs_are_measured() {
        let pcrs: Vec<u32> = Machine::default().boot_log().replay().into_keys().collect();
        assert_eq!(pcrs, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14]);
    }
}
