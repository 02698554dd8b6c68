//! Values of PCRs in files: what `--pcrs` and `--reference` take.

use crate::{context::read_capped, output::Failure};
use serde::Deserialize as _;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};
use strongroom::protocol::{
    admin::{FileLists, ReferenceEvent, SnpValues, TdxValues},
    bytes::Bytes,
};
use strongroom_attest::{quote::Values, tpm::HashAlg};

/// Largest file that is read: a set may list tens of thousands of files.
const LIMIT: u64 = 8 << 20;

/// What a reference set in JSON may have beside banks by their names.
const MEMBERS: [&str; 7] = ["bank", "pcrs", "values", "snp", "tdx", "files", "events"];

const NO_VALUES: &str = "it holds no PCR values";

/// Values by bank and PCR.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PcrValues(pub BTreeMap<HashAlg, Values>);

/// A reference set in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReferenceFile {
    pub values: PcrValues,
    /// Launch measurements of SEV-SNP.
    pub snp: SnpValues,
    /// Build measurements of TDX.
    pub tdx: TdxValues,
    pub files: FileLists,
    /// Events that the values are of.
    pub events: Vec<ReferenceEvent>,
}

impl ReferenceFile {
    /// Reads what `strongroom reference from-…` prints, or values as `--pcrs` takes them.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Self::parse(path, &read_capped(path, LIMIT)?)
    }

    /// The same of a file's content. A member that no set has is refused by its name: what is meant as lists of files
    /// must not be read as a set without any.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        of_text(path, bytes, |text| {
            if !text.trim_start().starts_with('{') {
                return Ok(Self { values: PcrValues::parse(text)?, ..Self::default() });
            }
            let value = strongroom::protocol::unambiguous::from_slice(text.as_bytes()).map_err(|e| e.to_string())?;
            let known = |name: &str| MEMBERS.contains(&name) || bank_named(name).is_some();
            if let Some(name) = value.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| !known(name))
            {
                let (name, members) = (name.escape_debug(), MEMBERS.join(", "));
                return Err(format!("`{name}` is no part of a reference set: it has {members}"));
            }
            let snp: SnpValues = member(&value, "snp")?;
            let tdx: TdxValues = member(&value, "tdx")?;
            // A set may be of launch measurements alone.
            let values = PcrValues::of_json(&value)?;
            if values.is_empty() && snp.is_empty() && tdx.is_empty() {
                return Err(NO_VALUES.to_owned());
            }
            let files: FileLists = member(&value, "files")?;
            files.check().map_err(|e| format!("`files`: {e}"))?;
            let events = match value.get("events") {
                Some(events) => {
                    let events = Vec::<Event>::deserialize(events).map_err(|e| format!("`events`: {e}"))?;
                    events.into_iter().map(Event::read).collect::<Result<_, _>>()?
                }
                None => Vec::new(),
            };
            Ok(Self { values, snp, tdx, files, events })
        })
    }
}

/// A part of a set, or nothing of it.
fn member<T: serde::de::DeserializeOwned + Default>(set: &Value, name: &str) -> Result<T, String> {
    match set.get(name) {
        Some(part) => T::deserialize(part).map_err(|e| format!("`{name}`: {e}")),
        None => Ok(T::default()),
    }
}

/// An event of a set, its digest in hexadecimal or base64url.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    pcr: u8,
    digest: String,
    hint: String,
}

impl Event {
    fn read(self) -> Result<ReferenceEvent, String> {
        let Self { pcr, digest, hint } = self;
        // Only the length tells the two apart; 64 characters are 32 bytes in the one and 48 in the other.
        let hexadecimal = matches!(digest.len(), 64 | 96 | 128) && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes = if hexadecimal { hex::decode(&digest).ok() } else { digest.parse().ok().map(|Bytes(bytes)| bytes) };
        let digest = bytes.map(Bytes).ok_or_else(|| format!("`events`: an event of PCR {pcr} has no digest"))?;
        Ok(ReferenceEvent { pcr, digest, hint })
    }
}

impl PcrValues {
    /// Reads a file: JSON, `{"sha256": {"0": "…"}}` or `{"bank": "sha256", "values": {"0": "…"}}` (`pcrs` instead of
    /// `values` does too), values in hexadecimal or base64url, or what `tpm2_pcrread` prints. In one of these forms: of
    /// values in two nobody knows which are meant.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        of_text(path, &read_capped(path, LIMIT)?, Self::parse)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let values = if text.trim_start().starts_with('{') {
            let value = strongroom::protocol::unambiguous::from_slice(text.as_bytes()).map_err(|e| e.to_string())?;
            Self::of_json(&value)?
        } else {
            Self::of_listing(text)?
        };
        if values.is_empty() { Err(NO_VALUES.to_owned()) } else { Ok(values) }
    }

    /// True where there is no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }

    fn of_json(value: &Value) -> Result<Self, String> {
        let mut values = Self::default();
        let object = value.as_object().ok_or("an object is due")?;
        let bank_beside = || object.keys().find(|name| bank_named(name).is_some());
        if let Some(bank) = object.get("bank") {
            let bank = bank.as_str().and_then(bank_named).ok_or("`bank` is none of sha1, sha256, sha384, sha512")?;
            let pcrs = match (object.get("values"), object.get("pcrs"), bank_beside()) {
                (Some(_), Some(_), _) => return Err("PCRs are given twice: in `values` and in `pcrs`".to_owned()),
                (_, _, Some(other)) => return Err(format!("PCRs are given twice: by `bank` and in `{other}`")),
                (values, pcrs, None) => values.or(pcrs),
            };
            let pcrs = pcrs.and_then(Value::as_object).ok_or("beside `bank` there is neither `values` nor `pcrs`")?;
            for (pcr, value) in pcrs {
                values.put(bank, pcr, value.as_str().unwrap_or_default())?;
            }
            return Ok(values);
        }
        // What `evidence verify --json` prints has the banks under `pcrs`.
        let nested = object.get("pcrs").or(object.get("values")).and_then(Value::as_object);
        if let (Some(_), Some(other)) = (nested, bank_beside()) {
            return Err(format!("PCRs are given twice: in `pcrs` and in `{other}`"));
        }
        let banks = nested.unwrap_or(object);
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
        // The bank of the lines that follow; one whose algorithm is not known has values that are of no use.
        let mut bank: Option<Option<HashAlg>> = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is no line of tpm2_pcrread"))?;
            let (name, value) = (name.trim(), value.trim());
            let is_pcr = name.bytes().all(|byte| byte.is_ascii_digit());
            match (value, bank) {
                ("", _) if is_pcr => return Err(format!("{line:?} is of a PCR and has no value")),
                ("", _) => bank = Some(bank_named(name)),
                (value, Some(Some(bank))) => values.put(bank, name, value.trim_start_matches("0x"))?,
                (_, Some(None)) => {}
                (_, None) => return Err(format!("{line:?} stands before the name of a bank")),
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

    /// The other banks.
    pub(crate) fn beside(&self, bank: HashAlg) -> impl Iterator<Item = (HashAlg, &Values)> {
        let others = self.0.iter().filter(move |(of, values)| **of != bank && !values.is_empty());
        others.map(|(of, values)| (*of, values))
    }
}

fn of_text<T>(path: &Path, bytes: &[u8], parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Failure> {
    let read = std::str::from_utf8(bytes).map_err(|e| e.to_string()).and_then(parse);
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
            // Two forms at once, each of which somebody would believe.
            format!(r#"{{"bank": "sha256", "values": {{"0": "{value}"}}, "pcrs": {{"0": "{value}"}}}}"#),
            format!(r#"{{"bank": "sha256", "pcrs": {{"0": "{value}"}}, "sha256": {{"0": "{value}"}}}}"#),
            format!(r#"{{"pcrs": {{"sha256": {{"0": "{value}"}}}}, "sha256": {{"0": "{value}"}}}}"#),
            format!(r#"{{"pcrs": {{"sha256": {{"0": "{value}"}}}}, "sha1": {{"0": "{}"}}}}"#, "ab".repeat(20)),
            // What follows a PCR without a value must not be lost.
            format!("sha256:\n 0 : 0x{value}\n 4 :\n 7 : 0x{value}"),
            format!(" 0 : 0x{value}\nsha256:\n 1 : 0x{value}"),
        ] {
            assert!(PcrValues::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_set_has_known_members_and_whole_digests() {
        let read = |text: &str| ReferenceFile::parse(Path::new("set.json"), text.as_bytes()).map_err(|e| e.message);
        let value = "ab".repeat(32);
        let set = |more: &str| format!(r#"{{"bank": "sha256", "pcrs": {{"7": "{value}"}}{more}}}"#);
        let listed = format!(r#", "files": {{"forbidden": {{"sha256:{value}": "nc"}}}}"#);
        assert_eq!(read(&set(&listed)).unwrap().files.forbidden.len(), 1);
        assert!(read(&set("")).unwrap().files.is_empty());
        for (wrong, why) in [
            (listed.replace("files", "file"), "`file` is no part"),
            (listed.replace("files", "Files"), "`Files` is no part"),
            (r#", "forbidden": {}"#.to_owned(), "`forbidden` is no part"),
            (listed.replace(&value, "abab"), "is no digest"),
            (listed.replace(&value, &value.to_uppercase()), "is no digest"),
            (listed.replace(r#""nc""#, &format!(r#""nc", "sha1:{}": "x""#, "ab".repeat(20))), "forbidden by"),
            (r#", "events": [{"pcr": "four", "digest": "zz", "hint": ""}]"#.to_owned(), "`events`"),
            (r#", "events": [{"pcr": 4, "digest": "!", "hint": ""}]"#.to_owned(), "has no digest"),
        ] {
            let refused = read(&set(&wrong)).unwrap_err();
            assert!(refused.contains(why), "{wrong}: {refused}");
        }
        // A set may be of launch measurements alone.
        let measurement = "cd".repeat(48);
        let launch =
            read(&format!(r#"{{"bank": "sha256", "pcrs": {{}}, "snp": {{"measurements": ["{measurement}"]}}}}"#))
                .unwrap();
        assert_eq!((launch.snp.measurements.len(), launch.values.is_empty()), (1, true));
        let build = read(&set(&format!(r#", "tdx": {{"mrtds": ["{measurement}"]}}"#))).unwrap();
        assert_eq!((build.tdx.mrtds.len(), build.values.is_empty()), (1, false));
        for wrong in [
            "{}",
            r#"{"snp": {"measurements": []}}"#,
            r#"{"snp": {"measurements": ["cd"]}}"#,
            r#"{"snp": {"mrtds": []}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // Events are kept, in whichever form their digests are.
        for digest in [value.clone(), Bytes(vec![0xab; 32]).to_string()] {
            let events = format!(r#", "events": [{{"pcr": 7, "digest": "{digest}", "hint": "x"}}]"#);
            let event = ReferenceEvent { pcr: 7, digest: Bytes(vec![0xab; 32]), hint: "x".into() };
            assert_eq!(read(&set(&events)).unwrap().events, [event]);
        }
    }
}
