//! Reference values from logs, images and files, and what is chosen of them.

use crate::{
    commands::evidence::pcrs::{PcrValues, ReferenceFile},
    context::read_capped,
    output::Failure,
    plain,
    work::given,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    str::FromStr,
};
use strongroom::protocol::{
    admin::{FileLists, ReferenceEvent, ReferenceValues},
    bytes::Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection},
    files::algorithm as algorithm_of,
    limits,
};
use strongroom_attest::{
    ima::{ImaExpectation, ImaLog, verify},
    log::{BootLog, PHASES, Replay, events, judge},
    quote::Values,
    tpm::HashAlg,
    uki::Uki,
};

/// IMA's PCR changes with every program that is run: files are listed instead.
const IMA: u8 = 10;
/// From here on a running system may reset PCRs.
const RESETTABLE: u8 = 16;
/// PCR of unified kernel images.
const UKI: u8 = 11;

/// What is taken of the values, and what becomes of them.
#[derive(clap::Args)]
pub(crate) struct Choice {
    /// Propose them as a new version of this set; without it they are printed
    #[arg(long, value_name = "NAME")]
    pub(super) record: Option<String>,
    /// Take these PCRs only, such as 0-7,9
    #[arg(long, value_name = "PCRS")]
    pcrs: Option<PcrList>,
    /// A file that must not be measured, or its digest (sha256:…); repeatable
    #[arg(long, value_name = "FILE_OR_DIGEST")]
    forbid: Vec<String>,
    /// A file that must be measured, or its digest (sha256:…); repeatable
    #[arg(long, value_name = "FILE_OR_DIGEST")]
    require: Vec<String>,
}

/// PCRs as people write them: `0-7,9`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PcrList(BTreeSet<u8>);

impl FromStr for PcrList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.trim().parse::<u8>().ok().filter(|&pcr| pcr < 24);
            number.ok_or_else(|| format!("`{}` is no PCR: they are 0 to 23", text.escape_debug()))
        };
        let mut pcrs = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("`{}` goes backwards", part.escape_debug()));
            }
            pcrs.extend(first..=last);
        }
        Ok(Self(pcrs))
    }
}

impl Choice {
    /// Everything, proposed under this name if there is one.
    pub(super) fn whole(record: Option<String>) -> Self {
        Self { record, pcrs: None, forbid: Vec::new(), require: Vec::new() }
    }

    /// True if nothing is left out and nothing added.
    pub(super) fn is_everything(&self) -> bool {
        self.pcrs.is_none() && self.forbid.is_empty() && self.require.is_empty()
    }

    /// Of the values of a log without a choice: what a vault asks nodes for unless policy says otherwise.
    pub(super) fn by_default(&self, values: &mut ReferenceValues) {
        if self.pcrs.is_none() {
            let PcrSelection { pcrs, .. } = PcrSelection::default_sha256();
            values.pcrs.0.retain(|pcr, _| pcrs.contains(pcr));
        }
    }

    /// What is chosen of the values, with files added to the lists.
    pub(super) fn of(&self, mut values: ReferenceValues) -> Result<ReferenceValues, Failure> {
        if let Some(PcrList(chosen)) = &self.pcrs {
            let there: BTreeSet<u8> = values.pcrs.0.keys().copied().collect();
            let missing: Vec<_> = chosen.difference(&there).map(u8::to_string).collect();
            if !missing.is_empty() {
                return Err(Failure::usage(format!("--pcrs: there are no values of PCRs {}", missing.join(", "))));
            }
            values.pcrs.0.retain(|pcr, _| chosen.contains(pcr));
        }
        values.events.retain(|event| values.pcrs.0.contains_key(&event.pcr));
        for (given, list) in [(&self.forbid, &mut values.files.forbidden), (&self.require, &mut values.files.required)]
        {
            for text in given {
                let (digest, note) = digest_of(text)?;
                list.insert(digest, note);
            }
        }
        values.files.check().map_err(|e| Failure::usage(e.to_string()))?;
        Ok(values)
    }
}

/// A digest as it was given, or that of the file at a path.
fn digest_of(text: &str) -> Result<(String, String), Failure> {
    if let Some((algorithm, value)) = text.rsplit_once(':')
        && !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !algorithm.contains('/')
    {
        let digest = text.to_ascii_lowercase();
        return if algorithm_of(&digest).is_some() {
            Ok((digest, String::new()))
        } else {
            Err(Failure::usage(format!(
                "`{}` is no digest: give its algorithm, a colon and all of it in hexadecimal, 64 digits for sha256",
                text.escape_debug()
            )))
        };
    }
    let remedy = "give a file, or its digest as sha256: and hexadecimal";
    let failed = |source: io::Error| Failure::usage(format!("{text}: {source}: {remedy}"));
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut file =
        given(Path::new(text)).map_err(|failure| Failure::usage(format!("{}: {remedy}", failure.message)))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = io::Read::read(&mut file, &mut buffer).map_err(failed)?;
        match buffer.get(..count) {
            None | Some([]) => break,
            Some(read) => context.update(read),
        }
    }
    Ok((format!("sha256:{}", hex::encode(context.finish())), text.to_owned()))
}

/// `sha256` or `sha384`.
pub(super) fn bank(text: &str) -> Result<PcrBank, String> {
    match text {
        "sha256" => Ok(PcrBank::Sha256),
        "sha384" => Ok(PcrBank::Sha384),
        _ => Err("a bank is sha256 or sha384".to_owned()),
    }
}

/// The phases that a system has gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phases(Vec<&'static str>);

/// `none`, or the last phase.
pub(super) fn phases(text: &str) -> Result<Phases, String> {
    if text == "none" {
        return Ok(Phases(Vec::new()));
    }
    let last = PHASES.iter().position(|phase| *phase == text);
    let phases = last.and_then(|last| PHASES.get(..=last));
    phases.map(|phases| Phases(phases.to_vec())).ok_or_else(|| format!("a phase is none, {}", PHASES.join(", ")))
}

pub(super) fn hash(bank: PcrBank) -> HashAlg {
    match bank {
        PcrBank::Sha256 => HashAlg::Sha256,
        PcrBank::Sha384 => HashAlg::Sha384,
    }
}

/// What a boot log leads to, of this bank, in all PCRs but IMA's that a boot log may explain; rows L1 to L6 have to
/// hold.
pub(super) fn of_boot_log(path: &Path, bytes: &[u8], bank: PcrBank) -> Result<ReferenceValues, Failure> {
    let wrong = |problem: String| {
        Failure::usage(format!(
            "{}: {}; `strongroom evidence explain` says more",
            path.display(),
            plain::line(&problem)
        ))
    };
    let log = BootLog::parse(bytes).map_err(|e| wrong(e.to_string()))?;
    let replay = Replay::of(&log).map_err(|e| wrong(e.to_string()))?;
    judge(&log, &replay, None).map_err(|e| wrong(e.to_string()))?;
    let algorithm = hash(bank);
    let found = replay.bank(algorithm);
    let touched = found.ok_or_else(|| wrong(format!("it has no {algorithm} digests: choose another --bank")))?;
    // What the log does not touch stays as a TPM starts it, and a quote says so.
    let started = (0..RESETTABLE).filter_map(|pcr| Some((pcr, replay.value(algorithm, pcr)?)));
    let mut values: Values = started.collect();
    values.extend(touched.iter().map(|(&pcr, value)| (pcr, value.clone())));
    let mut events = events::listed(&log, algorithm);
    events.retain(|event| event.pcr != IMA);
    Ok(ReferenceValues { events, ..ReferenceValues::of(bank, map(&values)) })
}

fn map(values: &Values) -> PcrMap {
    let values = values.iter().filter(|(pcr, _)| **pcr != IMA);
    PcrMap(values.map(|(&pcr, value)| (pcr, Bytes(value.clone()))).collect())
}

/// The files that an IMA log measured, each with a path; row L8 has to hold as far as the log alone goes.
pub(super) fn of_ima_log(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, String>, Failure> {
    let wrong = |problem: String| Failure::usage(format!("{}: {}", path.display(), plain::line(&problem)));
    let log = ImaLog::parse(bytes, 0).map_err(|e| wrong(e.to_string()))?;
    let pcr = log.replay(HashAlg::Sha256);
    let expect = ImaExpectation {
        bank: HashAlg::Sha256,
        pcr: &pcr,
        boot: BTreeMap::new(),
        verified: None,
        allow_violations: false,
    };
    verify(bytes, &expect).map(|measured| measured.files).map_err(|e| wrong(e.to_string()))
}

/// What PCR 11 will hold once this image has booted and gone through these phases.
pub(super) fn of_image(path: &Path, bytes: &[u8], bank: PcrBank, phases: &Phases) -> Result<ReferenceValues, Failure> {
    let image = Uki::parse(bytes).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    let algorithm = hash(bank);
    let Phases(phases) = phases;
    let pcrs = PcrMap(BTreeMap::from([(UKI, Bytes(image.pcr11(algorithm, phases)))]));
    let gone = phases.iter().map(|phase| ReferenceEvent {
        pcr: UKI,
        digest: Bytes(algorithm.digest(&[phase.as_bytes()])),
        hint: format!("phase {phase}"),
    });
    let events = image.events(algorithm).into_iter().chain(gone).collect();
    Ok(ReferenceValues { events, ..ReferenceValues::of(bank, pcrs) })
}

/// Values of a file: as they are printed here, or in hexadecimal; and in words what of the file was left out.
pub(super) fn of_file(path: &Path) -> Result<(ReferenceValues, Option<String>), Failure> {
    of_bytes(path, &read_capped(path, 4 * limits::BODY as u64)?)
}

/// The same of what was read of it. A pipe can be read once.
pub(super) fn of_bytes(path: &Path, bytes: &[u8]) -> Result<(ReferenceValues, Option<String>), Failure> {
    let ReferenceFile { values: found, snp, tdx, files, events } = ReferenceFile::parse(path, bytes)?;
    let strong = |bank: HashAlg| matches!(bank, HashAlg::Sha256 | HashAlg::Sha384);
    let none = Values::new();
    // A set of launch measurements needs no values of PCRs.
    let launch = found.is_empty().then_some((HashAlg::Sha256, &none));
    let (algorithm, values) = found
        .bank(strong)
        .or(launch)
        .ok_or_else(|| Failure::usage(format!("{}: no values of a SHA-256 or SHA-384 bank", path.display())))?;
    let name = path.display().to_string();
    let mut warnings = Vec::new();
    let others: Vec<_> = found.0.keys().filter(|&&bank| bank != algorithm).map(ToString::to_string).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        warnings.push(format!("{name}: a set is of one bank: taken are the values of {algorithm}, left out {others}"));
    }
    if values.contains_key(&IMA) {
        warnings.push(format!("{name}: PCR {IMA} changes with each program that is run: its value is left out"));
    }
    let bank = if algorithm == HashAlg::Sha384 { PcrBank::Sha384 } else { PcrBank::Sha256 };
    let mut values = ReferenceValues { snp, tdx, files, events, ..ReferenceValues::of(bank, map(values)) };
    warnings.extend(without_astray(&name, &mut values));
    Ok((values, (!warnings.is_empty()).then(|| warnings.join("\n"))))
}

/// Leaves out events that do not lead to the values beside them, which would explain differences by what was not
/// measured; says in words of which PCRs.
pub(super) fn without_astray(name: &str, values: &mut ReferenceValues) -> Option<String> {
    let bank = hash(values.bank);
    // Values or events of another length are of no bank: nothing leads there.
    let astray = events::astray(&values.events, bank, &values.pcrs);
    let stray = |event: &ReferenceEvent| !values.pcrs.0.contains_key(&event.pcr) || astray.contains(&event.pcr);
    let pcrs: BTreeSet<u8> = values.events.iter().filter(|event| stray(event)).map(|event| event.pcr).collect();
    values.events.retain(|event| !pcrs.contains(&event.pcr));
    let pcrs: Vec<_> = pcrs.iter().map(u8::to_string).collect();
    (!pcrs.is_empty()).then(|| {
        let pcrs = pcrs.join(", ");
        format!("{name}: the events of PCR {pcrs} do not lead to the value beside them: they are left out")
    })
}

/// Whether bytes are meant as values rather than as a log.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{'))
        || std::str::from_utf8(bytes).is_ok_and(|text| PcrValues::parse(text).is_ok())
}

/// Lists in a word for a table.
pub(super) fn lists(files: &FileLists) -> String {
    let counts = [
        ("accepted", files.accepted.as_ref().map_or(0, BTreeMap::len)),
        ("forbidden", files.forbidden.len()),
        ("required", files.required.len()),
    ];
    counted(counts)
}

/// What there is some of, in a word for a table: `1 snp, 2 tdx`.
pub(super) fn counted<const N: usize>(counts: [(&str, usize); N]) -> String {
    let shown: Vec<_> =
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcrs_are_chosen_as_people_write_them() {
        let list = |text: &str| text.parse::<PcrList>().map(|PcrList(pcrs)| pcrs.into_iter().collect::<Vec<_>>());
        assert_eq!(list("0-2,9, 4").unwrap(), [0, 1, 2, 4, 9]);
        assert_eq!(list("23").unwrap(), [23]);
        for wrong in ["", "24", "7-0", "0-", "-1", "a", "0,,1"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_digest_is_whole() {
        for (digest, right) in [("sha256:", 64), ("sha1:", 40), ("verity:sha256:", 64), ("sm3-256:", 64)] {
            assert!(digest_of(&format!("{digest}{}", "AB".repeat(right / 2))).is_ok(), "{digest}");
        }
        for wrong in ["sha256:abcd", "foo:00", ":00", "sha256:", &format!("sha256:{}", "ab".repeat(20))] {
            assert!(digest_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn phases_are_those_up_to_the_named_one() {
        assert_eq!(phases("leave-initrd").unwrap().0, ["enter-initrd", "leave-initrd"]);
        assert_eq!(phases("none").unwrap().0, [""; 0]);
        assert!(phases("later").is_err());
    }
}
