//! The harness of real stand-ins: a software TPM with an EK certificate, and a measured boot.
//!
//! ```text
//! Swtpm::start(dir) ──tcti()──> "swtpm:host=127.0.0.1,port=…"   root_ca(), issuer_ca() (PEM)
//!        └── restart()  an orderly reboot      └── pull_plug()  a power cut
//! Machine { kernel_cmdline, secure_boot, firmware } ──boot_log()──> BootLog { events }
//!        BootLog ──extend_into(tcti)──> PCRs        └── encode() ──> the file that Linux shows
//! Node::boot(&machine) ──collector()──> a Collector on a booted node, with its own AK
//! ```
//!
//! The suites are one test binary, `suite`, a module for each feature. To extend the harness: a
//! stand-in is a module here with a type that cleans up when it is dropped; what a shell needs of
//! it (the demo does) is a binary in `src/bin`. Stand-ins are for tests: nothing here may be
//! linked into a release binary, and no release binary can load a root of theirs.

pub mod boot_events;
pub mod bootlog;
pub mod machine;
pub mod node;
pub mod swtpm;
pub mod swtpm_ports;
pub mod tpm_commands;

pub use bootlog::{BootLog, Event};
pub use machine::Machine;
pub use node::Node;
pub use swtpm::Swtpm;
