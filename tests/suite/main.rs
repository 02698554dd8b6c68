//! The end-to-end suites: one binary, a module for each feature.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this is test code: a failed test is how it speaks"
)]

mod agent;
mod attacks;
mod audit;
mod boot;
mod crash;
mod docs;
mod endorsements;
mod evidence;
mod hardware;
mod leases;
mod measured;
mod memory;
mod nodes;
mod refusals;
mod release;
mod replicas;
mod sealing;
mod secrets;
mod shown;
mod standin_tpm;
mod tokens;
mod tpm;
mod tutorials;
mod world;
