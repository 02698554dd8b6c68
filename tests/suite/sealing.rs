//! Sealing and opening files under leases, as every suite does it.

use std::{
    fs::{self, File},
    path::Path,
};
use strongroom::{
    Error, Lease, OpenObject, Request, Room,
    memory::Protection,
    sealed::{Expected, Opening},
};
use strongroom_collect::Attester;
use strongroom_protocol::statement::ObjectRef;

/// Seals these bytes under a lease, into a new file.
pub(crate) fn seal(lease: &Lease, asset: &str, plaintext: &[u8], target: &Path) {
    let source = target.with_extension("plain");
    fs::write(&source, plaintext).unwrap();
    let spec = lease.write_spec(asset).unwrap();
    lease.seal_file(&File::open(&source).unwrap(), target, false, &spec, 0, &()).unwrap();
}

/// Seals these bytes under a write lease of its own.
pub(crate) fn seal_once(
    room: &Room,
    attester: &dyn Attester,
    asset: &str,
    version: u32,
    plaintext: &[u8],
    target: &Path,
) {
    let lease = room.release(attester, Request::new().writer(asset, version)).unwrap();
    seal(&lease, asset, plaintext, target);
    lease.end().unwrap();
}

/// An object of this asset, whichever.
pub(crate) fn expected(asset: &str) -> Expected {
    Expected { asset: asset.into(), version: None, object: None }
}

/// What a sealed file says of itself: key version, writer and object.
pub(crate) fn object(asset: &str, file: &Path) -> (u32, ObjectRef) {
    let opening = Opening::start(File::open(file).unwrap(), &expected(asset)).unwrap();
    let header = opening.header();
    (header.version, ObjectRef { writer: header.writer, object: header.object })
}

/// Asks for the key of a sealed file.
pub(crate) fn read_lease(room: &Room, attester: &dyn Attester, asset: &str, file: &Path) -> Result<Lease, Error> {
    let (version, object) = object(asset, file);
    room.release(attester, Request::new().objects(asset, version, vec![object]))
}

/// Opens a sealed file in protected memory.
pub(crate) fn open(lease: &Lease, asset: &str, file: &Path) -> Result<OpenObject, Error> {
    lease.open_file(file, &expected(asset), false, 0, &Protection::default(), &())
}
