//! A file whose trailer is accepted has exactly the size that the trailer gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io;
use strongroom_protocol::{ObjectId, WriterId};
use strongroom_sealed::{ChunkSize, HEADER, Header, ReadAt, inspect};

/// A header at the front, the fuzzer's trailer at the end, nothing between.
struct Hollow {
    header: Box<[u8; HEADER]>,
    trailer: [u8; 32],
    len: u64,
}

impl ReadAt for Hollow {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset == 0 { self.header.read_exact_at(buffer, 0) } else { self.trailer.read_exact_at(buffer, 0) }
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

fuzz_target!(|input: ([u8; 16], bool, u64, u8)| {
    let (sizes, framed, len, log2) = input;
    let Some(chunk_size) = ChunkSize::from_log2(log2) else { return };
    let header = Header {
        object: ObjectId::from([1; 16]),
        writer: WriterId::from([2; 16]),
        salt: [3; 24],
        commitment: [4; 32],
        version: 1,
        asset: "fuzz".into(),
        chunk_size,
    };
    let mut trailer = [0; 32];
    trailer[..16].copy_from_slice(&sizes);
    if framed {
        trailer[24..].copy_from_slice(b"STRNGRM1");
    }
    let source = Hollow { header: header.to_bytes().unwrap(), trailer, len };
    if let Ok(seen) = inspect(&source) {
        assert_eq!(seen.file_len, len);
        assert!(framed && seen.len <= 1 << 48 && seen.chunks <= 1 << 26);
    }
});
