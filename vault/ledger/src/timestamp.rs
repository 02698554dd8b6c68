//! A record's time, in one spelling.

use crate::LedgerError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The last millisecond of the year 9999.
const LAST: u64 = 253_402_300_799_999;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds, up to the year 9999.
///
/// On the wire RFC 3339 in UTC with exactly three decimals, `2026-01-31T23:59:59.999Z`: spelled so,
/// text sorts as time does, and one instant has one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since 1970; none after the year 9999.
    pub fn from_unix_millis(millis: u64) -> Option<Self> {
        (millis <= LAST).then_some(Self(millis))
    }

    /// Milliseconds since 1970.
    pub fn unix_millis(self) -> u64 {
        self.0
    }
}

/// Cuts off what is below a millisecond.
impl TryFrom<OffsetDateTime> for Timestamp {
    type Error = LedgerError;
    fn try_from(time: OffsetDateTime) -> Result<Self, LedgerError> {
        u64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000))
            .ok()
            .and_then(Self::from_unix_millis)
            .ok_or(LedgerError::TimeMalformed)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1000).map_err(|_| fmt::Error)?;
        let t = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| fmt::Error)?;
        let (date, clock) = (t.date(), t.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
            self.0 % 1000
        )
    }
}

impl FromStr for Timestamp {
    type Err = LedgerError;
    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| LedgerError::TimeMalformed)?;
        let read = Self::try_from(time)?;
        // The general reader takes offsets, lower case, leap seconds, any number of decimals.
        if read.to_string() == text { Ok(read) } else { Err(LedgerError::TimeMalformed) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_instant_has_one_spelling() {
        let text = "2026-01-31T23:59:59.999Z";
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        for wrong in [
            "2026-01-31T23:59:59Z",
            "2026-01-31T23:59:59.9990Z",
            "2026-01-31t23:59:59.999z",
            "2026-02-01T00:59:59.999+01:00",
            "2026-01-31T23:59:60.999Z",
            "2026-02-30T23:59:59.999Z",
            "1969-12-31T23:59:59.999Z",
            " 2026-01-31T23:59:59.999Z",
        ] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(LedgerError::TimeMalformed), "{wrong}");
        }
    }

    #[test]
    fn the_range_ends_with_the_year_9999() {
        assert_eq!(Timestamp::from_unix_millis(LAST).unwrap().to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_unix_millis(LAST + 1), None);
        assert_eq!(Timestamp::from_unix_millis(0).unwrap().to_string(), "1970-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn text_sorts_as_time_does(a in 0..=LAST, b in 0..=LAST) {
            let (a, b) = (Timestamp::from_unix_millis(a).unwrap(), Timestamp::from_unix_millis(b).unwrap());
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.to_string().parse::<Timestamp>().unwrap(), a);
        }
    }
}
