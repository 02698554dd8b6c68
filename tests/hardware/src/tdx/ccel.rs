//! The event log of a guest: crypto-agile, SHA-384, its registers counted from MRTD.

use ring::digest::{SHA384, digest};

/// An event.
#[derive(Debug, Clone)]
pub struct CcelEvent {
    /// 0 is MRTD, 1 to 4 are RTMR0 to RTMR3.
    pub index: u32,
    /// The event's type.
    pub kind: u32,
    /// What the register is extended by; `None`: the hash of the data.
    pub digest: Option<[u8; 48]>,
    /// The event's data.
    pub data: Vec<u8>,
}

impl CcelEvent {
    /// An event whose digest is of its data.
    pub fn of(index: u32, kind: u32, data: &[u8]) -> Self {
        Self { index, kind, digest: None, data: data.to_vec() }
    }

    fn digest(&self) -> [u8; 48] {
        self.digest.unwrap_or_else(|| sha384(&self.data))
    }
}

/// A log before it is laid out.
#[derive(Debug, Clone)]
pub struct Ccel {
    /// The register that the header names.
    pub header_index: u32,
    /// The algorithm of its digests, which have 48 bytes: 0x000c, SHA-384.
    pub algorithm: u16,
    /// The events.
    pub events: Vec<CcelEvent>,
    /// Bytes behind the last event.
    pub padding: Vec<u8>,
}

impl Default for Ccel {
    fn default() -> Self {
        let events = vec![
            CcelEvent::of(1, 0x8000_0008, b"firmware volume"),
            CcelEvent::of(1, 0x0000_0004, &[0; 4]),
            CcelEvent::of(2, 0x8000_0003, b"boot loader"),
            // GRUB measures the text without the label before it.
            CcelEvent {
                digest: Some(sha384(b"root=/dev/mapper/root ro")),
                ..CcelEvent::of(3, 0x0000_000d, b"kernel_cmdline: root=/dev/mapper/root ro")
            },
            CcelEvent { digest: Some([0x1d; 48]), ..CcelEvent::of(3, 0x0000_0006, b"Linux initrd\0") },
            CcelEvent::of(0, 0x0000_0003, b"says something, extends nothing"),
        ];
        Self { header_index: 1, algorithm: 0x000c, events, padding: vec![0xff; 64] }
    }
}

impl Ccel {
    /// The log.
    pub fn bytes(&self) -> Vec<u8> {
        let algorithms = [&[1, 0, 0, 0][..], &self.algorithm.to_le_bytes(), &[48, 0, 0]].concat();
        let specification = [&b"Spec ID Event03\0"[..], &[0, 0, 0, 0, 0, 2, 0, 2], &algorithms].concat();
        let mut out = [&self.header_index.to_le_bytes()[..], &[3, 0, 0, 0], &[0; 20]].concat();
        out.extend(sized(&specification));
        for event in &self.events {
            out.extend([event.index, event.kind, 1].map(u32::to_le_bytes).concat());
            out.extend([&self.algorithm.to_le_bytes()[..], &event.digest()].concat());
            out.extend(sized(&event.data));
        }
        out.extend(&self.padding);
        out
    }

    /// What it leads to, RTMR0 to RTMR3.
    pub fn rtmrs(&self) -> [[u8; 48]; 4] {
        let mut rtmrs = [[0; 48]; 4];
        for event in self.events.iter().filter(|event| event.kind != 3) {
            let rtmr = event.index.checked_sub(1).and_then(|number| rtmrs.get_mut(number as usize));
            if let Some(rtmr) = rtmr {
                *rtmr = sha384(&[&rtmr[..], &event.digest()].concat());
            }
        }
        rtmrs
    }
}

fn sha384(data: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(digest(&SHA384, data).as_ref());
    out
}

fn sized(data: &[u8]) -> Vec<u8> {
    [&u32::try_from(data.len()).unwrap().to_le_bytes()[..], data].concat()
}
