//! The key service.
