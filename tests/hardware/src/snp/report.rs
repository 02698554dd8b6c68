//! `ATTESTATION_REPORT`, field by field.

use super::{Leaf, Product};
use crate::certificate::Key;

/// A report before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// 2 to 5; what is laid out depends on it.
    pub version: u32,
    /// `GUEST_SVN`.
    pub guest_svn: u32,
    /// `POLICY`.
    pub policy: u64,
    /// `FAMILY_ID`.
    pub family_id: [u8; 16],
    /// `IMAGE_ID`.
    pub image_id: [u8; 16],
    /// `VMPL`.
    pub vmpl: u32,
    /// `SIGNATURE_ALGO`.
    pub algorithm: u32,
    /// `CURRENT_TCB`, as it lies in the report.
    pub current_tcb: [u8; 8],
    /// `PLATFORM_INFO`.
    pub platform: u64,
    /// Author key, masking, signing key.
    pub key_info: u32,
    /// `REPORT_DATA`.
    pub report_data: [u8; 64],
    /// `MEASUREMENT`.
    pub measurement: [u8; 48],
    /// `HOST_DATA`.
    pub host_data: [u8; 32],
    /// `ID_KEY_DIGEST`.
    pub id_key_digest: [u8; 48],
    /// `AUTHOR_KEY_DIGEST`.
    pub author_key_digest: [u8; 48],
    /// `REPORT_ID`.
    pub report_id: [u8; 32],
    /// `REPORT_ID_MA`.
    pub report_id_ma: [u8; 32],
    /// `REPORTED_TCB`.
    pub reported_tcb: [u8; 8],
    /// Family, model, stepping; from version 3 on.
    pub cpu: [u8; 3],
    /// `CHIP_ID`.
    pub chip_id: [u8; 64],
    /// `COMMITTED_TCB`.
    pub committed_tcb: [u8; 8],
    /// Build, minor, major of the firmware that runs.
    pub current_version: [u8; 3],
    /// The same of what was committed.
    pub committed_version: [u8; 3],
    /// `LAUNCH_TCB`.
    pub launch_tcb: [u8; 8],
    /// Mitigation vectors at launch and now; from version 5 on.
    pub mitigations: [u64; 2],
    /// Bytes that are set last before signing, by offset.
    pub set: Vec<(usize, u8)>,
    /// Bytes that are set after signing, by offset.
    pub set_after: Vec<(usize, u8)>,
}

impl Report {
    /// An honest report of version 3 at level 0. Microcode is above 7Fh, which AMD's certificates write in two bytes.
    pub fn new(product: Product, kind: Leaf) -> Self {
        let (cpu, tcb) = match product {
            Product::Milan => ([0x19, 0x01, 0x01], [4, 0, 0, 0, 0, 0, 24, 0xdb]),
            Product::Genoa => ([0x19, 0x11, 0x01], [10, 0, 0, 0, 0, 0, 23, 0x88]),
            Product::Turin => ([0x1a, 0x02, 0x01], [1, 1, 1, 4, 0, 0, 0, 0x90]),
        };
        let mut chip_id = [0; 64];
        let length = if product == Product::Turin { 8 } else { 64 };
        chip_id.iter_mut().take(length).zip(0x41..).for_each(|(to, byte)| *to = byte);
        Self {
            version: 3,
            guest_svn: 7,
            policy: 0x3_0000,
            family_id: [1; 16],
            image_id: [2; 16],
            vmpl: 0,
            algorithm: 1,
            current_tcb: tcb,
            platform: 0b10_0101,
            key_info: match kind {
                Leaf::Vcek => 0,
                Leaf::Vlek => 1 << 2,
            },
            report_data: [3; 64],
            measurement: [4; 48],
            host_data: [5; 32],
            id_key_digest: [6; 48],
            author_key_digest: [0; 48],
            report_id: [8; 32],
            report_id_ma: [0xff; 32],
            reported_tcb: tcb,
            cpu,
            chip_id,
            committed_tcb: tcb,
            current_version: [20, 55, 1],
            committed_version: [20, 55, 1],
            launch_tcb: tcb,
            mitigations: [0b101, 0b111],
            set: Vec::new(),
            set_after: Vec::new(),
        }
    }

    /// The report, laid out and signed: r and s little-endian, 72 bytes each.
    pub fn sign(&self, key: &Key) -> Vec<u8> {
        let mut out = vec![0; 1184];
        put(&mut out, 0x000, &self.version.to_le_bytes());
        put(&mut out, 0x004, &self.guest_svn.to_le_bytes());
        put(&mut out, 0x008, &self.policy.to_le_bytes());
        put(&mut out, 0x010, &self.family_id);
        put(&mut out, 0x020, &self.image_id);
        put(&mut out, 0x030, &self.vmpl.to_le_bytes());
        put(&mut out, 0x034, &self.algorithm.to_le_bytes());
        put(&mut out, 0x038, &self.current_tcb);
        put(&mut out, 0x040, &self.platform.to_le_bytes());
        put(&mut out, 0x048, &self.key_info.to_le_bytes());
        put(&mut out, 0x050, &self.report_data);
        put(&mut out, 0x090, &self.measurement);
        put(&mut out, 0x0c0, &self.host_data);
        put(&mut out, 0x0e0, &self.id_key_digest);
        put(&mut out, 0x110, &self.author_key_digest);
        put(&mut out, 0x140, &self.report_id);
        put(&mut out, 0x160, &self.report_id_ma);
        put(&mut out, 0x180, &self.reported_tcb);
        if self.version >= 3 {
            put(&mut out, 0x188, &self.cpu);
        }
        put(&mut out, 0x1a0, &self.chip_id);
        put(&mut out, 0x1e0, &self.committed_tcb);
        put(&mut out, 0x1e8, &self.current_version);
        put(&mut out, 0x1ec, &self.committed_version);
        put(&mut out, 0x1f0, &self.launch_tcb);
        if self.version >= 5 {
            let [launch, current] = self.mitigations;
            put(&mut out, 0x1f8, &launch.to_le_bytes());
            put(&mut out, 0x200, &current.to_le_bytes());
        }
        for (at, byte) in &self.set {
            put(&mut out, *at, &[*byte]);
        }
        let signature = key.sign_fixed(out.get(..0x2a0).unwrap_or_default());
        let (r, s) = signature.split_at(signature.len() / 2);
        for (at, number) in [(0x2a0, r), (0x2e8, s)] {
            let little: Vec<u8> = number.iter().rev().copied().collect();
            put(&mut out, at, &little);
        }
        for (at, byte) in &self.set_after {
            put(&mut out, *at, &[*byte]);
        }
        out
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
}
