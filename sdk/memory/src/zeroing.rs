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
///
/// `memset` of the C library takes the best stores that the processor has; plain stores ran no
/// slower than non-temporal ones written by hand (`benches/arena.rs`).
pub(crate) fn zero_here(bytes: &mut [u8]) {
    let start = bytes.as_mut_ptr();
    // SAFETY: `start` and the length come from a live, exclusive slice, and zero is a valid u8.
    unsafe { ptr::write_bytes(start, 0, bytes.len()) };
    // SAFETY: no instruction is emitted. Without `nomem` or `readonly` the compiler has to take it
    // that the statement reads whatever `start` points into, so the stores above must be done.
    unsafe { asm!("/* {0} */", in(reg) start, options(nostack, preserves_flags)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_become_zero_and_no_others() {
        for len in [0, 1, 63, 4096, (32 << 20) + 7] {
            let mut bytes = vec![0xA5_u8; len + 2];
            zero(&mut bytes[1..=len]);
            assert!(bytes[1..=len].iter().all(|byte| *byte == 0), "{len}");
            assert_eq!((bytes[0], bytes[len + 1]), (0xA5, 0xA5), "{len}");
        }
    }
}
