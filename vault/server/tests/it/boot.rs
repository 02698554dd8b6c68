//! What a machine measured, for the TPM of the tests: a boot log, an IMA log, and the PCRs that they lead to.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::collections::BTreeMap;
use strongroom_protocol::sha256;

const NO_ACTION: u32 = 3;
const SEPARATOR: u32 = 4;
const S_CRTM_VERSION: u32 = 8;
const IPL: u32 = 0x0d;
const VARIABLE: u32 = 0x8000_0001;
const APPLICATION: u32 = 0x8000_0003;
const ACTION: u32 = 0x8000_0007;

/// `EFI_GLOBAL_VARIABLE`, `EFI_IMAGE_SECURITY_DATABASE`.
const GLOBAL: [u8; 16] = [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0, 0xe0, 0x98, 3, 0x2b, 0x8c];
const SECURITY: [u8; 16] =
    [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];

/// A boot without Secure Boot, by GRUB.
#[derive(Debug, Clone)]
pub(crate) struct Boot {
    /// The kernel's command line, PCR 8.
    pub(crate) command_line: &'static str,
    /// The kernel, PCR 9.
    pub(crate) kernel: &'static [u8],
    /// A text that the system measures, PCR 12.
    pub(crate) container: Option<&'static str>,
}

impl Default for Boot {
    fn default() -> Self {
        Self { command_line: "/vmlinuz ro quiet", kernel: b"a kernel", container: None }
    }
}

/// PCR, type, what the digest is of, data.
type Event = (u32, u32, Vec<u8>, Vec<u8>);

impl Boot {
    fn events(&self) -> Vec<Event> {
        let of_data = |pcr, kind, data: &[u8]| (pcr, kind, data.to_vec(), data.to_vec());
        let variable = |guid, name, value| of_data(7, VARIABLE, &variable(guid, name, value));
        let mut events = vec![of_data(0, S_CRTM_VERSION, b"firmware 1")];
        events.push(variable(GLOBAL, "SecureBoot", &[0]));
        events.extend(
            [(GLOBAL, "PK"), (GLOBAL, "KEK"), (SECURITY, "db"), (SECURITY, "dbx")].map(|(g, n)| variable(g, n, &[])),
        );
        events.extend((0..8).map(|pcr| of_data(pcr, SEPARATOR, &[0; 4])));
        let label = |label: &str, text: &str| format!("{label}{text}\0").into_bytes();
        events.extend([
            (4, APPLICATION, b"grub".to_vec(), vec![0; 32]),
            (9, IPL, self.kernel.to_vec(), b"/vmlinuz\0".to_vec()),
            (8, IPL, self.command_line.into(), label("kernel_cmdline: ", self.command_line)),
            of_data(5, ACTION, b"Exit Boot Services Invocation"),
            of_data(5, ACTION, b"Exit Boot Services Returned with Success"),
        ]);
        events.extend(self.container.map(|text| of_data(12, IPL, text.as_bytes())));
        events
    }

    /// The log as firmware writes it, one SHA-256 bank.
    pub(crate) fn log(&self) -> Vec<u8> {
        let spec = [&b"Spec ID Event03\0\0\0\0\0\0\x02\x6a\x02\x01\0\0\0\x0b\0\x20\0\0"[..]].concat();
        let mut log = [0, NO_ACTION].map(u32::to_le_bytes).concat();
        log.extend([0; 20]);
        log.extend(sized(&spec));
        for (pcr, kind, measured, data) in self.events() {
            log.extend([pcr, kind, 1].map(u32::to_le_bytes).concat());
            log.extend(0x000b_u16.to_le_bytes());
            log.extend(sha256(&measured));
            log.extend(sized(&data));
        }
        log
    }

    /// What the PCRs hold after it.
    pub(crate) fn pcrs(&self) -> BTreeMap<u8, [u8; 32]> {
        let mut pcrs = BTreeMap::new();
        for (pcr, _, measured, _) in self.events() {
            extend(pcrs.entry(u8::try_from(pcr).unwrap()).or_default(), sha256(&measured));
        }
        pcrs
    }
}

/// What the kernel measured since that boot.
#[derive(Debug, Clone)]
pub(crate) struct Ima(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    data: Vec<u8>,
    violation: bool,
}

impl Ima {
    /// The log of a kernel that has just started.
    pub(crate) fn of(boot: &Boot) -> Self {
        let booted = boot.pcrs();
        let values: Vec<u8> = (0..10).flat_map(|pcr| booted.get(&pcr).copied().unwrap_or_default()).collect();
        let mut ima = Self(Vec::new());
        ima.add("boot_aggregate", &sha256(&values), false);
        ima
    }

    /// Runs a program: its content is its path.
    pub(crate) fn run(&mut self, path: &str) {
        self.add(path, &sha256(path.as_bytes()), false);
    }

    /// Measures a file that is open for writing.
    pub(crate) fn violate(&mut self, path: &str) {
        self.add(path, &[0; 32], true);
    }

    fn add(&mut self, path: &str, sha256: &[u8; 32], violation: bool) {
        let file = [&b"sha256:\0"[..], sha256].concat();
        let data = [sized(&file), sized(&[path.as_bytes(), b"\0"].concat())].concat();
        self.0.push(Entry { data, violation });
    }

    /// The binary log.
    pub(crate) fn log(&self) -> Vec<u8> {
        let entry = |entry: &Entry| {
            let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &entry.data);
            let hash = if entry.violation { &[0; 20] } else { hash.as_ref() };
            [&10_u32.to_le_bytes()[..], hash, &sized(b"ima-ng"), &sized(&entry.data)].concat()
        };
        self.0.iter().flat_map(entry).collect()
    }

    /// What PCR 10 holds.
    pub(crate) fn pcr(&self) -> [u8; 32] {
        let mut pcr = [0; 32];
        for Entry { data, violation } in &self.0 {
            extend(&mut pcr, if *violation { [0xff; 32] } else { sha256(data) });
        }
        pcr
    }
}

/// A file's digest as lists name it.
pub(crate) fn digest_of(path: &str) -> String {
    format!("sha256:{}", hex::encode(sha256(path.as_bytes())))
}

fn extend(pcr: &mut [u8; 32], digest: [u8; 32]) {
    *pcr = sha256(&[*pcr, digest].concat());
}

fn variable(guid: [u8; 16], name: &str, value: &[u8]) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let sizes = [name.len() as u64, value.len() as u64].map(u64::to_le_bytes).concat();
    [&guid[..], &sizes, &units, value].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}
