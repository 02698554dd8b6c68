//! Asks the hardware for evidence.
