//! Evidence in, claims out: verification of TPM evidence.
