//! Bulk AES-256-GCM: from aws-lc-rs or from ring, whichever is faster on the CPU at hand.

use crate::{SealedError, geometry::TAG};
use std::{
    hint::black_box,
    sync::OnceLock,
    time::{Duration, Instant},
};
use strongroom_envelope::Secret;

/// Which library encrypts and decrypts chunks. Both give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// aws-lc-rs: the faster one where the CPU has AVX-512.
    AwsLc,
    /// ring.
    Ring,
}

/// What is measured: as much as a chunk has by default.
const SAMPLE: usize = 1 << 20;
/// Measurements of each; the fastest counts, as only it was not disturbed.
const ROUNDS: usize = 4;

impl Engine {
    /// The faster of the two on this CPU: measured at the first call, about 2 ms, and remembered.
    pub fn fastest() -> Self {
        static FASTEST: OnceLock<Engine> = OnceLock::new();
        *FASTEST.get_or_init(|| {
            let [aws_lc, ring] = Self::measure();
            // aws-lc-rs when in doubt: it can also decrypt from one place to another.
            if ring < aws_lc { Self::Ring } else { Self::AwsLc }
        })
    }

    /// The time that aws-lc-rs and ring take to open 1 MiB in cache, in this order.
    pub fn measure() -> [Duration; 2] {
        let mut best = [Duration::MAX; 2];
        let mut sample = vec![0; SAMPLE];
        for _ in 0..ROUNDS {
            for (best, engine) in best.iter_mut().zip([Self::AwsLc, Self::Ring]) {
                if let Some(time) = engine.time_opening(&mut sample) {
                    *best = time.min(*best);
                }
            }
        }
        best
    }

    fn time_opening(self, sample: &mut [u8]) -> Option<Duration> {
        // A key of zeros: what is encrypted is nothing, and nothing of it is kept.
        let key = BulkKey::new(self, &Secret::zeroed()).ok()?;
        let tag = key.seal_in_place([0; 12], b"", sample).ok()?;
        let start = Instant::now();
        let opened = key.open_in_place([0; 12], b"", &tag, black_box(sample));
        let time = start.elapsed();
        opened.then_some(time)
    }
}

/// A key set up in one of the libraries. It holds the key schedule on the heap, where neither
/// library can be told to keep it out of swap: made for one read or one writing, then dropped.
// Few exist at a time, and boxing one would move its key schedule about.
#[expect(clippy::large_enum_variant)]
pub(crate) enum BulkKey {
    AwsLc(aws_lc_rs::aead::LessSafeKey),
    Ring(ring::aead::LessSafeKey),
}

impl BulkKey {
    pub(crate) fn new(engine: Engine, key: &Secret<32>) -> Result<Self, SealedError> {
        let failed = SealedError::Cryptography { doing: "setting up AES-256-GCM" };
        match engine {
            Engine::AwsLc => aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_256_GCM, key.expose().as_slice())
                .map(|key| Self::AwsLc(aws_lc_rs::aead::LessSafeKey::new(key)))
                .map_err(|_| failed),
            Engine::Ring => ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key.expose().as_slice())
                .map(|key| Self::Ring(ring::aead::LessSafeKey::new(key)))
                .map_err(|_| failed),
        }
    }

    /// Encrypts where the plaintext stands.
    pub(crate) fn seal_in_place(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG], SealedError> {
        let mut tag = [0; TAG];
        let sealed = match self {
            Self::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), data)
                    .map(|t| tag.copy_from_slice(t.as_ref()))
                    .is_ok()
            }
            Self::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), data)
                    .map(|t| tag.copy_from_slice(t.as_ref()))
                    .is_ok()
            }
        };
        if sealed { Ok(tag) } else { Err(SealedError::Cryptography { doing: "encrypting with AES-256-GCM" }) }
    }

    /// Decrypts where the ciphertext stands. `false`: it does not verify, and `data` must be zeroed.
    #[must_use]
    pub(crate) fn open_in_place(&self, nonce: [u8; 12], aad: &[u8], tag: &[u8; TAG], data: &mut [u8]) -> bool {
        match self {
            Self::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                key.open_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), tag, data).is_ok()
            }
            Self::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), data, 0..).is_ok()
            }
        }
    }

    /// Whether [`Self::open_out_of_place`] saves a copy.
    pub(crate) fn opens_out_of_place(&self) -> bool {
        matches!(self, Self::AwsLc(_))
    }

    /// Decrypts from `ciphertext` to `data`, which has the same length, without associated data.
    /// `false`: it does not verify, and `data` must be zeroed.
    #[must_use]
    pub(crate) fn open_out_of_place(
        &self,
        nonce: [u8; 12],
        tag: &[u8; TAG],
        ciphertext: &[u8],
        data: &mut [u8],
    ) -> bool {
        if ciphertext.len() != data.len() {
            return false;
        }
        match self {
            Self::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_separate_gather(nonce, Aad::empty(), ciphertext, tag, data).is_ok()
            }
            Self::Ring(_) => {
                data.copy_from_slice(ciphertext);
                self.open_in_place(nonce, b"", tag, data)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Engine; 2] = [Engine::AwsLc, Engine::Ring];

    /// "The Galois/Counter Mode of Operation (GCM)", submission to NIST, appendix B, test case 16.
    #[test]
    fn both_give_the_known_answer() {
        let key: [u8; 32] = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
            .unwrap()
            .try_into()
            .unwrap();
        let nonce: [u8; 12] = hex::decode("cafebabefacedbaddecaf888").unwrap().try_into().unwrap();
        let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let plain = hex::decode(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        )
        .unwrap();
        let cipher = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662";
        for engine in BOTH {
            let bulk = BulkKey::new(engine, &Secret::take(&mut key.clone())).unwrap();
            let mut data = plain.clone();
            let tag = bulk.seal_in_place(nonce, &aad, &mut data).unwrap();
            assert_eq!(hex::encode(&data), cipher);
            assert_eq!(hex::encode(tag), "76fc6ece0f4e1768cddf8853bb2d551b");
            assert!(bulk.open_in_place(nonce, &aad, &tag, &mut data));
            assert_eq!(data, plain);
        }
    }

    #[test]
    fn each_opens_what_the_other_sealed_and_nothing_else() {
        for (seals, opens) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let seals = BulkKey::new(BOTH[seals], &Secret::take(&mut [1; 32])).unwrap();
            let opens = BulkKey::new(BOTH[opens], &Secret::take(&mut [1; 32])).unwrap();
            let mut sealed = vec![5; 1000];
            let tag = seals.seal_in_place([2; 12], b"aad", &mut sealed).unwrap();
            let open = |nonce, aad: &[u8], tag: [u8; TAG], mut data: Vec<u8>| {
                opens.open_in_place(nonce, aad, &tag, &mut data) && data == [5; 1000]
            };
            assert!(open([2; 12], b"aad", tag, sealed.clone()));
            let mut bare = vec![5; 1000];
            let bare_tag = seals.seal_in_place([2; 12], b"", &mut bare).unwrap();
            let mut elsewhere = vec![0; 1000];
            assert!(opens.open_out_of_place([2; 12], &bare_tag, &bare, &mut elsewhere) && elsewhere == [5; 1000]);
            assert!(!opens.open_out_of_place([2; 12], &tag, &bare, &mut elsewhere));
            assert!(!opens.open_out_of_place([2; 12], &bare_tag, &bare, &mut elsewhere[1..]));
            assert!(!open([3; 12], b"aad", tag, sealed.clone()));
            assert!(!open([2; 12], b"aae", tag, sealed.clone()));
            assert!(!open([2; 12], b"aad", [0; TAG], sealed.clone()));
            sealed[999] ^= 1;
            assert!(!open([2; 12], b"aad", tag, sealed));
        }
    }

    #[test]
    fn both_can_be_measured_and_one_is_chosen_for_good() {
        assert!(Engine::measure().iter().all(|time| *time > Duration::ZERO && *time < Duration::MAX));
        assert_eq!(Engine::fastest(), Engine::fastest());
    }
}
