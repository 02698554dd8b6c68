//! Registers of 48 bytes, which hold measurements, and what they may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// What a register may hold: `"zero"`, `"any"`, or `{"one_of": ["…", …]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Registers {
    /// Nothing but zeros.
    Zero,
    /// Whatever it holds: it is a claim all the same.
    Any,
    /// One of these.
    OneOf(BTreeSet<Register>),
}

impl Registers {
    /// Whether a register may hold this.
    pub fn accept(&self, value: &[u8; 48]) -> bool {
        match self {
            Self::Zero => value.iter().all(|&byte| byte == 0),
            Self::Any => true,
            Self::OneOf(values) => values.iter().any(|accepted| accepted.0 == *value),
        }
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("zeros"),
            Self::Any => f.write_str("any"),
            Self::OneOf(values) if values.is_empty() => f.write_str("none"),
            Self::OneOf(values) => {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                f.write_str(&values.join(", "))
            }
        }
    }
}

/// A register's value, 48 bytes, written as 96 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Register(pub [u8; 48]);

impl TryFrom<String> for Register {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text).map(Self).ok_or("a register is 96 lower-case hexadecimal digits")
    }
}

impl From<Register> for String {
    fn from(register: Register) -> Self {
        register.to_string()
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A mask of 64 bits, written as 16 lower-case hexadecimal digits, the most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Mask(pub u64);

impl TryFrom<String> for Mask {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = unhex(&text).ok_or("a mask is 16 lower-case hexadecimal digits")?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl From<Mask> for String {
    fn from(mask: Mask) -> Self {
        mask.to_string()
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Exactly `N` bytes as lower-case hexadecimal.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (!text.bytes().any(|digit| digit.is_ascii_uppercase())).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_is_written_in_one_way() {
        let text = "0f".repeat(48);
        let register = Register::try_from(text.clone()).unwrap();
        assert_eq!(
            (register.0, register.to_string(), String::from(register)),
            ([0x0f; 48], text.clone(), text.clone())
        );
        for wrong in [&text[2..], &text[1..], &text.to_uppercase(), &format!("{text}00"), "", &"0g".repeat(48)] {
            assert!(Register::try_from((*wrong).to_owned()).is_err(), "{wrong}");
        }
        assert_eq!(Mask::try_from("0000000000061ae7".to_owned()), Ok(Mask(0x0006_1ae7)));
        assert_eq!(Mask(0x0006_1ae7).to_string(), "0000000000061ae7");
        for wrong in ["61ae7", "0000000000061AE7", "0x00000000061ae7"] {
            assert!(Mask::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_registers_may_hold_is_told_apart() {
        let one = Register([1; 48]);
        assert!(Registers::Zero.accept(&[0; 48]) && !Registers::Zero.accept(&one.0));
        assert!(Registers::Any.accept(&one.0));
        let listed = Registers::OneOf([one].into());
        assert!(listed.accept(&one.0) && !listed.accept(&[0; 48]));
        assert!(!Registers::OneOf(BTreeSet::new()).accept(&[0; 48]), "an empty list accepts nothing");
    }
}
