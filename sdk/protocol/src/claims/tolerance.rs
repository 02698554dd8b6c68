//! Deviations from the specifications that real vendors ship and that are accepted, by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A known deviation that was accepted. Each use is recorded beside the result, so that policy and
/// people can see it; everything that is not listed here is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// The EK certificate is followed by padding (all 0x00 or all 0xFF), as when NV is read whole.
    TrailingPadding,
    /// basicConstraints is missing; RFC 5280 then reads "not a CA".
    BasicConstraintsMissing,
    /// basicConstraints is there but not critical.
    BasicConstraintsNotCritical,
    /// keyUsage is missing; accepted only when extKeyUsage says that this is an EK certificate.
    KeyUsageMissing,
    /// keyUsage is there but not critical.
    KeyUsageNotCritical,
    /// keyUsage allows more than the one use of its kind of key (never signing of certificates or CRLs).
    KeyUsageExtra,
    /// extKeyUsage is missing; accepted only when keyUsage is there.
    ExtendedKeyUsageMissing,
    /// The subject is empty and subjectAltName is not critical (RFC 5280 §4.2.1.6 wants it so).
    SubjectAltNameNotCritical,
    /// The manufacturer is not written as `id:` and eight hexadecimal digits.
    ManufacturerFormat,
    /// The key's algorithm is id-RSAES-OAEP instead of rsaEncryption.
    RsaOaepKeyAlgorithm,
    /// An RSAPSS signature has the longest salt that fits, as TPMs made before revision 1.59 do,
    /// instead of one as long as the digest.
    PssLongestSalt,
    /// The boot log is followed by padding (all 0x00 or all 0xFF), as in the memory that firmware hands over.
    LogPadding,
    /// Boot variables, drivers of cards, tables or the manufacturer's own are measured after the separator of PCR 1,
    /// 2, 3 or 6.
    FirmwareAfterSeparator,
    /// An event outside PCRs 4 and 7 is of a type that the profile has, and does not have there.
    VendorEvent,
    /// The log has events of PCRs 16 to 23, which can be reset without a reboot.
    ResettablePcr,
    /// An event without action, which extends nothing, has a digest other than zeros.
    NoActionWithDigest,
    /// An event of shim's in PCR 7 is one byte longer than what was measured (shim before 15.3).
    ShimVariableSize,
    /// Secure Boot is off, and firmware does not measure all of its variables.
    SecureBootVariablesMissing,
    /// PCR 5 was extended by an `ExitBootServices` that succeeded and that the log does not show.
    ExitBootServicesMissing,
    /// PCR 5 was extended by an `ExitBootServices` that failed and that the log does not show.
    ExitBootServicesFailureMissing,
    /// PCR 5 was extended by an `ExitBootServices` that failed, then succeeded, and that the log does not show.
    ExitBootServicesRetryMissing,
}

impl Tolerance {
    /// The name as it stands in claims and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrailingPadding => "trailing_padding",
            Self::BasicConstraintsMissing => "basic_constraints_missing",
            Self::BasicConstraintsNotCritical => "basic_constraints_not_critical",
            Self::KeyUsageMissing => "key_usage_missing",
            Self::KeyUsageNotCritical => "key_usage_not_critical",
            Self::KeyUsageExtra => "key_usage_extra",
            Self::ExtendedKeyUsageMissing => "extended_key_usage_missing",
            Self::SubjectAltNameNotCritical => "subject_alt_name_not_critical",
            Self::ManufacturerFormat => "manufacturer_format",
            Self::RsaOaepKeyAlgorithm => "rsa_oaep_key_algorithm",
            Self::PssLongestSalt => "pss_longest_salt",
            Self::LogPadding => "log_padding",
            Self::FirmwareAfterSeparator => "firmware_after_separator",
            Self::VendorEvent => "vendor_event",
            Self::ResettablePcr => "resettable_pcr",
            Self::NoActionWithDigest => "no_action_with_digest",
            Self::ShimVariableSize => "shim_variable_size",
            Self::SecureBootVariablesMissing => "secure_boot_variables_missing",
            Self::ExitBootServicesMissing => "exit_boot_services_missing",
            Self::ExitBootServicesFailureMissing => "exit_boot_services_failure_missing",
            Self::ExitBootServicesRetryMissing => "exit_boot_services_retry_missing",
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_has_one_name() {
        for tolerance in [Tolerance::TrailingPadding, Tolerance::KeyUsageExtra, Tolerance::PssLongestSalt] {
            assert_eq!(serde_json::to_value(tolerance).unwrap(), tolerance.as_str());
        }
    }
}
