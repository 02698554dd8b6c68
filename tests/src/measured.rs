//! A measured boot that really happens: QEMU, OVMF, a software TPM, Debian's kernel with IMA, and the programs under
//! test on a disk that IMA measures.
//!
//! ```text
//! Parts::find() ──> Debian's kernel, modules, UKI stub, as `make setup` fetched them; or why there are none
//! Platform::make(&parts) ──boot(&Software { command_line, initramfs, start })──> Guest     one after the other
//!        └── a TPM with EK certificates, firmware variables, a root disk, a disk that outlives boots
//! Guest ──run("strongroom …")──> Ran        ──read("/sys/…")──> bytes        ──pcrs()        ──shut_down()
//! ```
//!
//! The guest does what it is told over its second serial port (`guest/start`), so a test is one program that runs on the
//! host and reads from top to bottom. From the guest the host's loopback is [`HOST`]. KVM is used where it works and
//! software emulation where it does not ([`qemu::accelerator`]). Everything has a time limit, and what hangs is killed,
//! with the end of the guest's console in the error.
//!
//! To boot something else: a field of [`Software`]. To have another file on the root: [`root`].

mod guest;
mod initramfs;
mod parts;
mod platform;
pub mod qemu;
pub mod root;
pub mod unified;

pub use guest::{Guest, HOST};
pub use initramfs::initramfs;
pub use parts::Parts;
pub use platform::{Platform, Software, Start};
