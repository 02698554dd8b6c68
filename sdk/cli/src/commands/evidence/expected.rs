//! What evidence must be: what it binds, and what is asked of hardware.

use super::{contents, verify::Kind};
use crate::{context::read_capped, output::Failure};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use strongroom::protocol::{binding, limits, unambiguous};
use strongroom_attest::{nvidia::GpuRequirements, snp::SnpRequirements, tdx::TdxRequirements};

/// Largest `data.json` that is read.
const SETTINGS: u64 = 1 << 20;

/// What the evidence must bind. Without any of these, that row is not checked and says what is bound.
#[derive(Debug, Default, clap::Args)]
#[group(multiple = true)]
pub(super) struct Bound {
    /// What the quote must bind (extraData), hexadecimal: of a TPM, also Azure's
    #[arg(long, value_name = "HEX", conflicts_with_all = ["statement", "report_data", "nonce"])]
    bind: Option<String>,
    /// What the report or quote must bind, 64 bytes in hexadecimal: of SEV-SNP and TDX
    #[arg(long, value_name = "HEX", conflicts_with_all = ["statement", "nonce"])]
    report_data: Option<String>,
    /// What the report must bind, 32 bytes in hexadecimal: of a GPU
    #[arg(long, value_name = "HEX", conflicts_with = "statement")]
    nonce: Option<String>,
    /// The statement that the evidence must be of: what it binds is computed of the file's bytes
    #[arg(long, value_name = "FILE")]
    statement: Option<PathBuf>,
    /// What the agent bound beside the statement: the bytes that name its caller
    #[arg(long, value_name = "FILE", requires = "statement")]
    caller: Option<PathBuf>,
}

impl Bound {
    /// The bytes that evidence of this kind must bind.
    pub(super) fn of(&self, kind: Kind) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(path) = &self.statement {
            let statement = read_capped(path, limits::STATEMENT as u64)?;
            let caller = self.caller.as_deref().map(|path| read_capped(path, limits::CALLER as u64)).transpose()?;
            return Ok(Some(computed(kind, &statement, caller.as_deref())));
        }
        let (option, length) = match kind {
            Kind::SevSnp | Kind::Tdx => ("--report-data", Some(64)),
            Kind::NvidiaGpu => ("--nonce", Some(32)),
            _ => ("--bind", None),
        };
        let given = [("--bind", &self.bind), ("--report-data", &self.report_data), ("--nonce", &self.nonce)];
        let Some((name, text)) = given.into_iter().find_map(|(name, text)| Some((name, text.as_ref()?))) else {
            return Ok(None);
        };
        if name != option {
            return Err(Failure::usage(format!("{name} is not of {}: give {option}, or --statement", kind.name())));
        }
        let bytes = contents::unhexed(text.as_bytes());
        let bytes =
            bytes.ok_or_else(|| Failure::usage(format!("{name}: `{}` is not hexadecimal", text.escape_debug())))?;
        match length {
            Some(length) if bytes.len() != length => {
                Err(Failure::usage(format!("{name} has {} bytes: {} binds {length}", bytes.len(), kind.name())))
            }
            _ => Ok(Some(bytes)),
        }
    }

    /// True where something was given.
    pub(super) fn is_some(&self) -> bool {
        self.bind.is_some() || self.report_data.is_some() || self.nonce.is_some() || self.statement.is_some()
    }
}

/// What each kind binds of a request (protocol, "What evidence binds").
fn computed(kind: Kind, statement: &[u8], caller: Option<&[u8]>) -> Vec<u8> {
    let tag = |alone, agent| if caller.is_some() { agent } else { alone };
    match kind {
        Kind::SevSnp => binding::report_data(tag(binding::TAG_SNP, binding::TAG_SNP_AGENT), statement, caller).to_vec(),
        Kind::Tdx => binding::report_data(tag(binding::TAG_TDX, binding::TAG_TDX_AGENT), statement, caller).to_vec(),
        Kind::NvidiaGpu => {
            binding::gpu_nonce(tag(binding::TAG_NVIDIA, binding::TAG_NVIDIA_AGENT), statement, caller).to_vec()
        }
        Kind::Tpm2 | Kind::AzureSnpVtpm | Kind::TcgLog | Kind::ImaLog => {
            binding::tpm_extra_data(tag(binding::TAG_TPM, binding::TAG_TPM_AGENT), statement, caller).to_vec()
        }
    }
}

/// What is asked of hardware: the settings of a policy, or what a policy without them asks.
#[derive(Debug, Default)]
pub(super) struct Requirements {
    pub snp: SnpRequirements,
    pub tdx: TdxRequirements,
    pub gpu: GpuRequirements,
}

impl Requirements {
    /// Reads them of a policy's `data.json`, or of an object that has nothing but `snp`, `tdx` and `gpu`.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = read_capped(path, SETTINGS)?;
        Self::parse(&bytes).map_err(|problem| Failure::usage(format!("{}: {problem}", path.display())))
    }

    fn parse(json: &[u8]) -> Result<Self, String> {
        let value = unambiguous::from_slice(json).map_err(|error| format!("no JSON: {error}"))?;
        let object = value.as_object().ok_or("an object is due, as a policy's data.json")?;
        if let Some(settings) = object.get("settings") {
            return Self::of(settings.as_object().ok_or("`settings` is no object")?);
        }
        let known = ["snp", "tdx", "gpu"];
        match object.keys().find(|name| !known.contains(&name.as_str())) {
            Some(other) => {
                let (other, known) = (other.escape_debug(), known.join(", "));
                Err(format!("`{other}` is none of {known}; a policy's data.json has them in `settings`"))
            }
            None => Self::of(object),
        }
    }

    fn of(settings: &Map<String, Value>) -> Result<Self, String> {
        Ok(Self { snp: member(settings, "snp")?, tdx: member(settings, "tdx")?, gpu: member(settings, "gpu")? })
    }
}

/// A member, or what a policy without it asks. A misspelt requirement is refused, not missed.
fn member<T: DeserializeOwned + Default>(settings: &Map<String, Value>, name: &str) -> Result<T, String> {
    let Some(value) = settings.get(name) else { return Ok(T::default()) };
    T::deserialize(value).map_err(|error| format!("`{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bound: &Bound, kind: Kind) -> Result<Option<Vec<u8>>, String> {
        bound.of(kind).map_err(|failure| failure.message)
    }

    #[test]
    fn each_kind_has_its_own_word_and_length() {
        let bound = |report_data: &str| Bound { report_data: Some(report_data.to_owned()), ..Bound::default() };
        assert_eq!(of(&bound(&"ab".repeat(64)), Kind::SevSnp), Ok(Some(vec![0xab; 64])));
        assert!(of(&bound(&"ab".repeat(32)), Kind::Tdx).unwrap_err().contains("has 32 bytes: tdx binds 64"));
        assert!(of(&bound(&"ab".repeat(64)), Kind::NvidiaGpu).unwrap_err().contains("give --nonce"));
        assert!(of(&bound("xy"), Kind::SevSnp).unwrap_err().contains("not hexadecimal"));
        let bound = Bound { bind: Some("6368".to_owned()), ..Bound::default() };
        assert_eq!(of(&bound, Kind::AzureSnpVtpm), Ok(Some(b"ch".to_vec())));
        assert_eq!(of(&Bound::default(), Kind::Tdx), Ok(None));
        let nonce = Bound { nonce: Some("cd".repeat(32)), ..Bound::default() };
        assert_eq!(of(&nonce, Kind::NvidiaGpu), Ok(Some(vec![0xcd; 32])));
    }

    #[test]
    fn a_statement_binds_as_the_protocol_says() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let alone = Bound { statement: Some(file("s")), ..Bound::default() };
        let agent = Bound { statement: Some(file("s")), caller: Some(file("c")), ..Bound::default() };
        let expected = binding::report_data("strongroom/v1/snp", b"s", None).to_vec();
        assert_eq!(of(&alone, Kind::SevSnp), Ok(Some(expected)));
        let expected = binding::report_data("strongroom/v1/tdx-agent", b"s", Some(b"c")).to_vec();
        assert_eq!(of(&agent, Kind::Tdx), Ok(Some(expected)));
        let expected = binding::gpu_nonce("strongroom/v1/nvidia-agent", b"s", Some(b"c")).to_vec();
        assert_eq!(of(&agent, Kind::NvidiaGpu), Ok(Some(expected)));
        let expected = binding::tpm_extra_data("strongroom/v1/tpm", b"s", None).to_vec();
        assert_eq!(of(&alone, Kind::AzureSnpVtpm), Ok(Some(expected)));
    }

    #[test]
    fn requirements_are_a_policys() {
        let parse = |json: &str| Requirements::parse(json.as_bytes());
        let read = parse(r#"{"settings": {"lease_seconds": 1, "snp": {"vmpl": 1, "allow_vlek": true}}}"#).unwrap();
        assert_eq!((read.snp.vmpl, read.snp.allow_vlek), (1, true));
        assert_eq!(read.tdx, TdxRequirements::default());
        let bare = parse(r#"{"tdx": {"log": true}, "gpu": {"manifests": false}}"#).unwrap();
        assert!(bare.tdx.log && !bare.gpu.manifests && bare.snp == SnpRequirements::default());
        for (wrong, why) in [
            (r#"{"snp": {"vmpl": 1, "vmpl": 0}}"#, "vmpl"),
            (r#"{"snp": {"vmp": 1}}"#, "unknown field"),
            (r#"{"lease_seconds": 1}"#, "`lease_seconds` is none of"),
            (r#"{"settings": []}"#, "no object"),
            ("[]", "object"),
            ("{", "no JSON"),
        ] {
            let refused = parse(wrong).map(drop).unwrap_err();
            assert!(refused.contains(why), "{wrong}: {refused}");
        }
    }
}
