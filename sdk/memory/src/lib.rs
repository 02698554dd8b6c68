//! Protected memory: key pages and the weight arena.
//!
//! What a released key opens must stay in the process that attested: not in swap, not in a core
//! dump, not in a forked child. This crate asks the kernel for that, and refuses to go on when it
//! does not get it.
//!
//! ```text
//! Protection ──> KeyPages ──> KeySlot      32 bytes; memfd_secret(2): refused even to root
//!     │                                    (or locked anonymous pages, said aloud)
//!     └────────> Arena                     gigabytes; locked, undumpable, unforkable, pre-faulted
//!                  ├── SharedArena         read by several, zeroed under all of them at once
//!                  └── ArenaPool           keeps cleared arenas, whose pages are already there
//! harden_process() ──> Hardening           no core dumps, no ptrace by the same user
//! Swap, tracer()                           what the machine around could do with memory
//! inherited_descriptor()               takes over what a launcher left open, for this process alone
//! zero()                                   clears bytes so that the compiler cannot leave it out
//! ```
//!
//! Every region lies between guard pages that fault on any access, and is zeroed before its pages
//! go back to the kernel.
//!
//! # What holds against whom
//! Reading the memory of the process from outside (ptrace, `/proc/*/mem`, `process_vm_readv`, a
//! core dump, swap) is
//!
//! | | refused to other users | to the same user | to root |
//! |---|---|---|---|
//! | key pages, `memfd_secret` | yes | yes | yes, and out of the kernel's own map |
//! | key pages, locked anonymous | yes | after `harden_process` | no |
//! | arena | yes | after `harden_process` | no |
//!
//! Code that runs inside the process reads everything, and whoever may trace the process (root,
//! and before `harden_process` the same user) can make it run code. A process that is killed
//! leaves its pages to the kernel, which clears them before it gives them to somebody else (at
//! once, when booted with `init_on_free=1`).
//!
//! # Forks
//! A forked child has neither arena nor key pages: there is nothing at their addresses. Methods
//! that cannot fail end such a child with a message and `SIGABRT`, before it could read whatever
//! else came to lie there; [`Arena::check_owner`], [`KeySlot::check_owner`] and [`Owner::check`] ask without
//! that risk. A child may make arenas and key pages of its own.
//!
//! # To extend it
//! A new kind of region builds on `Mapping` (guards, advice, locking, unmapping) and zeroes itself
//! before it drops its mapping. A new protection that somebody must be able to do without becomes
//! a [`Weakening`], with a stable name for the ledger; all others are demanded without exception.
//!
//! Linux 5.14 or newer is wanted (`MADV_POPULATE_WRITE`); older kernels back to 4.14 pay with a
//! slower first touch.
#![allow(
    unsafe_code,
    reason = "asking the kernel for protected memory, and handing out slices of it, is what this crate is for"
)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod arena;
mod arena_pool;
mod error;
mod hardening;
mod inherited;
mod key_pages;
mod limits;
mod lineage;
mod mapping;
mod protection;
mod shared;
mod surroundings;
mod workers;
mod zeroing;

pub use arena::Arena;
pub use arena_pool::{ArenaPool, PooledArena};
pub use error::MemoryError;
pub use hardening::{Hardening, harden_process};
pub use inherited::inherited_descriptor;
pub use key_pages::{KeyPages, KeyPagesKind, KeySlot};
pub use lineage::Owner;
pub use protection::{KeyPagesPreference, Protection, Weakening};
pub use shared::{SharedArena, SharedBytes, WeakArena};
pub use surroundings::{Swap, tracer};
pub use zeroing::zero;
