//! Disks that fill up, and clients that are killed while they write.

use crate::{
    sealing::seal_once,
    world::{World, content, eventually},
};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
};
use strongroom::Request;
use strongroom_protocol::Code;
use strongroom_tests::{Cli, Wire, programs, wire::writer_key};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether this process has a file without a name open in this directory.
fn nameless(pid: u32, dir: &Path) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let of_dir = |path: &Path| path.starts_with(dir) && path.to_string_lossy().ends_with("(deleted)");
    open.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| of_dir(&path))
}

/// A program under a limit of one MiB a file: with the signal that ends it, and with the error
/// that a full disk gives.
fn limited(node: &Cli, signal: bool) -> Cli {
    let shell = if signal { "ulimit -f 1024; exec \"$@\"" } else { "trap '' XFSZ; ulimit -f 1024; exec \"$@\"" };
    node.clone().started_by(programs::built("strongroom").unwrap(), &["bash", "-c", shell, "bash"])
}

#[test]
fn what_is_sealed_is_there_whole_or_not_at_all() {
    let world = World::with::<1>(&[]);
    world.asset("half", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (plain, sealed) = (dir.path().join("plain"), dir.path().join("plain.sealed"));
    fs::write(&plain, content(1, 5 << 20)).unwrap();
    let node = &world.node().cli;
    let seal = ["seal", plain.to_str().unwrap(), "--asset", "half"];

    // A disk that is full: the error says so, and the hidden file is gone too.
    let ran = limited(node, false).run(seal).unwrap();
    println!("sealing on a full disk: exit {:?}: {}", ran.code, ran.stderr.trim());
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert_eq!(names(dir.path()), ["plain"]);
    // The limit's signal does not kill it: it says the same.
    let ran = limited(node, true).run(seal).unwrap();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("file size limit"), "{}", ran.stderr);
    assert!(!sealed.exists());
    assert_eq!(names(dir.path()), ["plain"]);

    // Killed while it writes.
    fs::write(&plain, content(2, 64 << 20)).unwrap();
    let slowly = ["--chunk-size", "65536", "--threads", "1", "--output"];
    let target = dir.path().join("killed.sealed");
    let mut killed = 0;
    for _ in 0..5 {
        let _alone = world.node().turn.take();
        let mut command = node.command(seal.iter().chain(&slowly).chain([&target.to_str().unwrap()]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("a file without a name", || {
            let open = nameless(child.id(), dir.path()).then_some(());
            open.or_else(|| child.try_wait().unwrap().map(drop))
        });
        let _ = child.kill();
        killed += usize::from(!child.wait().unwrap().success());
        assert!(child.wait().unwrap().success() == target.exists(), "half a file under its final name");
        let _ = fs::remove_file(&target);
        assert_eq!(names(dir.path()), ["plain"], "a killed process left something");
    }
    println!("{killed} of 5 were killed while they sealed");
    assert!(killed > 0, "it was never killed in time");
}

#[test]
fn an_opened_file_is_written_whole_or_not_at_all() {
    let world = World::with::<1>(&[("plaintext_to_disk", true.into())]);
    world.asset("to-disk", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    let (sealed, out) = (dir.path().join("object.sealed"), dir.path().join("out"));
    seal_once(&room, &devices, "to-disk", 1, &content(3, 3 << 20), &sealed);
    let before = names(dir.path());
    let open = ["open", sealed.to_str().unwrap(), "--asset", "to-disk", "--plaintext-to", out.to_str().unwrap()];
    let ran = limited(&world.node().cli, false).run(open).unwrap();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert_eq!(names(dir.path()), before, "half a plaintext was left");
    // The limit's signal does not kill it; and plaintext had no name yet.
    let ran = limited(&world.node().cli, true).run(open).unwrap();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert_eq!(names(dir.path()), before, "half a plaintext was left");
    world.node().cli.run(open).unwrap().done().unwrap();
    assert_eq!(fs::read(&out).unwrap(), content(3, 3 << 20));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(world.node().cli.run(open).unwrap().code, Some(2), "a file that is there was replaced");
    let delivered = world.records(&["--action", "release.delivered", "--asset", "to-disk"]);
    let to_disk = delivered.iter().filter(|r| r["details"]["handling"]["plaintext_to_disk"] == true).count();
    assert_eq!(to_disk, 3, "the ledger shows plaintext on a disk: {delivered:?}");
}

#[test]
fn a_vault_stops_to_release_before_its_disk_is_full() {
    const GIB: u64 = 1 << 30;
    let disk = statvfs(std::env::temp_dir().as_path()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    if free < 12 * GIB {
        return programs::skip("disk reserve", "less than 12 GiB are free, and other programs use them too");
    }
    let reserve = (free - 4 * GIB).to_string();
    let world = World::configured::<1>(&[], &[("reserve_bytes", &reserve)]);
    world.asset("reserved", |_| ());
    let devices = world.node().devices().unwrap();
    let room = world.node().room(&world.vault).unwrap();
    room.release(&devices, Request::new().writer("reserved", 1)).unwrap().end().unwrap();

    let ballast = tempfile::tempdir().unwrap();
    let file = File::create(ballast.path().join("ballast")).unwrap();
    if let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, 8 * GIB) {
        return programs::skip("disk reserve", &format!("this file system cannot allocate space: {error}"));
    }
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let reply = wire.ask(vec![writer_key("reserved", 1)]).unwrap().send(&wire, &devices).unwrap();
    let problem = reply.problem().unwrap();
    println!("a disk below its reserve → {} {} {:?}", problem.status, problem.code.as_str(), problem.detail);
    assert_eq!((problem.status, problem.code), (503, Code::LedgerUnavailable));
    assert!(reply.header("retry-after").is_some());
    drop(file);
    drop(ballast);
    room.release(&devices, Request::new().writer("reserved", 1)).unwrap().end().unwrap();
}
