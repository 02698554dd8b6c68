//! (b) A child that the job forks.

use super::{Sealed, has_memfd_secret, row, strict};
use serde_json::json;

#[test]
fn a_forked_child_has_neither_arena_nor_key_pages() {
    let world = strict();
    let sealed = Sealed::make(&world, "fork");
    let (mut job, _) = sealed.holder(&world, &[], &[]);
    let seen = job.done("fork").unwrap();
    // The control is twofold: the child reads other memory this way, and the parent reads these.
    assert_eq!(seen["ordinary"], json!({ "parent": true, "child": true }));
    assert_eq!(seen["arena"], json!({ "parent": true, "child": false }));
    let mut pages = "key pages: this kernel has no memfd_secret";
    if has_memfd_secret() {
        assert_eq!(seen["key pages"], json!({ "parent": true, "child": false }));
        pages = "key pages: EFAULT";
    }
    row(
        'b',
        "fork, then write(2) from the address in the child",
        "the child reads a page of ordinary memory; the parent reads all of them",
        &format!("arena: EFAULT; {pages}"),
    );
}
