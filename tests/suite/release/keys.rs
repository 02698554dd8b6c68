//! What each scope opens, and what becomes of key versions.

use super::{client, world};
use crate::{
    sealing::{object, open, read_lease, seal, seal_once},
    world::{act, eventually},
};
use serde_json::json;
use std::sync::Arc;
use strongroom::{Error, LeaseOver, Request};
use strongroom_protocol::{
    Code,
    admin::{Integrity, KeyState, Recorded, Role},
    lease::RevokeLease,
};

fn code(error: &Error) -> Code {
    error.problem().unwrap_or_else(|| panic!("{error}")).code
}

#[test]
fn a_write_lease_opens_what_it_wrote_and_nothing_else() {
    let world = world();
    world.asset("written", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (room, collector) = client(&world);
    let one = room.release(&collector, Request::new().writer("written", 1)).unwrap();
    let other = room.release(&collector, Request::new().writer("written", 1)).unwrap();
    let (own, foreign) = (dir.path().join("own.sealed"), dir.path().join("foreign.sealed"));
    seal(&one, "written", b"mine", &own);
    seal(&other, "written", b"not mine", &foreign);
    assert_eq!(&*open(&one, "written", &own).unwrap().plaintext().unwrap(), b"mine");
    assert!(matches!(open(&one, "written", &foreign), Err(Error::NoKey(_))));
}

#[test]
fn an_object_key_opens_its_object_only() {
    let world = world();
    world.asset("objects", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (room, collector) = client(&world);
    let files = ["one", "two", "three"].map(|name| dir.path().join(name));
    for file in &files {
        seal_once(&room, &collector, "objects", 1, b"an object", file);
    }
    let asked = files[..2].iter().map(|file| object("objects", file).1).collect();
    let lease = room.release(&collector, Request::new().objects("objects", 1, asked)).unwrap();
    assert!(open(&lease, "objects", &files[0]).is_ok());
    assert!(open(&lease, "objects", &files[1]).is_ok());
    assert!(matches!(open(&lease, "objects", &files[2]), Err(Error::NoKey(_))));
    assert!(matches!(lease.write_spec("objects"), Err(Error::NoKey(_))), "a read lease writes");
}

#[test]
fn a_version_key_opens_every_object_and_its_revocation_costs_a_rotation() {
    let world = world();
    world.asset("corpus", |asset| asset.labels = [("version_scope".into(), "allowed".into())].into());
    world.asset("closed-corpus", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (room, collector) = client(&world);
    let files = ["one", "two"].map(|name| dir.path().join(name));
    for file in &files {
        seal_once(&room, &collector, "corpus", 1, b"an object", file);
    }
    let refused = room.release(&collector, Request::new().version("closed-corpus", 1)).err().unwrap();
    assert_eq!(refused.problem().unwrap().reasons, ["scope_not_allowed"]);

    let lease = room.release(&collector, Request::new().version("corpus", 1)).unwrap();
    for file in &files {
        assert_eq!(&*open(&lease, "corpus", file).unwrap().plaintext().unwrap(), b"an object");
    }
    let custodian = world.vault.admin(Role::Custodian).unwrap();
    let reason = RevokeLease { reason: "it held a whole version".into() };
    act(&custodian, &format!("/v1/leases/{}/revoke", lease.id()), &reason);
    let current = room.current("corpus").unwrap();
    assert_eq!((current.version, current.state), (1, KeyState::DecryptOnly));
    let writing = room.release(&collector, Request::new().writer("corpus", 1)).err().unwrap();
    assert!(writing.problem().unwrap().reasons.contains(&"key_decrypt_only".to_owned()), "{writing}");
    world.vault.cli(Role::Custodian).unwrap().run(["key", "rotate", "corpus"]).unwrap().done().unwrap();
    assert_eq!(room.current("corpus").unwrap().version, 2);
}

#[test]
fn a_rotated_key_opens_what_was_sealed_and_a_destroyed_one_nothing() {
    let world = world();
    world.asset("turned", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.sealed"), dir.path().join("new.sealed"));
    let (room, collector) = client(&world);
    seal_once(&room, &collector, "turned", 1, b"under the first key", &old);

    let custodian = world.vault.cli(Role::Custodian).unwrap();
    let rotated: Recorded = custodian.ask(["key", "rotate", "turned"]).unwrap();
    assert_eq!(rotated.version, Some(2));
    assert_eq!(room.current("turned").unwrap().version, 2);
    seal_once(&room, &collector, "turned", 2, b"under the second", &new);
    let refused = room.release(&collector, Request::new().writer("turned", 1)).err().unwrap();
    assert_eq!(code(&refused), Code::Denied);
    assert!(refused.problem().unwrap().reasons.contains(&"key_decrypt_only".to_owned()), "{refused}");

    let (room, collector) = (Arc::new(room), Arc::new(collector));
    let holding = read_lease(&room, collector.as_ref(), "turned", &old).unwrap();
    let opened = open(&holding, "turned", &old).unwrap();
    assert_eq!(&*opened.plaintext().unwrap(), b"under the first key");
    let keeper = holding.keep(Arc::clone(&room), Arc::clone(&collector) as _);

    let without_yes = custodian.run(["key", "destroy", "turned@1"]).unwrap();
    assert_eq!(without_yes.code, Some(2), "{}", without_yes.stderr);
    custodian.run(["key", "destroy", "turned@1", "--yes"]).unwrap().done().unwrap();
    let ended = eventually("the end of what was open", || holding.check().err());
    assert!(matches!(ended, LeaseOver::Revoked(_)), "{ended:?}");
    assert!(opened.plaintext().is_err());
    drop(keeper);

    let refused = read_lease(&room, collector.as_ref(), "turned", &old).err().unwrap();
    let problem = refused.problem().unwrap();
    assert_eq!((problem.status, problem.code), (410, Code::KeyDestroyed));
    assert!(problem.decision_id.is_some(), "a destroyed key is a decision");
    let reading = read_lease(&room, collector.as_ref(), "turned", &new).unwrap();
    assert_eq!(&*open(&reading, "turned", &new).unwrap().plaintext().unwrap(), b"under the second");
    let again = custodian.refused(["key", "destroy", "turned@1", "--yes"]).unwrap();
    assert!(again.status == 409 || again.status == 410, "{again:?}");
}

#[test]
fn an_asset_that_wants_hashes_refuses_files_without() {
    let world = world();
    world.asset("hashed", |asset| asset.integrity = Integrity::Hashed);
    let dir = tempfile::tempdir().unwrap();
    let (room, collector) = client(&world);
    let bare = dir.path().join("bare.sealed");
    seal_once(&room, &collector, "hashed", 1, b"no hashes", &bare);
    let node = &world.node().cli;
    let ran = node.run(["open", bare.to_str().unwrap(), "--asset", "hashed", "--digest"]).unwrap();
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("hash"), "{}", ran.stderr);

    let plain = dir.path().join("plain");
    std::fs::write(&plain, b"with hashes").unwrap();
    let sealed: serde_json::Value = node.ask(["seal", plain.to_str().unwrap(), "--asset", "hashed"]).unwrap();
    assert_eq!(sealed["bytes"], json!(11));
    let opened = node.run(["open", sealed["file"].as_str().unwrap(), "--asset", "hashed", "--digest"]).unwrap();
    opened.done().unwrap();
}
