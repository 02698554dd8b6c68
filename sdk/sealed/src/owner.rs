//! Who may go on with a writing: one process, in one life of its machine.
//!
//! Two copies of a writer would encrypt different plaintexts under the same nonces. A fork makes
//! such a copy, and so does a virtual machine that is resumed twice from one snapshot.

use crate::SealedError;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Tells one life of a virtual machine from the next.
///
/// Linux reseeds its random numbers when the hypervisor changes the generation id, but does not
/// show the id to processes. Where a platform shows it, say so with this trait: QEMU's firmware
/// interface does to root (`/sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw`, see
/// [`FileGeneration`]), and an orchestrator that takes snapshots can write a file of its own.
/// Without one, writers notice forks only, and machines with open writers must not be snapshotted.
pub trait Generation: Send + Sync {
    /// The id of this life; any bytes, the same ones until the machine is resumed or cloned.
    fn current(&self) -> io::Result<Vec<u8>>;
}

/// A generation id that stands in a file, of which the first 4,096 bytes count.
#[derive(Debug, Clone)]
pub struct FileGeneration(PathBuf);

impl FileGeneration {
    /// Reads `path` before each chunk.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_owned())
    }
}

impl Generation for FileGeneration {
    fn current(&self) -> io::Result<Vec<u8>> {
        let mut id = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(std::fs::File::open(&self.0)?, 4096), &mut id)?;
        if id.is_empty() { Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty")) } else { Ok(id) }
    }
}

/// The process and the machine's life in which a writing began.
pub(crate) struct Owner {
    process: u32,
    generation: Option<(Arc<dyn Generation>, Vec<u8>)>,
}

impl Owner {
    /// The calling process, now.
    pub(crate) fn new(generation: Option<Arc<dyn Generation>>) -> Result<Self, SealedError> {
        let generation = match generation {
            None => None,
            Some(source) => {
                let id = source.current().map_err(|e| SealedError::from_io("read the machine's generation id", e))?;
                Some((source, id))
            }
        };
        Ok(Self { process: std::process::id(), generation })
    }

    /// Fails when this is another process, or the machine was resumed, or that cannot be said.
    pub(crate) fn check(&self) -> Result<(), SealedError> {
        if std::process::id() != self.process {
            return Err(SealedError::Poisoned { why: "it was taken through a fork" });
        }
        match &self.generation {
            None => Ok(()),
            Some((source, id)) => match source.current() {
                Ok(now) if now == *id => Ok(()),
                Ok(_) => Err(SealedError::Poisoned { why: "the virtual machine was resumed or cloned" }),
                Err(_) => Err(SealedError::Poisoned { why: "the machine's generation id cannot be read any more" }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_is_refused() {
        let mut owner = Owner::new(None).unwrap();
        owner.check().unwrap();
        owner.process = owner.process.wrapping_add(1);
        assert!(matches!(owner.check(), Err(SealedError::Poisoned { why: "it was taken through a fork" })));
    }

    #[test]
    fn another_life_of_the_machine_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("generation");
        let source = || Some(Arc::new(FileGeneration::new(&path)) as Arc<dyn Generation>);
        assert!(matches!(Owner::new(source()), Err(SealedError::Io { .. })));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Owner::new(source()), Err(SealedError::Io { .. })));
        std::fs::write(&path, "1").unwrap();
        let owner = Owner::new(source()).unwrap();
        owner.check().unwrap();
        std::fs::write(&path, "2").unwrap();
        assert!(matches!(
            owner.check(),
            Err(SealedError::Poisoned { why: "the virtual machine was resumed or cloned" })
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(owner.check(), Err(SealedError::Poisoned { .. })));
    }
}
