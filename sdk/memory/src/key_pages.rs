//! Key pages: where keys live while a lease does.

use crate::{
    error::MemoryError,
    limits,
    lineage::used_after_fork,
    mapping::Mapping,
    protection::{KeyPagesPreference, Protection},
    zeroing::zero_here,
};
use std::{
    fmt, io,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes of a slot.
const SLOT: usize = 32;
/// Bytes of a region: 512 slots, twice the keys of the largest release. Small, because the kernel
/// takes each page of `memfd_secret` out of its own map, and because locked bytes are counted.
const REGION: usize = 16 << 10;
const SLOTS: usize = REGION / SLOT;

/// Slots of 32 bytes in memory that is locked, in no core dump, in no forked child, and, if the
/// kernel has `memfd_secret(2)`, out of reach even for root and for the kernel itself. Grows by
/// whole regions when full.
pub struct KeyPages {
    kind: KeyPagesKind,
    regions: Mutex<Vec<Arc<Region>>>,
}

/// What key pages are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPagesKind {
    /// `memfd_secret(2)`: cannot be read by ptrace, `/proc/*/mem` or `process_vm_readv`, even by root.
    MemfdSecret,
    /// Locked anonymous pages, which root can read.
    LockedAnonymous,
}

impl KeyPagesKind {
    /// The name that `Handling::key_pages` and the ledger keep.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemfdSecret => "memfd_secret",
            Self::LockedAnonymous => "locked_anonymous",
        }
    }
}

impl fmt::Display for KeyPagesKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeyPages {
    /// Maps the first region, of the kind that `protection` prefers. Says so in a warning if that
    /// is less than `memfd_secret(2)` and nobody asked for it. The kind never changes afterwards.
    ///
    /// # Errors
    /// [`MemoryError::LockLimit`] with the remedy, [`MemoryError::NoMemfdSecret`] where it was
    /// required, [`MemoryError::Refused`]. Key pages are locked whatever was accepted for arenas.
    pub fn new(protection: &Protection) -> Result<Self, MemoryError> {
        let (kind, first) = match protection.key_pages {
            KeyPagesPreference::LockedAnonymous => {
                (KeyPagesKind::LockedAnonymous, Region::new(KeyPagesKind::LockedAnonymous)?)
            }
            KeyPagesPreference::MemfdSecret => (KeyPagesKind::MemfdSecret, Region::new(KeyPagesKind::MemfdSecret)?),
            KeyPagesPreference::Best => match Region::new(KeyPagesKind::MemfdSecret) {
                Err(MemoryError::NoMemfdSecret { source }) => {
                    tracing::warn!(
                        reason = %source,
                        "the kernel has no memfd_secret(2) for us: keys lie in locked anonymous pages, which root can read"
                    );
                    (KeyPagesKind::LockedAnonymous, Region::new(KeyPagesKind::LockedAnonymous)?)
                }
                other => (KeyPagesKind::MemfdSecret, other?),
            },
        };
        Ok(Self { kind, regions: Mutex::new(vec![Arc::new(first)]) })
    }

    /// What the pages are made of.
    pub fn kind(&self) -> KeyPagesKind {
        self.kind
    }

    /// Copies a key into a free slot. The caller still has to zero where it came from.
    ///
    /// # Errors
    /// [`MemoryError::Forked`] in a child; as [`Self::new`] when a further region is needed.
    pub fn store(&self, key: &[u8; SLOT]) -> Result<KeySlot, MemoryError> {
        self.store_with(|slot| {
            slot.copy_from_slice(key);
            Ok(())
        })
    }

    /// Lets `fill` write a key into a free slot, so that it never lies anywhere else. If `fill`
    /// fails, the slot is zeroed and free again.
    ///
    /// # Errors
    /// As [`Self::store`], and what `fill` returns.
    pub fn store_with<E: From<MemoryError>>(
        &self,
        fill: impl FnOnce(&mut [u8; SLOT]) -> Result<(), E>,
    ) -> Result<KeySlot, E> {
        let slot = self.free_slot()?;
        // SAFETY: the slot was taken out of the free ones just now and nobody else has its index;
        // it is 32 mapped, writable bytes (`Region::slot`), and `free_slot` has checked that they
        // are this process's. `slot` lives longer than the reference.
        fill(unsafe { slot.region.slot(slot.index).as_mut() })?;
        Ok(slot)
    }

    fn free_slot(&self) -> Result<KeySlot, MemoryError> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if regions.iter().any(|region| !region.mapping.is_ours()) {
            return Err(MemoryError::Forked);
        }
        for region in regions.iter() {
            if let Some(index) = region.free().take() {
                return Ok(KeySlot { region: Arc::clone(region), index });
            }
        }
        let region = Arc::new(Region::new(self.kind)?);
        regions.push(Arc::clone(&region));
        // INVARIANT: a new region has free slots.
        let index = region.free().take().unwrap_or_default();
        Ok(KeySlot { region, index })
    }
}

/// 32 bytes of key in key pages, which it keeps alive. Zeroed on drop. Has neither `Debug` nor
/// `Clone`.
pub struct KeySlot {
    region: Arc<Region>,
    index: usize,
}

impl KeySlot {
    /// The key. In a forked child, where there is none, the process ends.
    pub fn expose(&self) -> &[u8; SLOT] {
        if !self.region.mapping.is_ours() {
            used_after_fork();
        }
        // SAFETY: the index is this slot's alone until it drops; its 32 bytes are mapped in this
        // process (checked), and were written before the slot was handed out, not since.
        unsafe { self.region.slot(self.index).as_ref() }
    }

    /// Whether the key is here: an error in a forked child, where [`Self::expose`] would end the
    /// process.
    ///
    /// # Errors
    /// [`MemoryError::Forked`].
    pub fn check_owner(&self) -> Result<(), MemoryError> {
        if self.region.mapping.is_ours() { Ok(()) } else { Err(MemoryError::Forked) }
    }
}

impl AsRef<[u8]> for KeySlot {
    fn as_ref(&self) -> &[u8] {
        self.expose()
    }
}

impl Drop for KeySlot {
    fn drop(&mut self) {
        if self.check_owner().is_err() {
            return;
        }
        // SAFETY: as in `expose`; self is borrowed exclusively, so no other reference lives.
        zero_here(unsafe { self.region.slot(self.index).as_mut() });
        // Free only now that it is empty.
        self.region.free().give_back(self.index);
    }
}

/// One mapping of slots.
struct Region {
    mapping: Mapping,
    free: Mutex<FreeSlots>,
}

impl Region {
    fn new(kind: KeyPagesKind) -> Result<Self, MemoryError> {
        let mut mapping = match kind {
            KeyPagesKind::MemfdSecret => {
                let file = memfd_secret(REGION)?;
                // The mapping keeps the file alive; its descriptor, which a child would inherit
                // and could map, is closed here.
                Mapping::of_file(file.as_fd(), REGION)?
            }
            KeyPagesKind::LockedAnonymous => {
                let mapping = Mapping::anonymous(REGION)?;
                mapping.lock()?;
                mapping
            }
        };
        mapping.exclude_from_dumps()?;
        touch_by_kernel(mapping.bytes_mut())?;
        Ok(Self { mapping, free: Mutex::new(FreeSlots::all()) })
    }

    /// Where a slot lies.
    fn slot(&self, index: usize) -> NonNull<[u8; SLOT]> {
        debug_assert!(index < SLOTS);
        // SAFETY: indices come from `FreeSlots` and are below SLOTS, so the slot lies inside the
        // mapping, which holds REGION = SLOTS * SLOT bytes.
        unsafe { self.mapping.data().cast::<[u8; SLOT]>().add(index) }
    }

    fn free(&self) -> MutexGuard<'_, FreeSlots> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // Every slot has zeroed itself. That nothing is left must not rest on that alone.
        if self.mapping.is_ours() {
            zero_here(self.mapping.bytes_mut());
        }
    }
}

/// Which slots of a region are free: a bit each.
struct FreeSlots([u64; SLOTS / 64]);

impl FreeSlots {
    fn all() -> Self {
        Self([u64::MAX; SLOTS / 64])
    }

    fn take(&mut self) -> Option<usize> {
        let (word, bits) = self.0.iter_mut().enumerate().find(|(_, bits)| **bits != 0)?;
        let bit = bits.trailing_zeros();
        *bits &= !(1 << bit);
        Some(word * 64 + bit as usize)
    }

    fn give_back(&mut self, index: usize) {
        if let Some(bits) = self.0.get_mut(index / 64) {
            *bits |= 1 << (index % 64);
        }
    }
}

/// A secret memory file of `bytes` bytes (Linux 5.14; on by default since 6.5).
fn memfd_secret(bytes: usize) -> Result<OwnedFd, MemoryError> {
    // The same number on every architecture that has it.
    const MEMFD_SECRET: libc::c_long = 447;
    // The manual page says FD_CLOEXEC; what the kernel accepts is O_CLOEXEC.
    // SAFETY: the call takes flags only and touches no memory of ours.
    let fd = unsafe { libc::syscall(MEMFD_SECRET, libc::O_CLOEXEC) };
    let Some(fd) = i32::try_from(fd).ok().filter(|fd| *fd >= 0) else {
        let source = io::Error::last_os_error();
        return Err(if limits::call_is_missing(&source) {
            MemoryError::NoMemfdSecret { source }
        } else {
            MemoryError::Refused { call: "memfd_secret", purpose: "make key pages", source }
        });
    };
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    // INVARIANT: a region's size fits.
    let length = libc::off_t::try_from(bytes).unwrap_or(libc::off_t::MAX);
    // SAFETY: the call takes a live descriptor and a number.
    if unsafe { libc::ftruncate(fd, length) } == 0 {
        Ok(file)
    } else {
        Err(MemoryError::refused("ftruncate of memfd_secret", "make key pages"))
    }
}

/// Backs fresh pages with memory, by having the kernel write to them: where it has none left this
/// is an error, while a store of our own would end the process with SIGBUS. (`MADV_POPULATE_WRITE`
/// refuses `memfd_secret`.)
fn touch_by_kernel(bytes: &mut [u8]) -> Result<(), MemoryError> {
    for page in bytes.chunks_mut(256) {
        // SAFETY: the kernel writes to a live, exclusive slice, at most its length (256 bytes,
        // which getrandom never gives in parts).
        let got = unsafe { libc::getrandom(page.as_mut_ptr().cast(), page.len(), 0) };
        if usize::try_from(got).ok() != Some(page.len()) {
            return Err(MemoryError::refused("getrandom", "back key pages with memory"));
        }
    }
    zero_here(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn pages(preference: KeyPagesPreference) -> KeyPages {
        KeyPages::new(&Protection::default().with_key_pages(preference)).unwrap()
    }

    const BOTH: [KeyPagesPreference; 2] = [KeyPagesPreference::MemfdSecret, KeyPagesPreference::LockedAnonymous];

    /// What lies at a slot's place, whoever has it.
    fn peek(place: *const [u8; SLOT]) -> [u8; SLOT] {
        // SAFETY: callers keep the region alive, and nobody writes meanwhile.
        unsafe { std::ptr::read_volatile(place) }
    }

    #[test]
    fn a_dropped_slot_is_zeroed_and_used_again() {
        for preference in BOTH {
            let pages = pages(preference);
            let slot = pages.store(&[7; SLOT]).unwrap();
            let place: *const [u8; SLOT] = slot.expose();
            assert_eq!(peek(place), [7; SLOT]);
            drop(slot);
            assert_eq!(peek(place), [0; SLOT]);
            let again = pages.store(&[8; SLOT]).unwrap();
            assert_eq!(std::ptr::from_ref(again.expose()), place);
            assert_eq!(again.as_ref(), [8; SLOT]);
        }
    }

    #[test]
    fn a_slot_that_could_not_be_filled_is_zeroed_and_free() {
        let pages = pages(KeyPagesPreference::Best);
        let mut place = std::ptr::null();
        let failed: Result<KeySlot, MemoryError> = pages.store_with(|slot| {
            slot.fill(9);
            place = std::ptr::from_ref(slot);
            assert_eq!(peek(place), [9; SLOT]);
            Err(MemoryError::Forked)
        });
        assert!(failed.is_err());
        assert_eq!(peek(place), [0; SLOT]);
        assert_eq!(std::ptr::from_ref(pages.store(&[1; SLOT]).unwrap().expose()), place);
    }

    #[test]
    fn full_pages_grow_and_no_two_keys_share_a_slot() {
        for preference in BOTH {
            let pages = pages(preference);
            let key = |number: usize| -> [u8; SLOT] {
                let mut key = [0xEE; SLOT];
                key[..8].copy_from_slice(&number.to_le_bytes());
                key
            };
            let slots: Vec<_> = (0..=2 * SLOTS).map(|number| pages.store(&key(number)).unwrap()).collect();
            assert_eq!(pages.regions.lock().unwrap().len(), 3);
            for (number, slot) in slots.iter().enumerate() {
                assert_eq!(slot.expose(), &key(number));
            }
        }
    }

    #[test]
    fn a_slot_outlives_its_pages() {
        let pages = pages(KeyPagesPreference::Best);
        let slot = pages.store(&[3; SLOT]).unwrap();
        drop(pages);
        assert_eq!(slot.expose(), &[3; SLOT]);
    }

    #[test]
    fn slots_are_used_from_several_threads() {
        let pages = pages(KeyPagesPreference::Best);
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let pages = &pages;
                scope.spawn(move || {
                    for _ in 0..500 {
                        let slots: Vec<_> = (0..40).map(|_| pages.store(&[thread; SLOT]).unwrap()).collect();
                        assert!(slots.iter().all(|slot| slot.expose() == &[thread; SLOT]));
                    }
                });
            }
        });
    }

    /// Counts warnings.
    #[derive(Default)]
    struct Warnings(AtomicUsize);

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            if *event.metadata().level() == tracing::Level::WARN {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    /// Runs `test` on a thread for which the kernel answers `memfd_secret` with `errno`.
    fn without_memfd_secret(errno: i32, test: impl FnOnce() + Send) {
        let step = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
        let refuse = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap();
        let mut filter = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 447),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
                let (zero, one): (libc::c_ulong, libc::c_ulong) = (0, 1);
                // SAFETY: both calls take integers, and the last a live program; they bind this thread only.
                unsafe {
                    assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero), 0);
                    let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
                    assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
                }
                test();
            });
        });
    }

    #[test]
    fn a_kernel_without_memfd_secret_gives_locked_pages_and_says_so() {
        // The control: this kernel has it. Where it has not, the other assertions still hold.
        match KeyPages::new(&Protection::default().with_key_pages(KeyPagesPreference::MemfdSecret)) {
            Ok(pages) => assert_eq!(pages.kind(), KeyPagesKind::MemfdSecret),
            Err(error) => println!("not compared with memfd_secret: {error}"),
        }
        for errno in [libc::ENOSYS, libc::EPERM] {
            without_memfd_secret(errno, || {
                let warnings = Arc::new(Warnings::default());
                let fallen_back = tracing::subscriber::with_default(Arc::clone(&warnings), || {
                    pages(KeyPagesPreference::LockedAnonymous);
                    assert_eq!(warnings.0.load(Ordering::Relaxed), 0, "what was asked for needs no warning");
                    pages(KeyPagesPreference::Best)
                });
                assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
                assert_eq!(fallen_back.kind().as_str(), "locked_anonymous");
                assert_eq!(fallen_back.store(&[5; SLOT]).unwrap().expose(), &[5; SLOT]);
                let required = Protection::default().with_key_pages(KeyPagesPreference::MemfdSecret);
                let refused = KeyPages::new(&required).err().unwrap();
                assert!(matches!(refused, MemoryError::NoMemfdSecret { .. }), "{refused}");
            });
        }
        // Any other error is not taken for an old kernel.
        without_memfd_secret(libc::EMFILE, || {
            assert!(matches!(KeyPages::new(&Protection::default()), Err(MemoryError::Refused { .. })));
        });
    }
}
