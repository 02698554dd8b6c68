//! A header that parses is written back to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_sealed::{HEADER, Header};

fuzz_target!(|front: &[u8]| {
    // The fuzzer's bytes are the front; most of a header is padding.
    let mut bytes = [0; HEADER];
    for (to, from) in bytes.iter_mut().zip(front) {
        *to = *from;
    }
    if let Ok(header) = Header::parse(&bytes) {
        assert_eq!(*header.to_bytes().unwrap(), bytes);
    }
});
