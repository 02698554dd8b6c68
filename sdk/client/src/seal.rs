//! Sealing under a write lease: objects that the vault need not be asked for one by one.

use crate::{Error, Lease, held::WhileHeld};
use std::path::Path;
use strongroom_protocol::WriterId;
use strongroom_sealed::{Progress, ReadAt, WriteSpec, Written};

impl Lease {
    /// What to seal an object of `asset` with: its key version and this lease as the writer. Set
    /// chunk size, hashes and metadata on it as wanted.
    pub fn write_spec(&self, asset: &str) -> Result<WriteSpec, Error> {
        let (_, version) = self.inner.writer_key(asset)?;
        Ok(WriteSpec::new(asset, version, WriterId::from(self.id())))
    }

    /// Seals all of `source`, with several threads (0: all that the machine offers). Under the
    /// target's name there is either the whole sealed file or nothing new; it stops at the next chunk
    /// once the lease is over, and leaves nothing then. A source that is a file is held to
    /// [`strongroom_sealed::check_plain_file`]: no pipe, no device, and not the target itself.
    pub fn seal_file(
        &self,
        source: &(impl ReadAt + ?Sized),
        target: &Path,
        replace: bool,
        spec: &WriteSpec,
        threads: usize,
        progress: &dyn Progress,
    ) -> Result<Written, Error> {
        let (key, _) = self.inner.writer_key(&spec.asset)?;
        let held = WhileHeld::new(&self.inner, progress);
        strongroom_sealed::seal_file(source, target, replace, &key, spec, threads, &held).map_err(|e| held.explain(e))
    }
}
