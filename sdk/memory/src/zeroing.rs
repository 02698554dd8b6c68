//! Clearing memory so that it is really cleared.

use crate::workers;
use std::{arch::asm, ptr};

/// Zeroes `bytes`, with several threads where there is enough to do, at memory bandwidth. The
/// compiler cannot leave the stores out, even if nobody reads the bytes again.
pub fn zero(bytes: &mut [u8]) {
    const CACHE_LINE: usize = 64;
    // Cannot fail: the work does not.
    let _ = workers::spread(bytes, CACHE_LINE, |piece| {
        zero_here(piece);
        Ok(())
    });
}

/// Zeroes `bytes` on this thread.
pub(crate) fn zero_here(bytes: &mut [u8]) {
    let start = bytes.as_mut_ptr();
    if bytes.len() < LARGE {
        clear(bytes);
    } else {
        clear_large(bytes);
    }
    // SAFETY: no instruction is emitted. Without `nomem` or `readonly` the compiler has to take it
    // that the statement reads whatever `start` points into, so the stores above must be done.
    unsafe { asm!("/* {0} */", in(reg) start, options(nostack, preserves_flags)) };
}

/// From here on, what is zeroed would only push something useful out of the caches.
const LARGE: usize = 1 << 20;

fn clear(bytes: &mut [u8]) {
    // SAFETY: pointer and length come from a live, exclusive slice, and zero is a valid u8.
    unsafe { ptr::write_bytes(bytes.as_mut_ptr(), 0, bytes.len()) };
}

/// On `x86_64` past the caches: an ordinary store first reads the line that it overwrites, and
/// memory carries everything twice (`benches/arena.rs`: 13 GB/s, and 7 by memset).
#[cfg(target_arch = "x86_64")]
fn clear_large(bytes: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_setzero_si128, _mm_sfence, _mm_stream_si128};
    #[repr(C, align(64))]
    struct Line([__m128i; 4]);

    // SAFETY: a Line is 64 bytes of which every value is valid, seen as a Line or as bytes.
    let (head, lines, tail) = unsafe { bytes.align_to_mut::<Line>() };
    clear(head);
    clear(tail);
    for line in lines {
        for quarter in &mut line.0 {
            // SAFETY: SSE2 is part of x86_64, and `quarter` is a live, exclusive, aligned vector.
            unsafe { _mm_stream_si128(quarter, _mm_setzero_si128()) };
        }
    }
    // Such stores are not ordered with others: nobody may look before they are done.
    // SAFETY: a fence has no operands.
    unsafe { _mm_sfence() };
}

/// Elsewhere memset does the right thing: on `aarch64` it zeroes whole lines without reading them.
#[cfg(not(target_arch = "x86_64"))]
fn clear_large(bytes: &mut [u8]) {
    clear(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_become_zero_and_no_others() {
        for len in [0, 1, 63, 4096, LARGE - 1, LARGE, LARGE + 130, (32 << 20) + 7] {
            let mut bytes = vec![0xA5_u8; len + 2];
            zero(&mut bytes[1..=len]);
            assert!(bytes[1..=len].iter().all(|byte| *byte == 0), "{len}");
            assert_eq!((bytes[0], bytes[len + 1]), (0xA5, 0xA5), "{len}");
        }
    }
}
