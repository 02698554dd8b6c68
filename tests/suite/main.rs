//! The end-to-end suites: one binary, a module for each feature.

mod boot;
mod standin_tpm;
mod tpm;
