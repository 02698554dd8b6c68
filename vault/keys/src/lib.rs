//! Custody of the root key, and the wrapped key tree.
