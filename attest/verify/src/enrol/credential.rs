//! E5: `TPM2_MakeCredential` in software (TCG TPM 2.0 Library, Part 1, §24 and annexes B.10, C.6), and the
//! secret that the TPM must give back.

use super::kdf::{kdfa, kdfe};
use crate::{
    Refused,
    tpm::{Curve, HashAlg, Key, Public, Symmetric, uncompressed_point},
};
use aws_lc_rs::{
    cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    iv::FixedLength,
    rsa::{
        OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepPublicEncryptingKey,
        PublicEncryptingKey,
    },
};
use ring::{agreement, rand::SecureRandom};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of an activation secret: no longer than the shortest digest of an EK's nameAlg.
pub const SECRET_LENGTH: usize = 32;

/// A challenge that only a TPM with both keys can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Contents of `TPM2B_ID_OBJECT`, without that structure's own size: the integrity HMAC *with* its
    /// `TPM2B_DIGEST` size, then the encrypted secret (whose size is encrypted with it).
    pub credential_blob: Vec<u8>,
    /// Contents of `TPM2B_ENCRYPTED_SECRET`, without that structure's own size: for an RSA EK the OAEP
    /// ciphertext, for an ECC EK the ephemeral point as `TPMS_ECC_POINT` (x and y, each *with* its size).
    pub encrypted_secret: Vec<u8>,
}

/// Makes a credential over the AK's recomputed name, to the EK: row E5.
///
/// `secret` has 1 to 32 bytes. `rng` gives the seed or the ephemeral key; OAEP's own randomness comes from
/// aws-lc-rs.
pub fn make_credential(
    ek: &Public,
    ak_name: &[u8],
    secret: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Credential, Refused> {
    if secret.is_empty() || secret.len() > SECRET_LENGTH {
        return Err(problem("the secret has to have 1 to 32 bytes"));
    }
    let hash = ek.name_alg();
    let symmetric = ek.symmetric().ok_or(problem("the EK has no symmetric cipher"))?;
    let (seed, encrypted_secret) = match ek.key() {
        Key::Rsa { .. } => rsa_seed(ek, hash, rng)?,
        Key::Ecc { curve, x, y } => ecc_seed(*curve, x, y, hash, rng)?,
    };
    let credential_blob = wrap(hash, symmetric, &seed, ak_name, secret)?;
    Ok(Credential { credential_blob, encrypted_secret })
}

/// An activation that waits for its answer: the secret, and until when it counts.
///
/// [`Self::redeem`] takes it by value, so that a secret is used once. A vault that keeps it in a
/// database instead deletes the row in the transaction that redeems it.
#[derive(ZeroizeOnDrop)]
pub struct PendingActivation {
    secret: Box<[u8; SECRET_LENGTH]>,
    #[zeroize(skip)]
    expires_at: u64,
}

impl PendingActivation {
    /// A fresh secret that counts until `expires_at` (Unix seconds).
    pub fn generate(expires_at: u64, rng: &dyn SecureRandom) -> Result<Self, Refused> {
        let mut secret = Box::new([0; SECRET_LENGTH]);
        rng.fill(secret.as_mut_slice()).map_err(|_| problem("the random number generator failed"))?;
        Ok(Self { secret, expires_at })
    }

    /// One that was kept elsewhere; zeroes the place that the secret came from.
    pub fn restore(secret: &mut [u8; SECRET_LENGTH], expires_at: u64) -> Self {
        let restored = Self { secret: Box::new(*secret), expires_at };
        secret.zeroize();
        restored
    }

    /// The secret, for [`make_credential`] and for keeping it.
    pub fn secret(&self) -> &[u8; SECRET_LENGTH] {
        &self.secret
    }

    /// Unix seconds after which it does not count.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Compares the answer in constant time, once, and only in time.
    pub fn redeem(self, answer: &[u8], now: u64) -> Result<(), Refused> {
        if now > self.expires_at {
            return Err(Refused::E5Expired { expired_at: self.expires_at, now });
        }
        if bool::from(self.secret.as_slice().ct_eq(answer)) { Ok(()) } else { Err(Refused::E5Secret) }
    }
}

impl fmt::Debug for PendingActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingActivation").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

type Seed = (Zeroizing<Vec<u8>>, Vec<u8>);

/// Annex B.10.4: a random seed as long as the name's digest, by OAEP under the label "IDENTITY" with its zero.
fn rsa_seed(ek: &Public, hash: HashAlg, rng: &dyn SecureRandom) -> Result<Seed, Refused> {
    let algorithm = match hash {
        HashAlg::Sha1 => return Err(problem("its name is made with SHA-1")),
        HashAlg::Sha256 => &OAEP_SHA256_MGF1SHA256,
        HashAlg::Sha384 => &OAEP_SHA384_MGF1SHA384,
        HashAlg::Sha512 => &OAEP_SHA512_MGF1SHA512,
    };
    let mut seed = Zeroizing::new(vec![0; hash.digest_length()]);
    rng.fill(&mut seed).map_err(|_| problem("the random number generator failed"))?;
    let key = PublicEncryptingKey::from_der(&ek.spki_der()).map_err(|_| problem("its RSA key is not usable"))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| problem("its RSA key is not usable"))?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(algorithm, &seed, &mut ciphertext, Some(b"IDENTITY\0"))
        .map_err(|_| problem("its RSA key does not encrypt"))?
        .len();
    ciphertext.truncate(length);
    Ok((seed, ciphertext))
}

/// Annex C.6.1: an ephemeral key, one Diffie-Hellman, `KDFe` under "IDENTITY".
fn ecc_seed(curve: Curve, x: &[u8], y: &[u8], hash: HashAlg, rng: &dyn SecureRandom) -> Result<Seed, Refused> {
    let algorithm = match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    };
    let private = agreement::EphemeralPrivateKey::generate(algorithm, rng)
        .map_err(|_| problem("the random number generator failed"))?;
    let public = private.compute_public_key().map_err(|_| problem("no ephemeral key can be made"))?;
    let coordinates = public.as_ref().get(1..).unwrap_or_default();
    let (own_x, own_y) = coordinates.split_at_checked(curve.field_length()).unwrap_or_default();
    let ek = agreement::UnparsedPublicKey::new(algorithm, uncompressed_point(curve, x, y));
    // The TPM derives with the bytes of its own public area, so `x` goes in as it was marshalled.
    let seed = agreement::agree_ephemeral(private, &ek, |z| kdfe(hash, z, b"IDENTITY", own_x, x, hash.digest_length()))
        .map_err(|_| problem("its point is not on its curve"))?
        .ok_or(problem("its name is made with SHA-1"))?;
    let mut point = Vec::with_capacity(4 + coordinates.len());
    for coordinate in [own_x, own_y] {
        push_sized(&mut point, coordinate);
    }
    Ok((seed, point))
}

/// Part 1, §24.4: encrypts the sized secret, then authenticates it together with the AK's name.
fn wrap(hash: HashAlg, symmetric: Symmetric, seed: &[u8], ak_name: &[u8], secret: &[u8]) -> Result<Vec<u8>, Refused> {
    let unusable = || problem("its symmetric cipher is neither AES-128 nor AES-256 in CFB mode");
    let algorithm = match symmetric {
        Symmetric::AES_128_CFB => &AES_128,
        Symmetric::AES_256_CFB => &AES_256,
        _ => return Err(unusable()),
    };
    let sha1 = || problem("its name is made with SHA-1");
    let key = kdfa(hash, seed, b"STORAGE", ak_name, &[], usize::from(symmetric.key_bits / 8)).ok_or_else(sha1)?;
    let mut identity = Vec::with_capacity(secret.len() + 2);
    push_sized(&mut identity, secret);
    // The IV is zero by the specification: the key is derived from a fresh seed and used once.
    UnboundCipherKey::new(algorithm, &key)
        .and_then(EncryptingKey::cfb128)
        .and_then(|key| key.less_safe_encrypt(&mut identity, EncryptionContext::Iv128(FixedLength::from([0; 16]))))
        .map_err(|_| unusable())?;
    let key = kdfa(hash, seed, b"INTEGRITY", &[], &[], hash.digest_length()).ok_or_else(sha1)?;
    let mut context = ring::hmac::Context::with_key(&ring::hmac::Key::new(hash.hmac().ok_or_else(sha1)?, &key));
    context.update(&identity);
    context.update(ak_name);
    let mut blob = Vec::with_capacity(2 + hash.digest_length() + identity.len());
    push_sized(&mut blob, context.sign().as_ref());
    blob.extend_from_slice(&identity);
    Ok(blob)
}

/// A `TPM2B`. Nothing longer than a coordinate is ever written here.
fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn problem(problem: &'static str) -> Refused {
    Refused::E5Credential { problem }
}

#[cfg(test)]
mod tests;
