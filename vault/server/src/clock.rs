//! The database's clock, asked at most once a second where a second does not matter.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use strongroom_store::{Store, StoreError};
use tokio::time::Instant;

/// How long a reading is used again.
const KEPT: Duration = Duration::from_secs(1);

/// Reads the database's clock. Decisions ask the database itself; the lifetime of a nonce, which
/// the commit judges again, is set from a reading that is at most a second old.
pub struct Clock {
    store: Arc<dyn Store>,
    last: Mutex<Option<(Instant, i64)>>,
}

impl Clock {
    /// A clock without a reading.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, last: Mutex::new(None) }
    }

    /// Unix seconds, at most a second old.
    pub async fn about(&self) -> Result<i64, StoreError> {
        let kept = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match kept {
            Some((at, seconds)) if at.elapsed() < KEPT => Ok(seconds),
            _ => self.now().await,
        }
    }

    /// Unix seconds, asked now.
    pub async fn now(&self) -> Result<i64, StoreError> {
        let seconds = self.store.now().await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), seconds));
        Ok(seconds)
    }
}

/// RFC 3339 in UTC, to the second; empty for years that the format does not have.
pub fn rfc3339(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

/// Unix seconds of an RFC 3339 time.
pub fn from_rfc3339(text: &str) -> Option<i64> {
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
        .ok()
        .map(time::OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(rfc3339(1_769_904_000), "2026-02-01T00:00:00Z");
        assert_eq!(from_rfc3339("2026-02-01T01:00:00+01:00"), Some(1_769_904_000));
        assert_eq!(from_rfc3339("yesterday"), None);
    }
}
