//! The vault as its clients see it: the whole router over a real SQLite file and a real sequencer,
//! with a software TPM that signs quotes. One file a subject.

mod administration;
mod audit;
mod bench;
mod enrolment;
mod leases;
mod matrix;
mod releases;
mod tpm;
