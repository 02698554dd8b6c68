//! What auditors write is theirs alone, from the first byte on.

use super::world;
use crate::world::World;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};
use strongroom_protocol::admin::Role;
use strongroom_tests::{Cli, programs};

/// An auditor in a shell with these limits; nothing is masked from new files.
fn auditor(world: &World, limits: &str) -> Cli {
    let shell = format!("umask 0; {limits} exec \"$@\"");
    let program = programs::built("strongroom").unwrap();
    world.vault.cli(Role::Auditor).unwrap().started_by(program, &["bash", "-c", &shell, "bash"])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn exports_receipts_and_checkpoints_are_for_their_owner() {
    let world = world();
    let auditor = auditor(&world, "");
    let record = world.records(&["--verdict", "released"])[0]["id"].as_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (export, receipt, seen) = (path("export"), path("receipt"), path("seen"));
    // Replaced files do not hand their mode on.
    for path in [&receipt, &seen] {
        fs::write(path, "old").unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    }
    let done = |arguments: &[&str]| drop(auditor.run(arguments).unwrap().done().unwrap());
    done(&["audit", "export", "--out", export.to_str().unwrap()]);
    let prove = ["audit", "prove", &record, "--out", receipt.to_str().unwrap()];
    let again = auditor.run(prove).unwrap();
    assert_eq!(again.code, Some(2), "a proof replaced another file unasked: {}", again.stderr);
    done(&[prove.as_slice(), &["--replace"]].concat());
    done(&["audit", "verify", export.to_str().unwrap(), "--save-checkpoint", seen.to_str().unwrap()]);
    for path in [&export, &receipt, &seen] {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    let again = auditor.run(["audit", "export", "--out", export.to_str().unwrap()]).unwrap();
    assert_eq!(again.code, Some(2), "an export replaced another unasked: {}", again.stderr);
    fs::set_permissions(&export, Permissions::from_mode(0o666)).unwrap();
    done(&["audit", "export", "--replace", "--out", export.to_str().unwrap()]);
    assert_eq!(mode(&export), 0o600);
}

/// Stopped by the limit of a file's size while it writes, whose signal would kill.
#[test]
fn half_an_export_is_not_left() {
    let world = world();
    let killed = auditor(&world, "ulimit -f 1;");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("export");
    let ran = killed.run(["audit", "export", "--replace", "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
