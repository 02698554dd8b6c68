//! The collector against a real TPM stack.
