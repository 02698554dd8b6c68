//! Where bytes of real hardware and firmware lie: `../shared/vectors` beside the project.

use std::path::PathBuf;

/// A file or folder there; `None`, with a printed reason, where it is absent.
pub(crate) fn vectors(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(name);
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
    }
    path.exists().then_some(path)
}
