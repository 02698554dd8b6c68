//! (g) A kernel without `memfd_secret(2)`.

use super::{CAP_SYS_PTRACE, Sealed, ending::short, may, row};
use serde_json::Value;
use std::ffi::OsString;
use strongroom_tests::{
    Cli, Victim, programs,
    victim::{Memory, find},
};

/// Starts a program for which the kernel answers `memfd_secret(2)` with ENOSYS.
pub(super) fn without_memfd_secret() -> [OsString; 3] {
    [Victim::program().unwrap().into_os_string(), "without-memfd-secret".into(), "--".into()]
}

/// Where root finds the key: in one place, locked, left out of dumps and of children.
pub(super) fn place_of_key(memory: &Memory, sealed: &Sealed) -> u64 {
    let places: Vec<_> = memory
        .contents(|_| true)
        .unwrap()
        .into_iter()
        .filter_map(|(area, bytes)| Some((find(&bytes, &sealed.key)? as u64 + area.start, area)))
        .collect();
    assert_eq!(places.len(), 1, "the key is in other places than its page: {places:?}");
    let (place, area) = &places[0];
    assert!(["lo", "dd", "dc"].iter().all(|flag| area.has(flag)), "{area:?}");
    *place
}

#[test]
fn without_memfd_secret_the_fallback_works_and_says_so() {
    let world = short();
    let sealed = Sealed::make(&world, "fallback");
    let starter = without_memfd_secret();
    let words: Vec<&str> = starter.iter().map(|word| word.to_str().unwrap()).collect();
    let cli = Cli::new(world.node().cli.home().to_owned()).unwrap().in_turn(&world.node().turn);
    let arguments = ["--json", "open", sealed.file.to_str().unwrap(), "--asset", "fallback", "--digest"];

    // The control: the same command with the system call.
    let with: Value = serde_json::from_str(&cli.run(arguments).unwrap().done().unwrap().stdout).unwrap();
    let without = cli.started_by(programs::built("strongroom").unwrap(), &words);
    let ran = without.run(&arguments[1..]).unwrap().done().unwrap();
    assert!(ran.stdout.contains("(keys: locked_anonymous)"), "{}", ran.stdout);
    assert!(ran.stderr.contains("memfd_secret"), "nothing was said: {}", ran.stderr);
    assert!(ran.stdout.contains(with["sha256"].as_str().unwrap()), "other plaintext: {}", ran.stdout);
    let kinds: Vec<Value> = world
        .records(&["--action", "release.delivered", "--asset", "fallback"])
        .iter()
        .map(|record| record["details"]["handling"]["key_pages"].clone())
        .collect();
    assert!(kinds.iter().any(|kind| kind == "locked_anonymous"), "{kinds:?}");
    if super::has_memfd_secret() {
        assert_eq!(with["handling"]["key_pages"], "memfd_secret");
    }
    let mut found = "not looked for (only root can)".to_owned();
    if may(CAP_SYS_PTRACE) {
        let starter: Vec<_> = starter.iter().map(OsString::as_os_str).collect();
        let (job, _) = sealed.holder(&world, &starter, &[]);
        place_of_key(&Memory::of(job.pid()).unwrap(), &sealed);
        found = "root finds the key there, in one place, locked, out of dumps and children".to_owned();
    }
    row(
        'g',
        "seccomp filter: memfd_secret(2) gives ENOSYS",
        &format!("without the filter the ledger shows `{}`", with["handling"]["key_pages"].as_str().unwrap()),
        &format!("opens, warns, and the ledger shows `locked_anonymous`; {found}"),
    );
}
