//! What protected memory costs, beside the plain kind: `cargo bench -p strongroom-memory [-- MIB]`.
//!
//! Medians of several runs in one process, in the order printed.
#![allow(unsafe_code, reason = "measures system calls and stores that have no safe form")]

use std::{
    hint::black_box,
    ptr,
    time::{Duration, Instant},
};
use strongroom_memory::{Arena, ArenaPool, KeyPages, KeyPagesPreference, Protection, Weakening, zero};

const RUNS: usize = 7;

fn main() {
    let mib = std::env::args().skip(1).find_map(|argument| argument.parse::<usize>().ok()).unwrap_or(1024);
    let bytes = mib << 20;
    // Without CAP_IPC_LOCK the rest is still worth knowing.
    let protection = Protection::default().accepting(Weakening::UnlockedMemory);
    let Ok(mut arena) = Arena::allocate(bytes, &protection) else {
        println!("{mib} MiB cannot be had");
        return;
    };
    println!("{mib} MiB, medians of {RUNS} runs; arena locked: {}", arena.is_locked());

    clearing(arena.as_mut_slice());
    drop(arena);
    first_touch(bytes);
    rate("Arena::allocate", bytes, || (), |()| Arena::allocate(bytes, &protection));
    let allocated = || {
        let mut arena = Arena::allocate(bytes, &protection).ok();
        if let Some(arena) = &mut arena {
            arena.as_mut_slice().fill(1);
        }
        arena
    };
    rate("Arena drop, all of it used", bytes, allocated, drop);
    let pool = ArenaPool::new(protection.clone(), 2 * bytes);
    drop(pool.take(bytes));
    let take_fill = || {
        let mut arena = pool.take(bytes).ok();
        if let Some(arena) = &mut arena {
            arena.as_mut_slice().fill(1);
        }
        arena
    };
    rate("back into the pool, all of it used", bytes, take_fill, drop);
    each("ArenaPool::take of an idle arena", || pool.take(bytes));
    for preference in [KeyPagesPreference::Best, KeyPagesPreference::LockedAnonymous] {
        let protection = Protection::default().with_key_pages(preference);
        let Ok(pages) = KeyPages::new(&protection) else { continue };
        let kind = pages.kind();
        each(&format!("KeyPages::new, {kind}"), || KeyPages::new(&protection));
        each(&format!("store and drop a key, {kind}"), || pages.store(&[1; 32]));
    }
}

fn clearing(bytes: &mut [u8]) {
    let len = bytes.len();
    let mut source = vec![1_u8; len];
    source.fill(2);
    rate("memcpy, one thread", len, || (), |()| bytes.copy_from_slice(black_box(&source)));
    drop(source);
    rate(
        "memset, one thread",
        len,
        || (),
        |()| {
            bytes.fill(0);
            black_box(bytes.as_ptr());
        },
    );
    rate(
        "zero(), one thread (pieces of 7 MiB)",
        len,
        || (),
        |()| {
            for piece in bytes.chunks_mut(7 << 20) {
                zero(piece);
            }
        },
    );
    rate("zero(), all threads", len, || (), |()| zero(bytes));
}

/// Ways to have the kernel back fresh memory.
fn first_touch(bytes: usize) {
    for huge in [false, true] {
        let name = if huge { "huge pages" } else { "small pages" };
        for threads in [1, 2] {
            rate(
                &format!("MADV_POPULATE_WRITE, {name}, threads: {threads}"),
                bytes,
                || Fresh::new(bytes, huge),
                |fresh| {
                    let piece = (bytes / threads).next_multiple_of(2 << 20);
                    std::thread::scope(|scope| {
                        for start in (0..bytes).step_by(piece) {
                            let (address, len) = (fresh.data as usize + start, piece.min(bytes - start));
                            scope.spawn(move || {
                                // SAFETY: the range lies inside `fresh`, which outlives the thread.
                                assert_eq!(
                                    unsafe { libc::madvise(address as *mut _, len, libc::MADV_POPULATE_WRITE) },
                                    0
                                );
                            });
                        }
                    });
                    fresh
                },
            );
        }
        rate(
            &format!("mlock alone, {name}"),
            bytes,
            || Fresh::new(bytes, huge),
            |fresh| {
                // SAFETY: the range is `fresh`.
                if unsafe { libc::mlock(fresh.data.cast(), bytes) } != 0 {
                    println!("  (mlock refused)");
                }
                fresh
            },
        );
    }
    rate(
        "plain memory, touched by memset",
        bytes,
        || Fresh::new(bytes, false),
        |fresh| {
            // SAFETY: the range is `fresh`, writable, and nobody else's.
            unsafe { ptr::write_bytes(fresh.data, 1, bytes) };
            fresh
        },
    );
}

/// Untouched anonymous memory that begins on a huge page.
struct Fresh {
    base: *mut libc::c_void,
    reserved: usize,
    data: *mut u8,
}

impl Fresh {
    fn new(bytes: usize, huge: bool) -> Self {
        let reserved = bytes + (2 << 20);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), reserved, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let data = base.cast::<u8>().wrapping_add(base.cast::<u8>().align_offset(2 << 20));
        let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(base, reserved, advice) };
        Self { base, reserved, data }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing refers to it any more.
        unsafe { libc::munmap(self.base, self.reserved) };
    }
}

/// Prints the median rate of `work` on what `prepare` makes; dropping the result is not timed.
fn rate<P, R>(name: &str, bytes: usize, mut prepare: impl FnMut() -> P, mut work: impl FnMut(P) -> R) {
    let median = median(|| {
        let prepared = prepare();
        let start = Instant::now();
        let result = work(prepared);
        let took = start.elapsed();
        drop(black_box(result));
        took
    });
    #[allow(clippy::cast_precision_loss, reason = "three digits are printed")]
    let rate = bytes as f64 / median.as_secs_f64() / 1e9;
    println!("{name:<48} {rate:>8.2} GB/s  {:>9.2} ms", median.as_secs_f64() * 1e3);
}

/// Prints the median time of one `work`, dropping its result included.
fn each<R>(name: &str, mut work: impl FnMut() -> R) {
    const TIMES: u32 = 100;
    let median = median(|| {
        let start = Instant::now();
        for _ in 0..TIMES {
            drop(black_box(work()));
        }
        start.elapsed() / TIMES
    });
    println!("{name:<48} {:>24.2} µs", median.as_secs_f64() * 1e6);
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    times.sort_unstable();
    times.get(RUNS / 2).copied().unwrap_or_default()
}
