//! `KDFa` and `KDFe` (TCG TPM 2.0 Library, Part 1, §11.4.10), for whole bytes.

use crate::tpm::HashAlg;
use zeroize::Zeroizing;

/// `KDFa`: SP 800-108 counter mode with HMAC. `label` without its terminating zero; `length` in bytes.
/// `None` for SHA-1.
pub(super) fn kdfa(
    hash: HashAlg,
    key: &[u8],
    label: &[u8],
    context_u: &[u8],
    context_v: &[u8],
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let key = ring::hmac::Key::new(hash.hmac()?, key);
    blocks(length, |counter, bits, out| {
        let mut context = ring::hmac::Context::with_key(&key);
        for part in [counter.as_slice(), label, &[0], context_u, context_v, bits.as_slice()] {
            context.update(part);
        }
        out.extend_from_slice(context.sign().as_ref());
    })
}

/// `KDFe`: SP 800-56A concatenation KDF. `label` without its terminating zero; `length` in bytes.
/// `None` for SHA-1.
pub(super) fn kdfe(
    hash: HashAlg,
    z: &[u8],
    label: &[u8],
    party_u: &[u8],
    party_v: &[u8],
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    hash.hmac()?;
    blocks(length, |counter, _, out| {
        let block = Zeroizing::new(hash.digest(&[counter.as_slice(), z, label, &[0], party_u, party_v]));
        out.extend_from_slice(&block);
    })
}

/// Counts from 1 until there are enough bytes.
fn blocks(length: usize, mut block: impl FnMut(&[u8; 4], &[u8; 4], &mut Vec<u8>)) -> Option<Zeroizing<Vec<u8>>> {
    let bits = u32::try_from(length).ok()?.checked_mul(8)?.to_be_bytes();
    // Room for one whole block more than asked for, so that the vector never moves.
    let mut out = Zeroizing::new(Vec::with_capacity(length + 64));
    let mut counter = 0_u32;
    while out.len() < length {
        counter += 1;
        block(&counter.to_be_bytes(), &bits, &mut out);
    }
    out.truncate(length);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    /// Answers of an independent implementation: `openssl kdf ... KBKDF` with mode COUNTER, mac HMAC,
    /// salt = label, info = both contexts.
    #[test]
    fn kdfa_gives_the_known_answers() {
        let (key, u, v) = ([0x0b; 32], [1; 16], [2; 16]);
        let kdfa = |hash, label: &[u8], u: &[u8], v: &[u8], length| kdfa(hash, &key, label, u, v, length).unwrap();
        assert_eq!(*kdfa(HashAlg::Sha256, b"STORAGE", &u, &v, 16), answer("1a9b16dea898e52cd7be664b3fcd1abc"));
        assert_eq!(
            *kdfa(HashAlg::Sha256, b"INTEGRITY", &[], &[], 32),
            answer("d31fe0aa206c0af241f3d41b032c42355526931bce8cf86d73d88491aae496c1")
        );
        assert_eq!(
            *kdfa(HashAlg::Sha256, b"STORAGE", &u, &v, 66),
            answer(
                "fbec29bfee6b584f1b737ba0c07d02979f14c0e3ea6dfdb09c7b958d34e25308\
                 ab17113e8b3355be681b363a88cd282160999f500c8263fb12b3d2171f10d8ef61c0"
            )
        );
        assert_eq!(
            *kdfa(HashAlg::Sha384, b"INTEGRITY", &[], &[], 48),
            answer(
                "2e3c694db9b7906c4711c1c97ce7523198d62b4088280edf5f1ff112b37ef246\
                 827f2c3f088fe9ce25cde25631893c4f"
            )
        );
    }

    /// Answers of an independent implementation: `openssl kdf ... SSKDF` with info = label, zero, both parties.
    #[test]
    fn kdfe_gives_the_known_answers() {
        let (z, u, v) = ([0x0c; 32], [3; 32], [4; 32]);
        assert_eq!(
            *kdfe(HashAlg::Sha256, &z, b"IDENTITY", &u, &v, 32).unwrap(),
            answer("a2385ab2ac50dc367c5e4ce1ad4c370f52b5266ba9907a7e305af967d7c82a83")
        );
        assert_eq!(
            *kdfe(HashAlg::Sha384, &z, b"IDENTITY", &u, &v, 48).unwrap(),
            answer(
                "5069b704dc06d6a052a8225e327ae622fb97134f673d52538b24a5a8c27f49aa\
                 cc0e22579e3bb53b92fda89b233ec72e"
            )
        );
    }

    #[test]
    fn sha1_derives_nothing() {
        assert!(kdfa(HashAlg::Sha1, &[0; 32], b"STORAGE", &[], &[], 16).is_none());
        assert!(kdfe(HashAlg::Sha1, &[0; 32], b"IDENTITY", &[], &[], 16).is_none());
    }
}
