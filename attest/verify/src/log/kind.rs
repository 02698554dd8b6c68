//! Event types (PFP 1.06, §10.4.1, table 27): their names, where each may stand, what its digest is of.

use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// The type that an event claims for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct EventType(pub u32);

/// What an event's digest has to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    /// The event's data, as they stand.
    Data,
    /// The event's data, or only the value of the variable in them: firmware does either.
    DataOrValue,
    /// The event's data, or all of them but the last byte: shim before 15.3 logs one byte more than it measures.
    Authority,
    /// Something that the data at best describe.
    Elsewhere,
}

macro_rules! event_types {
    ($($name:ident = $value:literal, $text:literal, $measured:ident, $before:expr, $after:expr;)+) => {
        impl EventType {
            $(#[doc = concat!("`", $text, "`.")] pub const $name: Self = Self($value);)+

            /// The profile's name; `None` for types that it does not have.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)+
                    _ => None,
                }
            }

            pub(super) fn measured(self) -> Measured {
                match self.0 {
                    $($value => Measured::$measured,)+
                    _ => Measured::Elsewhere,
                }
            }

            /// PCRs of 0 to 7 in which it may stand before the PCR's separator.
            pub(super) fn before_separator(self) -> &'static [u32] {
                match self.0 {
                    $($value => $before,)+
                    _ => &[],
                }
            }

            /// PCRs of 0 to 7 in which it may stand after it.
            pub(super) fn after_separator(self) -> &'static [u32] {
                match self.0 {
                    $($value => $after,)+
                    _ => &[],
                }
            }
        }
    };
}

// Where a type may stand is from PFP 1.06, §3.3.4 (use of each PCR) and §10.4.1.
event_types! {
    PREBOOT_CERT = 0x00, "EV_PREBOOT_CERT", Elsewhere, &[], &[];
    POST_CODE = 0x01, "EV_POST_CODE", Elsewhere, &[0], &[];
    NO_ACTION = 0x03, "EV_NO_ACTION", Elsewhere, &[], &[];
    SEPARATOR = 0x04, "EV_SEPARATOR", Data, &[0, 1, 2, 3, 4, 5, 6, 7], &[];
    ACTION = 0x05, "EV_ACTION", Data, &[1, 2, 3, 4, 5, 6], &[4, 5];
    EVENT_TAG = 0x06, "EV_EVENT_TAG", Elsewhere, &[0, 1, 2, 3, 4, 5, 6], &[4, 5];
    S_CRTM_CONTENTS = 0x07, "EV_S_CRTM_CONTENTS", Elsewhere, &[0], &[];
    S_CRTM_VERSION = 0x08, "EV_S_CRTM_VERSION", Data, &[0], &[];
    CPU_MICROCODE = 0x09, "EV_CPU_MICROCODE", Elsewhere, &[0, 1], &[];
    PLATFORM_CONFIG_FLAGS = 0x0a, "EV_PLATFORM_CONFIG_FLAGS", Elsewhere, &[1], &[];
    TABLE_OF_DEVICES = 0x0b, "EV_TABLE_OF_DEVICES", Elsewhere, &[1], &[];
    COMPACT_HASH = 0x0c, "EV_COMPACT_HASH", Elsewhere, &[2, 4, 5, 6], &[4, 5];
    IPL = 0x0d, "EV_IPL", Elsewhere, &[], &[4, 5];
    IPL_PARTITION_DATA = 0x0e, "EV_IPL_PARTITION_DATA", Elsewhere, &[], &[5];
    NONHOST_CODE = 0x0f, "EV_NONHOST_CODE", Elsewhere, &[0, 2], &[];
    NONHOST_CONFIG = 0x10, "EV_NONHOST_CONFIG", Elsewhere, &[1, 3], &[];
    NONHOST_INFO = 0x11, "EV_NONHOST_INFO", Elsewhere, &[0], &[];
    OMIT_BOOT_DEVICE_EVENTS = 0x12, "EV_OMIT_BOOT_DEVICE_EVENTS", Data, &[4], &[4];
    POST_CODE2 = 0x13, "EV_POST_CODE2", Elsewhere, &[0], &[];
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG", Data, &[1, 3, 5, 7], &[];
    EFI_VARIABLE_BOOT = 0x8000_0002, "EV_EFI_VARIABLE_BOOT", DataOrValue, &[1], &[];
    EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION", Elsewhere, &[2, 4], &[4];
    EFI_BOOT_SERVICES_DRIVER = 0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER", Elsewhere, &[0, 2], &[4];
    EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER", Elsewhere, &[0, 2], &[4];
    EFI_GPT_EVENT = 0x8000_0006, "EV_EFI_GPT_EVENT", Data, &[5], &[5];
    EFI_ACTION = 0x8000_0007, "EV_EFI_ACTION", Data, &[1, 2, 3, 4, 5, 6, 7], &[4, 5, 7];
    EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB", Elsewhere, &[0, 2, 4], &[];
    EFI_HANDOFF_TABLES = 0x8000_0009, "EV_EFI_HANDOFF_TABLES", Elsewhere, &[1], &[];
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2", Elsewhere, &[0, 2, 4], &[];
    EFI_HANDOFF_TABLES2 = 0x8000_000b, "EV_EFI_HANDOFF_TABLES2", Elsewhere, &[1], &[];
    EFI_VARIABLE_BOOT2 = 0x8000_000c, "EV_EFI_VARIABLE_BOOT2", DataOrValue, &[1], &[];
    EFI_GPT_EVENT2 = 0x8000_000d, "EV_EFI_GPT_EVENT2", Elsewhere, &[5], &[5];
    EFI_HCRTM_EVENT = 0x8000_0010, "EV_EFI_HCRTM_EVENT", Elsewhere, &[0], &[];
    EFI_VARIABLE_AUTHORITY = 0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY", Authority, &[7], &[7];
    EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB", Elsewhere, &[2], &[];
    EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2, "EV_EFI_SPDM_FIRMWARE_CONFIG", Elsewhere, &[3], &[];
    EFI_SPDM_DEVICE_POLICY = 0x8000_00e3, "EV_EFI_SPDM_DEVICE_POLICY", Data, &[7], &[];
    EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00e4, "EV_EFI_SPDM_DEVICE_AUTHORITY", Data, &[7], &[7];
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}
