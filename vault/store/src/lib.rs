//! Storage of the vault: state, and the sequencer's transaction.
