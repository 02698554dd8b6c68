//! The end-to-end suites: one binary, a module for each feature.

mod tpm;
