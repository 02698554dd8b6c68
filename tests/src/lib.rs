//! The harness of real stand-ins: a software TPM with an EK certificate, and a measured boot.
//!
//! ```text
//! Swtpm::start(dir) ──tcti()──> "swtpm:host=127.0.0.1,port=…"   root_ca(), issuer_ca() (PEM)
//!        └── restart()  an orderly reboot      └── pull_plug()  a power cut
//! Machine { kernel_cmdline, secure_boot, firmware } ──boot_log()──> BootLog { events }
//!        BootLog ──extend_into(tcti)──> PCRs        └── encode() ──> the file that Linux shows
//! Node::boot(&machine) ──collector()──> a Collector on a booted node, with its own AK
//!        └── ima() ──measure(path, content)──> the IMA log and PCR 10 go on
//! Vault::init() ──trust(&node)──serve()──> a strongroomd that runs; kill(), stop(), restart()
//!        ├── init_over(&database), replica(name)  over PostgreSQL, and several of it
//!        └── admin(role), cli(role)  people with their tokens       Cli ──run([...])──> Ran
//! Makers::new() ──machine(chip, gpus)──> Confidential, an SEV-SNP guest with GPUs; Vault::trusting(&makers)
//! Member::enrol(&vault, node, name) ──approve(site)──> a node that gets keys: room(), devices(), cli
//! Wire::to(&join) ──ask(keys)──> Asking ──attest(devices)──> a request to be sent as it is, or changed
//! Intruder::before(&join) ──join_file()──> a TLS terminator that its victims believe in
//! Victim::start(program, starter, dir, [...]) ──ask("release")──> a job that holds keys; Memory::of(pid) looks into it
//! measured::Platform::make(&parts) ──boot(&software)──> measured::Guest  QEMU, OVMF, Linux with IMA
//! SoftTpm::new(&Manufacturer) ──quote()──> evidence in microseconds, for load::Deployment
//! ```
//!
//! The suites are one test binary, `suite`, a module for each feature. To extend the harness: a
//! stand-in is a module here with a type that cleans up when it is dropped; what a shell needs of
//! it (the demo does) is a binary in `src/bin`. Stand-ins are for tests: nothing here may be
//! linked into a release binary, and no release binary can load a root of theirs.

pub mod boot_events;
pub mod bootlog;
pub mod cli;
pub mod confidential;
pub mod ima;
pub mod intruder;
pub mod load;
pub mod machine;
pub mod measured;
pub mod member;
pub mod node;
pub mod ports;
pub mod programs;
pub mod replica;
pub mod soft_tpm;
pub mod swtpm;
pub mod swtpm_ports;
pub mod tpm_commands;
pub mod vault;
pub mod victim;
pub mod vtpm;
pub mod wire;

pub use bootlog::{BootLog, Event};
pub use cli::{Cli, Ran};
pub use confidential::{Confidential, Makers};
pub use ima::Ima;
pub use intruder::Intruder;
pub use machine::Machine;
pub use member::Member;
pub use node::Node;
pub use strongroom_postgres as postgres;
pub use swtpm::Swtpm;
pub use vault::Vault;
pub use victim::Victim;
pub use wire::{Asking, Reply, Wire};
