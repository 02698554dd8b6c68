//! GUIDs in EFI's byte order: three little-endian fields, then eight bytes.

use std::fmt;

/// A GUID as it stands in variables and signature lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Guid(pub [u8; 16]);

impl Guid {
    /// Variables of the UEFI specification itself (§3.3).
    pub(super) const GLOBAL: Self = Self::new(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0, 0xe0, 0x98, 3, 0x2b, 0x8c]);
    /// The databases of signatures (§32.6.1).
    pub(super) const IMAGE_SECURITY: Self =
        Self::new(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
    /// A list of X.509 certificates (§32.4.1).
    pub(super) const CERT_X509: Self =
        Self::new(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);

    const fn new(a: u32, b: u16, c: u16, d: [u8; 8]) -> Self {
        let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
        Self([a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7])
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = self.0;
        let (a, b, c) =
            (u32::from_le_bytes([a0, a1, a2, a3]), u16::from_le_bytes([b0, b1]), u16::from_le_bytes([c0, c1]));
        write!(f, "{a:08x}-{b:04x}-{c:04x}-")?;
        for (place, byte) in rest.iter().enumerate() {
            write!(f, "{}{byte:02x}", if place == 2 { "-" } else { "" })?;
        }
        Ok(())
    }
}
