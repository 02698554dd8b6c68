//! The vault as its clients see it: the whole router over a real SQLite file and a real sequencer,
//! with a software TPM that signs quotes. One file a subject.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test is how it speaks; clippy knows only test functions by themselves"
)]

mod acts;
mod administration;
mod ahead;
mod audit;
mod bench;
mod bodies;
mod boot;
mod endorsements;
mod enrolment;
mod floods;
mod hardware;
mod identities;
mod leases;
mod listening;
mod logs;
mod matrix;
mod measured;
mod processes;
mod releases;
mod revocation;
mod tokens;
mod tpm;
mod vendor;
