//! Alone in its program: other tests would have descriptors of their own.

use std::fs;
use strongroom_memory::{KeyPages, KeyPagesKind, Protection};

/// Descriptors of this process that lead to secret memory.
fn leading_to_secret_memory() -> usize {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|target| target.to_string_lossy().contains("secretmem"))
        .count()
}

#[test]
fn none_of_secret_memory_stays_open() {
    let pages = KeyPages::new(&Protection::default()).unwrap();
    if pages.kind() != KeyPagesKind::MemfdSecret {
        println!("skipped: this kernel has no memfd_secret");
        return;
    }
    // The control: the mapping is of such a file, by the name that is looked for.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.lines().any(|line| line.contains("secretmem")));
    assert_eq!(leading_to_secret_memory(), 0);
}
