//! `ATTESTATION_REPORT` (AMD 56860, "Attestation"): 1,184 bytes, versions 2 to 5.

use super::{
    SnpRefused,
    bits::{GuestPolicy, KeyInfo, PlatformInfo},
    tcb::RawTcb,
};
use strongroom_protocol::{claims::SnpProduct, limits::SNP_REPORT};

/// Bytes of the report that its signature covers.
pub const SIGNED: usize = 0x2a0;
/// The one signature algorithm: ECDSA P-384 with SHA-384.
const ECDSA_P384_SHA384: u32 = 1;
/// `REPORT_ID_MA` of a guest without a migration agent.
const NO_AGENT: [u8; 32] = [0xff; 32];

/// A report whose form holds (row S1). Who signed it is not known by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationReport {
    /// 2 to 5.
    pub version: u32,
    /// The guest's security version number.
    pub guest_svn: u32,
    /// What the guest's policy lets the host do.
    pub policy: GuestPolicy,
    /// From the ID block.
    pub family_id: [u8; 16],
    /// From the ID block.
    pub image_id: [u8; 16],
    /// The privilege level that asked: 0 to 3, or all ones where the host asked.
    pub vmpl: u32,
    /// `CURRENT_TCB`.
    pub current_tcb: RawTcb,
    /// `PLATFORM_INFO`.
    pub platform: PlatformInfo,
    /// Author key, masking, and the kind of the signing key.
    pub key_info: KeyInfo,
    /// What the guest gave.
    pub report_data: [u8; 64],
    /// The launch digest.
    pub measurement: [u8; 48],
    /// What the host gave.
    pub host_data: [u8; 32],
    /// SHA-384 of the ID key.
    pub id_key_digest: [u8; 48],
    /// SHA-384 of the author key.
    pub author_key_digest: [u8; 48],
    /// The guest's id.
    pub report_id: [u8; 32],
    /// The id of its migration agent, if it has one.
    pub report_id_ma: [u8; 32],
    /// `REPORTED_TCB`.
    pub reported_tcb: RawTcb,
    /// Family and model by `CPUID`, extended and base together; `None` in version 2.
    pub cpu: Option<Cpu>,
    /// The chip's id; zeros where it is masked.
    pub chip_id: [u8; 64],
    /// `COMMITTED_TCB`.
    pub committed_tcb: RawTcb,
    /// The firmware that runs.
    pub current_version: FirmwareVersion,
    /// The firmware that was committed.
    pub committed_version: FirmwareVersion,
    /// `LAUNCH_TCB`.
    pub launch_tcb: RawTcb,
    /// Mitigation vectors at launch and now; `None` before version 5.
    pub mitigations: Option<MitigationVectors>,
}

/// Which processor, as version 3 and later say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// Family, extended and base together.
    pub family: u8,
    /// Model, extended and base together.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl Cpu {
    /// Row S2: the line of products; `None` where it is none that is known.
    pub fn product(self) -> Option<SnpProduct> {
        match (self.family, self.model) {
            (0x19, 0x00..=0x0f) => Some(SnpProduct::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(SnpProduct::Genoa),
            (0x1a, 0x00..=0x11) => Some(SnpProduct::Turin),
            _ => None,
        }
    }
}

/// A version of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirmwareVersion {
    /// Major number of the interface.
    pub major: u8,
    /// Minor number of the interface.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

impl std::fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// Mitigations that were verified to be in force, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MitigationVectors {
    /// When the guest was launched.
    pub launch: u64,
    /// Now.
    pub current: u64,
}

impl AttestationReport {
    /// Row S1: reads a report of exactly 1,184 bytes. Reserved bytes and bits must be zero. The signature's bytes are
    /// left to row S11.
    pub fn parse(bytes: &[u8]) -> Result<Self, SnpRefused> {
        if bytes.len() != SNP_REPORT {
            return Err(SnpRefused::S1Length { expected: SNP_REPORT, actual: bytes.len() });
        }
        let mut reader = Reader { rest: bytes, at: 0 };
        let version = reader.u32()?;
        if !(2..=5).contains(&version) {
            return Err(SnpRefused::S1Version { got: version });
        }
        let guest_svn = reader.u32()?;
        let policy = GuestPolicy::read(reader.u64()?)?;
        let (family_id, image_id) = (reader.array()?, reader.array()?);
        let vmpl = reader.u32()?;
        let algorithm = reader.u32()?;
        if algorithm != ECDSA_P384_SHA384 {
            return Err(SnpRefused::S1Algorithm { got: algorithm });
        }
        let current_tcb = RawTcb(reader.array()?);
        let platform = PlatformInfo::read(reader.u64()?)?;
        let key_info = KeyInfo::read(reader.u32()?)?;
        reader.zeros(4)?;
        let (report_data, measurement, host_data) = (reader.array()?, reader.array()?, reader.array()?);
        let (id_key_digest, author_key_digest) = (reader.array()?, reader.array()?);
        let (report_id, report_id_ma) = (reader.array()?, reader.array()?);
        let reported_tcb = RawTcb(reader.array()?);
        let cpu = if version == 2 {
            reader.zeros(3)?;
            None
        } else {
            let [family, model, stepping] = reader.array()?;
            Some(Cpu { family, model, stepping })
        };
        reader.zeros(21)?;
        let chip_id = reader.array()?;
        let committed_tcb = RawTcb(reader.array()?);
        let current_version = reader.version()?;
        let committed_version = reader.version()?;
        let launch_tcb = RawTcb(reader.array()?);
        let mitigations = if version >= 5 {
            Some(MitigationVectors { launch: reader.u64()?, current: reader.u64()? })
        } else {
            reader.zeros(16)?;
            None
        };
        reader.zeros(152)?;
        Ok(Self {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            current_tcb,
            platform,
            key_info,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            cpu,
            chip_id,
            committed_tcb,
            current_version,
            committed_version,
            launch_tcb,
            mitigations,
        })
    }

    /// Row S2: the product by `CPUID`; `None` in version 2, which does not say.
    pub fn product(&self) -> Result<Option<SnpProduct>, SnpRefused> {
        let Some(cpu) = self.cpu else { return Ok(None) };
        match cpu.product() {
            Some(product) => Ok(Some(product)),
            None => Err(SnpRefused::S2Unknown { family: cpu.family, model: cpu.model }),
        }
    }

    /// The chip's id, if it is not masked.
    pub fn chip_id(&self) -> Option<&[u8; 64]> {
        (self.chip_id != [0; 64]).then_some(&self.chip_id)
    }

    /// Whether a migration agent is bound to the guest.
    pub fn has_migration_agent(&self) -> bool {
        self.report_id_ma != NO_AGENT
    }
}

/// Reads little-endian fields from front to back.
struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnpRefused> {
        let short = SnpRefused::S1Length { expected: SNP_REPORT, actual: self.at + self.rest.len() };
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, SnpRefused> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, SnpRefused> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes that are reserved: they must be zero.
    fn zeros(&mut self, length: usize) -> Result<(), SnpRefused> {
        for _ in 0..length {
            let at = self.at;
            let [byte] = self.array()?;
            if byte != 0 {
                return Err(SnpRefused::S1Reserved { at, got: byte });
            }
        }
        Ok(())
    }

    /// Build, minor, major, and a reserved byte.
    fn version(&mut self) -> Result<FirmwareVersion, SnpRefused> {
        let [build, minor, major] = self.array()?;
        self.zeros(1)?;
        Ok(FirmwareVersion { major, minor, build })
    }
}
