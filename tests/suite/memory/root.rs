//! (d) Root, who looks with the kernel's own means.

use super::{CANARY, EVERY_WAY, Sealed, has_memfd_secret, may_look, read_by, row, strict, ways};
use serde_json::json;
use strongroom_tests::{
    Victim,
    victim::{Memory, find},
};

#[test]
fn key_pages_are_refused_even_to_root() {
    if !may_look("root") {
        return;
    }
    let world = strict();
    let sealed = Sealed::make(&world, "root");
    let (job, released) = sealed.holder(&world, &[], &[]);
    let program = Victim::program().unwrap();
    let read = |address| read_by(&[], &program, sealed.directory.path(), job.pid(), address);
    assert_eq!(ways(&read(&job.hello["ordinary"])), EVERY_WAY);
    // What does not withstand root, and is not said to.
    let arena = read(&released["arena"]);
    assert_eq!(ways(&arena), EVERY_WAY);
    assert_eq!(arena["mem"], json!({ "read": hex::encode(&sealed.weights[..32]) }));
    if !has_memfd_secret() {
        return row('d', "not tried", "this kernel has no memfd_secret", "root reads the arena");
    }
    let pages = released["secret_pages"].as_array().unwrap();
    assert!(!pages.is_empty(), "no secret pages are mapped");
    for page in pages {
        let refused = read(&page[0]);
        assert_eq!(ways(&refused), [""; 0], "{refused}");
    }
    // All of the process: the key lies nowhere else either.
    let contents = Memory::of(job.pid()).unwrap().contents(|_| true).unwrap();
    let total: usize = contents.iter().map(|(_, bytes)| bytes.len()).sum();
    let (mut canary, mut weights) = (false, false);
    for (area, bytes) in &contents {
        canary |= find(bytes, CANARY.as_bytes()).is_some();
        weights |= sealed.weights_are_in(bytes);
        assert!(!sealed.key_is_in(bytes), "the key is in {area:?}");
    }
    assert!(canary && weights, "looking through the process does not find what is there");
    row(
        'd',
        "/proc/PID/mem, process_vm_readv and ptrace by root, then all readable memory of the process searched",
        "root reads ordinary memory in all three ways",
        &format!(
            "key pages refused in all three ways, and no copy of the key in {total} readable bytes; root reads the arena"
        ),
    );
}
