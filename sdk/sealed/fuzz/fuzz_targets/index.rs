//! No decrypted index makes the reader panic or run away.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_sealed::{ChunkSize, fuzz_index};

fuzz_target!(|input: (u32, &[u8])| {
    let (n, encoded) = input;
    // As it comes, then framed as an index must be, so that the map is reached.
    let _ = fuzz_index(encoded, n.into(), ChunkSize::MIN);
    let mut plain = u32::try_from(encoded.len()).unwrap_or(0).to_le_bytes().to_vec();
    plain.extend_from_slice(encoded);
    plain.resize(plain.len().next_multiple_of(4096), 0);
    let _ = fuzz_index(&plain, n.into(), ChunkSize::MIN);
});
