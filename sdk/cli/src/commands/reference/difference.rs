//! Where two sets, nodes or boots differ.

use super::{side::Side, values};
use crate::{
    context::Context,
    output::{Answer, Failure},
    plain,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use strongroom::protocol::{
    admin::{FileLists, ReferenceEvent, ReferenceValues},
    bytes::Bytes,
    evidence::PcrBank,
    requirements::Register,
};
use strongroom_attest::log::events::{Change, Place, difference, meaning};

/// Most lines of one kind that are shown to people; the JSON document has all.
const SHOWN: usize = 20;

/// A PCR in which the two differ.
#[derive(Debug, Serialize)]
pub(crate) struct DifferingPcr {
    /// The PCR.
    pub(crate) pcr: u8,
    /// What it holds, in words.
    holds: &'static str,
    /// What differs, as the log's own words let one think.
    what: String,
    /// The first's value; null where it has none.
    first: Option<Bytes>,
    /// The second's.
    second: Option<Bytes>,
    /// Whether the first's events of this PCR are known, and lead to its value.
    first_events: bool,
    /// Whether the second's are.
    second_events: bool,
    /// Events that differ; empty where the events of one are not known.
    changes: Vec<Change>,
}

/// Files that stand in one list only.
#[derive(Debug, Serialize)]
struct DifferingFiles {
    list: &'static str,
    only_first: BTreeMap<String, String>,
    only_second: BTreeMap<String, String>,
    /// One accepts any file.
    any: Option<&'static str>,
}

/// Launch measurements that one side accepts and the other does not.
#[derive(Debug, Serialize)]
struct DifferingLaunch {
    /// `snp` or `tdx`.
    of: &'static str,
    only_first: BTreeSet<Register>,
    only_second: BTreeSet<Register>,
}

/// `strongroom reference diff`.
pub(super) fn answer(context: &Context, first: &str, second: &str) -> Result<Answer, Failure> {
    let (first, second) = (Side::read(context, first)?, Side::read(context, second)?);
    let bank = first.bank().or(second.bank()).unwrap_or(PcrBank::Sha256);
    let logs = (first.is_log(), second.is_log());
    let warnings = [first.warning(), second.warning()];
    let ((a, mut first), (b, mut second)) = (first.values(bank)?, second.values(bank)?);
    // A log says of each PCR what it would hold: it is asked for those that the other side has.
    match logs {
        (true, false) => first.pcrs.0.retain(|pcr, _| second.pcrs.0.contains_key(pcr)),
        (false, true) => second.pcrs.0.retain(|pcr, _| first.pcrs.0.contains_key(pcr)),
        _ => {}
    }
    // Of sets without values of PCRs the bank says nothing.
    if first.bank != second.bank && !first.pcrs.0.is_empty() && !second.pcrs.0.is_empty() {
        return Err(Failure::usage(format!("{a} and {b} are of different banks: nothing in them can be compared")));
    }
    let pcrs = pcrs(&first, &second);
    // Of files it says nothing.
    let files = if logs == (false, false) { files(&first.files, &second.files) } else { Vec::new() };
    let launch = if logs == (false, false) { measurements(&first, &second) } else { Vec::new() };
    let same = pcrs.is_empty() && launch.is_empty() && files.is_empty();
    let mut text = String::new();
    for pcr in &pcrs {
        text.push_str(&pcr.text(&a, &b));
    }
    for differing in &launch {
        differing.tell(&mut text, &a, &b);
    }
    for list in &files {
        list.tell(&mut text, &a, &b);
    }
    if same {
        let _ = writeln!(text, "{} and {} are the same", plain::line(&a), plain::line(&b));
    } else if pcrs.iter().any(|pcr| !pcr.changes.is_empty()) {
        text.push_str("What stands after `said:` is the log's own word: no digest is of it.\n");
    }
    let mut document = serde_json::json!({ "first": a, "second": b, "same": same, "pcrs": pcrs, "files": files });
    if let (false, Some(members)) = (launch.is_empty(), document.as_object_mut()) {
        members.insert("launch".to_owned(), serde_json::json!(launch));
    }
    let mut answer = Answer::new(&document, text)?;
    answer.holds = same;
    Ok(warnings.into_iter().fold(answer, Answer::warn))
}

/// The PCRs in which two sets of values differ, with the events that may tell why.
pub(crate) fn pcrs(first: &ReferenceValues, second: &ReferenceValues) -> Vec<DifferingPcr> {
    let all: BTreeSet<u8> = first.pcrs.0.keys().chain(second.pcrs.0.keys()).copied().collect();
    // Events that do not lead to the values explain nothing.
    let leading = |of: &ReferenceValues| {
        let mut of = of.clone();
        values::without_astray("", &mut of);
        of.events
    };
    let (of_first, of_second) = (leading(first), leading(second));
    let has = |events: &[ReferenceEvent], pcr| events.iter().any(|event| event.pcr == pcr);
    let events = difference(&of_first, &of_second);
    all.into_iter()
        .map(|pcr| (pcr, first.pcrs.0.get(&pcr).cloned(), second.pcrs.0.get(&pcr).cloned()))
        .filter(|(_, first, second)| first != second)
        .map(|(pcr, a, b)| {
            // Without events of one side, all of the other's would seem to differ.
            let (first_events, second_events) = (has(&of_first, pcr), has(&of_second, pcr));
            let known = first_events && second_events;
            let found = events.iter().find(|difference| difference.pcr == pcr).filter(|_| known);
            let changes = found.map(|found| found.changes.clone()).unwrap_or_default();
            DifferingPcr {
                pcr,
                holds: meaning(pcr),
                what: what(pcr, &changes),
                first: a,
                second: b,
                first_events,
                second_events,
                changes,
            }
        })
        .collect()
}

/// What differs in a PCR: what the hints of its events name, else all that it may hold.
fn what(pcr: u8, changes: &[Change]) -> String {
    const NAMES: [(&str, &str); 8] = [
        ("LoadOptions", "kernel command line"),
        ("kernel_cmdline", "kernel command line"),
        ("grub_cmd", "commands of GRUB"),
        ("nitrd", "initrd"),
        (".cmdline", "kernel command line of the image"),
        (".linux", "kernel of the image"),
        ("phase ", "how far the system had come up"),
        ("SecureBoot", "state of Secure Boot"),
    ];
    let hints = || changes.iter().flat_map(|change| [&change.first, &change.second]).flatten().map(|place| &place.hint);
    let mut named: Vec<&str> = Vec::new();
    for (word, name) in NAMES {
        if hints().any(|hint| hint.contains(word)) && !named.contains(&name) {
            named.push(name);
        }
    }
    if named.is_empty() { meaning(pcr).to_owned() } else { named.join(", ") }
}

impl DifferingPcr {
    /// For people.
    pub(crate) fn text(&self, a: &str, b: &str) -> String {
        let (a, b) = (plain::line(a), plain::line(b));
        let mut text = format!("PCR {} differs: {}\n", self.pcr, self.what);
        if self.what != self.holds {
            let _ = writeln!(text, "  it holds: {}", self.holds);
        }
        let mut side = |name: &str, value: &Option<Bytes>| {
            let value = value.as_ref().map_or_else(|| "no value".to_owned(), |value| hex::encode(&value.0));
            let _ = writeln!(text, "  {name}: {value}");
        };
        side(&a, &self.first);
        side(&b, &self.second);
        let values = self.first.is_some() && self.second.is_some();
        for (name, known) in [(&a, self.first_events), (&b, self.second_events)] {
            if values && !known {
                let _ = writeln!(
                    text,
                    "  which event differs is not known: {name} has no boot log's events of it that lead to its value"
                );
            }
        }
        if values && self.first_events && self.second_events && self.changes.is_empty() {
            text.push_str("  the events are the same: something extended it that no log shows\n");
        }
        for change in self.changes.iter().take(SHOWN) {
            for (name, place) in [(&a, &change.first), (&b, &change.second)] {
                text.push_str(&event(name, place.as_ref()));
            }
        }
        more(&mut text, self.changes.len());
        text
    }
}

fn event(name: &str, place: Option<&Place>) -> String {
    match place {
        Some(place) => format!(
            "    {name}: event {} said: {} ({})\n",
            place.position,
            plain::line(&place.hint),
            hex::encode(&place.digest.0)
        ),
        None => format!("    {name}: no such event\n"),
    }
}

fn more(text: &mut String, count: usize) {
    if count > SHOWN {
        let _ = writeln!(text, "    and {} more: --json shows all", count - SHOWN);
    }
}

/// The launch measurements in which two sets differ.
fn measurements(first: &ReferenceValues, second: &ReferenceValues) -> Vec<DifferingLaunch> {
    let of = |of, first: &BTreeSet<Register>, second: &BTreeSet<Register>| DifferingLaunch {
        of,
        only_first: first - second,
        only_second: second - first,
    };
    let all =
        [of("snp", &first.snp.measurements, &second.snp.measurements), of("tdx", &first.tdx.mrtds, &second.tdx.mrtds)];
    all.into_iter().filter(|found| !found.only_first.is_empty() || !found.only_second.is_empty()).collect()
}

impl DifferingLaunch {
    fn tell(&self, text: &mut String, a: &str, b: &str) {
        let what = if self.of == "snp" { "launch measurement of SEV-SNP" } else { "MRTD of TDX" };
        for (name, only) in [(a, &self.only_first), (b, &self.only_second)] {
            for measurement in only.iter().take(SHOWN) {
                let _ = writeln!(text, "{what} of {} only: {}", plain::line(name), String::from(*measurement));
            }
            more(text, only.len());
        }
    }
}

fn files(first: &FileLists, second: &FileLists) -> Vec<DifferingFiles> {
    let empty = BTreeMap::new();
    let accepted = |lists: &FileLists| lists.accepted.clone().unwrap_or_default();
    let (a, b) = (accepted(first), accepted(second));
    let any = match (&first.accepted, &second.accepted) {
        (None, Some(_)) => Some("first"),
        (Some(_), None) => Some("second"),
        _ => None,
    };
    let (a, b) = if any.is_some() { (&empty, &empty) } else { (&a, &b) };
    let only = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
        let missing = these.iter().filter(|(digest, _)| !those.contains_key(*digest));
        missing.map(|(digest, note)| (digest.clone(), note.clone())).collect()
    };
    let of = |list, a, b, any| DifferingFiles { list, only_first: only(a, b), only_second: only(b, a), any };
    let lists = [
        of("accepted", a, b, any),
        of("forbidden", &first.forbidden, &second.forbidden, None),
        of("required", &first.required, &second.required, None),
    ];
    let differs =
        |list: &DifferingFiles| list.any.is_some() || !list.only_first.is_empty() || !list.only_second.is_empty();
    lists.into_iter().filter(differs).collect()
}

impl DifferingFiles {
    fn tell(&self, text: &mut String, a: &str, b: &str) {
        let (a, b) = (plain::line(a), plain::line(b));
        if let Some(side) = self.any {
            let (any, other) = if side == "first" { (&a, &b) } else { (&b, &a) };
            let _ = writeln!(text, "{any} accepts any file, {other} those of a list");
        }
        for (name, only) in [(&a, &self.only_first), (&b, &self.only_second)] {
            if only.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{} files are {} by {name} only", only.len(), self.list);
            for (digest, note) in only.iter().take(SHOWN) {
                let _ = writeln!(text, "    {} said: {}", plain::line(digest), plain::line(note));
            }
            more(text, only.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom::protocol::evidence::PcrMap;

    fn values(pcr: u8, events: &[(u8, &str)]) -> ReferenceValues {
        let events = events.iter().map(|&(digest, hint)| ReferenceEvent {
            pcr,
            digest: Bytes(vec![digest; 32]),
            hint: hint.to_owned(),
        });
        let events: Vec<_> = events.collect();
        let value = events.iter().fold(vec![0; 32], |value: Vec<u8>, event| {
            strongroom::protocol::sha256(&[&value[..], &event.digest.0].concat()).to_vec()
        });
        let pcrs = PcrMap(BTreeMap::from([(pcr, Bytes(value))]));
        ReferenceValues { events, ..ReferenceValues::of(PcrBank::Sha256, pcrs) }
    }

    #[test]
    fn a_difference_is_named_by_its_events() {
        let first = values(9, &[(1, "EV_EVENT_TAG LOADED_IMAGE::LoadOptions"), (2, "EV_EVENT_TAG Linux initrd")]);
        let second = values(9, &[(3, "EV_EVENT_TAG LOADED_IMAGE::LoadOptions"), (2, "EV_EVENT_TAG Linux initrd")]);
        assert!(pcrs(&first, &first).is_empty());
        let found = pcrs(&first, &second);
        let text = found[0].text("a", "b");
        assert!(text.starts_with("PCR 9 differs: kernel command line\n"), "{text}");
        assert_eq!(found[0].changes.len(), 1);
        assert!(text.contains("a: event 1 said: EV_EVENT_TAG LOADED_IMAGE::LoadOptions (0101"), "{text}");
        // Without events of one side nothing is guessed.
        let bare = ReferenceValues { events: Vec::new(), ..second.clone() };
        let found = pcrs(&first, &bare);
        assert!(found[0].changes.is_empty() && found[0].text("a", "b").contains("not known"));
        // Nor from events that do not lead to the value.
        let mut lying = second.clone();
        lying.events[0].hint = "EV_IPL a harmless name".to_owned();
        lying.events[0].digest.0[0] ^= 1;
        let text = pcrs(&first, &lying)[0].text("a", "b");
        assert!(text.contains("b has no boot log's events of it that lead to its value"), "{text}");
        assert!(!text.contains("harmless"), "{text}");
        // A PCR that one side has not.
        let other = values(4, &[(1, "x")]);
        assert_eq!(pcrs(&first, &other).iter().map(|found| found.pcr).collect::<Vec<_>>(), [4, 9]);
    }

    #[test]
    fn launch_measurements_differ_by_their_values() {
        let set = |snp: &[u8], tdx: &[u8]| {
            let registers = |of: &[u8]| of.iter().map(|&byte| Register([byte; 48])).collect();
            let mut values = ReferenceValues::of(PcrBank::Sha256, PcrMap::default());
            (values.snp.measurements, values.tdx.mrtds) = (registers(snp), registers(tdx));
            values
        };
        assert!(measurements(&set(&[1, 2], &[3]), &set(&[2, 1], &[3])).is_empty());
        let found = measurements(&set(&[1, 2], &[]), &set(&[2, 4], &[3]));
        assert_eq!(found.iter().map(|found| found.of).collect::<Vec<_>>(), ["snp", "tdx"]);
        let mut text = String::new();
        found[0].tell(&mut text, "a", "b");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("launch measurement of SEV-SNP of a only: {}", "01".repeat(48)));
        assert_eq!(lines[1], format!("launch measurement of SEV-SNP of b only: {}", "04".repeat(48)));
    }

    #[test]
    fn lists_differ_by_digest() {
        let list = |digests: &[&str]| digests.iter().map(|digest| ((*digest).to_owned(), String::new())).collect();
        let lists = |digests: &[&str]| FileLists { accepted: Some(list(digests)), ..FileLists::default() };
        assert!(files(&lists(&["a"]), &lists(&["a"])).is_empty());
        let found = files(&lists(&["a", "b"]), &lists(&["a", "c"]));
        assert_eq!(found[0].only_first.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(found[0].only_second.keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!(files(&FileLists::default(), &lists(&["a"]))[0].any, Some("first"));
        let forbidden = FileLists { forbidden: list(&["x"]), ..FileLists::default() };
        assert_eq!(files(&forbidden, &FileLists::default())[0].list, "forbidden");
    }
}
