//! The sticky lock: once the vault cannot trust its own past, it stays locked until a person decides.

use std::sync::OnceLock;

/// Locks once, for the life of the process.
#[derive(Debug, Default)]
pub struct Lock(OnceLock<String>);

impl Lock {
    /// Locks the vault and says so; the first reason stays.
    pub fn lock(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.0.set(reason.clone()).is_ok() {
            tracing::error!(%reason, "the vault has locked itself; nothing is released until a person decides");
            metrics::gauge!("strongroom_locked").set(1.0);
        }
    }

    /// Why the vault is locked, if it is.
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}
