//! Times and durations as people write them.

use crate::output::Failure;
use std::time::{Duration, SystemTime};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// This machine's clock, for defaults of queries and nothing that is trusted.
#[expect(clippy::disallowed_methods, reason = "the start of `--last 1h` is what the person at this machine means")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::from(SystemTime::now())
}

/// RFC 3339, UTC.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// `90s`, `15m`, `1h`, `30d`; a bare number is seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::usage(format!("`{text}` is not a duration: write 90s, 15m, 1h or 30d"));
    let (number, unit) = match text.char_indices().last() {
        Some((at, unit @ ('s' | 'm' | 'h' | 'd'))) => (text.get(..at).unwrap_or_default(), unit),
        _ => (text, 's'),
    };
    let factor = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => 1,
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

/// The same, as an argument.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    seconds(text).map(Duration::from_secs).map_err(|failure| failure.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, expected) in [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 2_592_000)] {
            assert_eq!(seconds(text).unwrap(), expected);
        }
        for wrong in ["", "h", "-1h", "1w", "99999999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
