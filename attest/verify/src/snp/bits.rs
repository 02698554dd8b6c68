//! The bit fields of a report. A bit that is not known here is refused: what it allows is not known either.

use super::SnpRefused;
use strongroom_protocol::claims::{SnpGuestPolicy, SnpPlatform, SnpSigningKey};

/// `POLICY`: what the guest's owner lets the host do. Firmware holds the host to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPolicy(u64);

impl GuestPolicy {
    const SMT: u64 = 1 << 16;
    /// Reserved, and must be one.
    const ONE: u64 = 1 << 17;
    const MIGRATION_AGENT: u64 = 1 << 18;
    const DEBUG: u64 = 1 << 19;
    const SINGLE_SOCKET: u64 = 1 << 20;
    const CXL: u64 = 1 << 21;
    const AES_256_XTS: u64 = 1 << 22;
    const RAPL_DISABLED: u64 = 1 << 23;
    const CIPHERTEXT_HIDING: u64 = 1 << 24;
    const PAGE_SWAP_DISABLED: u64 = 1 << 25;
    /// All that is known: interface versions below, flags above.
    const KNOWN: u64 = (1 << 26) - 1;

    pub(super) fn read(bits: u64) -> Result<Self, SnpRefused> {
        let unknown = bits & !Self::KNOWN;
        if unknown != 0 {
            return Err(SnpRefused::S1Bits { field: "POLICY", unknown });
        }
        if bits & Self::ONE == 0 {
            return Err(SnpRefused::S1PolicyOne);
        }
        Ok(Self(bits))
    }

    fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    /// The host may read and write the guest's memory.
    pub fn debug(self) -> bool {
        self.has(Self::DEBUG)
    }

    /// A migration agent may be bound to the guest.
    pub fn migration_agent(self) -> bool {
        self.has(Self::MIGRATION_AGENT)
    }

    /// Its bits by name.
    pub fn claims(self) -> SnpGuestPolicy {
        let [abi_minor, abi_major, ..] = self.0.to_le_bytes();
        SnpGuestPolicy {
            abi_major,
            abi_minor,
            smt_allowed: self.has(Self::SMT),
            single_socket: self.has(Self::SINGLE_SOCKET),
            cxl_allowed: self.has(Self::CXL),
            aes_256_xts: self.has(Self::AES_256_XTS),
            rapl_disabled: self.has(Self::RAPL_DISABLED),
            ciphertext_hiding: self.has(Self::CIPHERTEXT_HIDING),
            page_swap_disabled: self.has(Self::PAGE_SWAP_DISABLED),
        }
    }
}

/// `PLATFORM_INFO`: how the platform was set up when the report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformInfo(u64);

impl PlatformInfo {
    /// Bits 0 to 5, and 7 (SEV-TIO); 6 and those above are reserved.
    const KNOWN: u64 = 0b1011_1111;

    pub(super) fn read(bits: u64) -> Result<Self, SnpRefused> {
        match bits & !Self::KNOWN {
            0 => Ok(Self(bits)),
            unknown => Err(SnpRefused::S1Bits { field: "PLATFORM_INFO", unknown }),
        }
    }

    /// Its bits by name.
    pub fn claims(self) -> SnpPlatform {
        let has = |bit: u32| self.0 >> bit & 1 == 1;
        SnpPlatform {
            smt: has(0),
            tsme: has(1),
            ecc: has(2),
            rapl_disabled: has(3),
            ciphertext_hiding: has(4),
            alias_check_complete: has(5),
            tio: has(7),
        }
    }
}

/// The field after `PLATFORM_INFO`: which key signed, and what of the keys is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInfo {
    /// `AUTHOR_KEY_DIGEST` is one.
    pub author_key: bool,
    /// `MASK_CHIP_KEY`: firmware does not sign.
    pub masked_key: bool,
    /// `SIGNING_KEY`; `None` where nothing signed.
    pub signing_key: Option<SnpSigningKey>,
}

impl KeyInfo {
    pub(super) fn read(bits: u32) -> Result<Self, SnpRefused> {
        let unknown = bits & !0b1_1111;
        if unknown != 0 {
            return Err(SnpRefused::S1Bits { field: "KEY_INFO", unknown: unknown.into() });
        }
        let signing_key = match bits >> 2 & 0b111 {
            0 => Some(SnpSigningKey::Vcek),
            1 => Some(SnpSigningKey::Vlek),
            7 => None,
            got => return Err(SnpRefused::S1SigningKey { got }),
        };
        Ok(Self { author_key: bits & 1 != 0, masked_key: bits & 2 != 0, signing_key })
    }
}
