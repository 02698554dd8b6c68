//! Values of PCRs in files: what `--pcrs` and `--reference` take.

use crate::{context::read_capped, output::Failure};
use serde::Deserialize as _;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};
use strongroom::protocol::{admin::FileLists, bytes::Bytes};
use strongroom_attest::{quote::Values, tpm::HashAlg};

/// Largest file that is read: a set may list tens of thousands of files.
const LIMIT: u64 = 8 << 20;

/// Values by bank and PCR.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PcrValues(pub BTreeMap<HashAlg, Values>);

/// A reference set in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReferenceFile {
    pub values: PcrValues,
    pub files: FileLists,
}

impl ReferenceFile {
    /// Reads what `strongroom reference from-…` prints, or anything that `--pcrs` takes.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        named(path, |text| {
            let values = PcrValues::parse(text)?;
            let files = match strongroom::protocol::unambiguous::from_slice(text.as_bytes())
                .ok()
                .and_then(|value| value.get("files").cloned())
            {
                Some(files) => FileLists::deserialize(&files).map_err(|e| format!("`files`: {e}"))?,
                None => FileLists::default(),
            };
            Ok(Self { values, files })
        })
    }
}

impl PcrValues {
    /// Reads a file: JSON, `{"sha256": {"0": "…"}}` or `{"bank": "sha256", "values": {"0": "…"}}` (`pcrs` instead of
    /// `values` does too), values in hexadecimal or base64url, or what `tpm2_pcrread` prints.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        named(path, Self::parse)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let values = if text.trim_start().starts_with('{') {
            let value = strongroom::protocol::unambiguous::from_slice(text.as_bytes()).map_err(|e| e.to_string())?;
            Self::of_json(&value)?
        } else {
            Self::of_listing(text)?
        };
        if values.0.values().all(BTreeMap::is_empty) {
            return Err("it holds no PCR values".to_owned());
        }
        Ok(values)
    }

    fn of_json(value: &Value) -> Result<Self, String> {
        let mut values = Self::default();
        let object = value.as_object().ok_or("an object is due")?;
        if let Some(bank) = object.get("bank") {
            let bank = bank.as_str().and_then(bank_named).ok_or("`bank` is none of sha1, sha256, sha384, sha512")?;
            let pcrs = object.get("values").or_else(|| object.get("pcrs"));
            let pcrs = pcrs.and_then(Value::as_object).ok_or("beside `bank` there is neither `values` nor `pcrs`")?;
            for (pcr, value) in pcrs {
                values.put(bank, pcr, value.as_str().unwrap_or_default())?;
            }
            return Ok(values);
        }
        // What `evidence verify --json` prints has the banks under `pcrs`.
        let banks = object.get("pcrs").and_then(Value::as_object).unwrap_or(object);
        for (name, pcrs) in banks {
            // Other facts may stand beside the banks.
            let (Some(bank), Some(pcrs)) = (bank_named(name), pcrs.as_object()) else { continue };
            for (pcr, value) in pcrs {
                values.put(bank, pcr, value.as_str().unwrap_or_default())?;
            }
        }
        Ok(values)
    }

    /// `tpm2_pcrread`: a line `sha256:`, then lines `0 : 0xABCD…`.
    fn of_listing(text: &str) -> Result<Self, String> {
        let mut values = Self::default();
        let mut bank = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is no line of tpm2_pcrread"))?;
            match (value.trim(), bank) {
                ("", _) => bank = bank_named(name.trim()),
                (value, Some(bank)) => values.put(bank, name.trim(), value.trim_start_matches("0x"))?,
                // A bank whose algorithm is not known.
                (_, None) => {}
            }
        }
        Ok(values)
    }

    fn put(&mut self, bank: HashAlg, pcr: &str, value: &str) -> Result<(), String> {
        let number = pcr.parse().ok().filter(|&pcr: &u8| pcr < 24).ok_or_else(|| format!("{pcr:?} is no PCR"))?;
        let length = bank.digest_length();
        // Only the length tells the two apart.
        let bytes = if value.len() == 2 * length {
            hex::decode(value).ok()
        } else {
            value.parse().ok().map(|Bytes(bytes)| bytes).filter(|bytes| bytes.len() == length)
        };
        let bytes =
            bytes.ok_or_else(|| format!("PCR {pcr} of {bank} is not {length} bytes in hexadecimal or base64url"))?;
        match self.0.entry(bank).or_default().insert(number, bytes) {
            Some(_) => Err(format!("PCR {pcr} of {bank} is given twice")),
            None => Ok(()),
        }
    }

    /// The strongest bank of these that the values have: SHA-256 before SHA-384, as policies read it, SHA-1 last.
    pub(crate) fn bank(&self, has: impl Fn(HashAlg) -> bool) -> Option<(HashAlg, &Values)> {
        [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512, HashAlg::Sha1]
            .into_iter()
            .filter(|&bank| has(bank))
            .find_map(|bank| self.0.get(&bank).map(|values| (bank, values)))
    }
}

fn named<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Failure> {
    let bytes = read_capped(path, LIMIT)?;
    let read = std::str::from_utf8(&bytes).map_err(|e| e.to_string()).and_then(parse);
    read.map_err(|problem| {
        Failure::usage(format!(
            "{}: {problem}; give JSON such as {{\"sha256\": {{\"0\": \"…\"}}}}, or what `tpm2_pcrread` prints",
            path.display()
        ))
    })
}

/// A bank by its name.
pub(super) fn bank_named(name: &str) -> Option<HashAlg> {
    [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512].into_iter().find(|bank| bank.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_five_forms() {
        let value = "ab".repeat(32);
        let expected = PcrValues(BTreeMap::from([(HashAlg::Sha256, BTreeMap::from([(7, vec![0xab; 32])]))]));
        for text in [
            format!(r#"{{"events": 3, "sha256": {{"7": "{value}"}}}}"#),
            format!(r#"{{"bank": "sha256", "values": {{"7": "{value}"}}}}"#),
            format!(r#"{{"bank": "sha256", "pcrs": {{"7": "{value}"}}}}"#),
            format!(r#"{{"bank": "sha256", "pcrs": {{"7": "{}"}}}}"#, Bytes(vec![0xab; 32])),
            format!(r#"{{"kind": "tcg-log", "pcrs": {{"sha256": {{"7": "{value}"}}}}}}"#),
            format!("  sm3_256:\n    7 : 0x00\n  sha256:\n    7 : 0x{}\n", value.to_uppercase()),
        ] {
            assert_eq!(PcrValues::parse(&text).as_ref(), Ok(&expected), "{text}");
        }
    }

    /// 64 characters are 32 bytes in hexadecimal and 48 in base64url: the bank says which.
    #[test]
    fn the_bank_tells_hexadecimal_from_base64url() {
        let text = Bytes(vec![0xab; 48]).to_string();
        let values = PcrValues::parse(&format!(r#"{{"sha384": {{"7": "{text}"}}}}"#)).unwrap();
        assert_eq!(values.0[&HashAlg::Sha384][&7], vec![0xab; 48]);
        assert!(PcrValues::parse(&format!(r#"{{"sha256": {{"7": "{text}"}}}}"#)).is_err());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let value = "ab".repeat(32);
        for text in [
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
            r#"{"bank": "md5", "values": {}}"#.to_owned(),
            format!(r#"{{"sha256": {{"24": "{value}"}}}}"#),
            format!(r#"{{"sha256": {{"x": "{value}"}}}}"#),
            format!(r#"{{"sha384": {{"0": "{value}ab"}}}}"#),
            r#"{"sha256": {"0": 7}}"#.to_owned(),
            "sha256:\n 0 : 0xzz".to_owned(),
            format!("sha256:\n 0 : 0x{value}\n 0 : 0x{value}"),
            format!(r#"{{"sha256": {{"0": "{value}", "0": "{value}"}}}}"#),
            format!(r#"{{"sha256": {{"0": "{value}", "00": "{value}"}}}}"#),
            format!(r#"{{"sha256": {{"0": "{value}"}}, "sha256": {{"0": "{value}"}}}}"#),
            format!(r#"{{"bank": "sha256", "pcrs": {{"0": "{value}", "0": "{value}"}}}}"#),
            "nothing".to_owned(),
        ] {
            assert!(PcrValues::parse(&text).is_err(), "{text}");
        }
    }
}
