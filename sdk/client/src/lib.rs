//! The Strongroom SDK: attest, fetch, lease, open, seal.
