//! Logs to be made wrong one field at a time. Tests only.

use super::{guid::Guid, kind::EventType};
use crate::tpm::HashAlg;

/// One event to be written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub pcr: u32,
    pub kind: EventType,
    /// What the digests are of.
    pub measured: Vec<u8>,
    pub data: Vec<u8>,
}

/// A log to be written.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub algorithms: Vec<HashAlg>,
    pub events: Vec<Written>,
}

pub(crate) fn event(pcr: u32, kind: EventType, data: impl Into<Vec<u8>>) -> Written {
    let data = data.into();
    Written { pcr, kind, measured: data.clone(), data }
}

pub(crate) fn measured(pcr: u32, kind: EventType, measured: &[u8], data: impl Into<Vec<u8>>) -> Written {
    Written { pcr, kind, measured: measured.to_vec(), data: data.into() }
}

pub(crate) fn separator(pcr: u32) -> Written {
    event(pcr, EventType::SEPARATOR, [0; 4])
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// `UEFI_VARIABLE_DATA`.
pub(super) fn variable(guid: Guid, name: &str, value: &[u8]) -> Vec<u8> {
    let name = utf16(name);
    let sizes = [name.len() as u64 / 2, value.len() as u64].map(u64::to_le_bytes).concat();
    [&guid.0[..], &sizes, &name, value].concat()
}

/// A signature list of one entry.
pub(super) fn signature_list(kind: Guid, entry: &[u8]) -> Vec<u8> {
    let size = u32::try_from(entry.len() + 16).unwrap();
    let sizes = [28 + size, 0, size].map(u32::to_le_bytes).concat();
    [&kind.0[..], &sizes, &[7; 16], entry].concat()
}

pub(crate) fn config(name: &str, value: &[u8]) -> Written {
    let guid = if name.starts_with("db") { Guid::IMAGE_SECURITY } else { Guid::GLOBAL };
    event(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, variable(guid, name, value))
}

pub(crate) fn action(pcr: u32, text: &str) -> Written {
    event(pcr, EventType::EFI_ACTION, text)
}

/// A boot with Secure Boot, GRUB and a kernel, as real machines do it.
pub(crate) fn boot() -> Writer {
    let list = signature_list(Guid::CERT_X509, b"certificate");
    let authority = [&[7; 16][..], b"certificate"].concat();
    let mut events = vec![
        event(0, EventType::NO_ACTION, *b"StartupLocality\0\x03"),
        event(0, EventType::S_CRTM_VERSION, utf16("firmware 1")),
        measured(0, EventType::EFI_PLATFORM_FIRMWARE_BLOB, b"volume", [0; 16]),
        config("SecureBoot", &[1]),
        config("PK", &list),
        config("KEK", &list),
        config("db", &list),
        config("dbx", &signature_list(Guid([1; 16]), &[9; 32])),
        separator(7),
        measured(1, EventType::EFI_VARIABLE_BOOT, &[0, 0], variable(Guid::GLOBAL, "BootOrder", &[0, 0])),
        measured(2, EventType::EFI_BOOT_SERVICES_DRIVER, b"network card", [0; 32]),
        action(4, "Calling EFI Application from Boot Option"),
    ];
    events.extend((0..7).map(separator));
    events.extend([
        event(7, EventType::EFI_VARIABLE_AUTHORITY, variable(Guid::IMAGE_SECURITY, "db", &authority)),
        event(5, EventType::EFI_GPT_EVENT, *b"EFI PART"),
        measured(4, EventType::EFI_BOOT_SERVICES_APPLICATION, b"grub", [0; 32]),
        measured(8, EventType::IPL, b"insmod gzio", *b"grub_cmd: insmod gzio\0"),
        measured(9, EventType::IPL, b"a kernel", *b"/vmlinuz\0"),
        measured(8, EventType::IPL, b"/vmlinuz ro quiet", *b"kernel_cmdline: /vmlinuz ro quiet\0"),
        measured(
            9,
            EventType::EVENT_TAG,
            b"an initrd",
            [&0x8f3b_22ec_u32.to_le_bytes()[..], b"\x0d\0\0\0Linux initrd\0"].concat(),
        ),
        action(5, "Exit Boot Services Invocation"),
        action(5, "Exit Boot Services Returned with Success"),
    ]);
    Writer { algorithms: vec![HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384], events }
}

impl Writer {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = header(&self.algorithms);
        for event in &self.events {
            out.extend(event.pcr.to_le_bytes());
            out.extend(event.kind.0.to_le_bytes());
            out.extend(u32::try_from(self.algorithms.len()).unwrap().to_le_bytes());
            for algorithm in &self.algorithms {
                out.extend(algorithm.id().to_le_bytes());
                // What has no action has no digest, unless a test says so by another `measured`.
                let none = event.kind == EventType::NO_ACTION && event.measured == event.data;
                out.extend(if none {
                    vec![0; algorithm.digest_length()]
                } else {
                    algorithm.digest(&[&event.measured])
                });
            }
            out.extend(u32::try_from(event.data.len()).unwrap().to_le_bytes());
            out.extend(&event.data);
        }
        out
    }

    /// The place of the first event of this kind in this PCR.
    pub(crate) fn place(&self, pcr: u32, kind: EventType) -> usize {
        self.events.iter().position(|event| event.pcr == pcr && event.kind == kind).unwrap()
    }

    /// The event of this UEFI variable.
    pub(crate) fn variable(&mut self, name: &str) -> usize {
        let name = utf16(name);
        let named = |event: &Written| event.pcr == 7 && event.data.get(32..32 + name.len()) == Some(&name[..]);
        self.events.iter().position(named).unwrap()
    }

    pub(crate) fn insert(&mut self, at: usize, event: Written) -> &mut Self {
        self.events.insert(at, event);
        self
    }
}

pub(crate) fn header(algorithms: &[HashAlg]) -> Vec<u8> {
    let mut spec = b"Spec ID Event03\0\0\0\0\0\0\x02\x6a\x02".to_vec();
    spec.extend(u32::try_from(algorithms.len()).unwrap().to_le_bytes());
    for algorithm in algorithms {
        spec.extend(algorithm.id().to_le_bytes());
        spec.extend(u16::try_from(algorithm.digest_length()).unwrap().to_le_bytes());
    }
    spec.push(0);
    let mut out = [0_u32, 3].map(u32::to_le_bytes).concat();
    out.extend([0; 20]);
    out.extend(u32::try_from(spec.len()).unwrap().to_le_bytes());
    out.extend(spec);
    out
}
