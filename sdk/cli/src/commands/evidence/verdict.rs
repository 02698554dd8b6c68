//! What `evidence verify` found, and how it is told.

use super::pcrs::PcrValues;
use crate::{
    output::{Answer, Failure},
    plain,
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use strongroom::protocol::{claims::Listed, requirements::Register};
use strongroom_attest::{Verdict, log::events::meaning, quote::Values, rows::Row, tpm::HashAlg};

/// What was found in evidence.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every row of its kind.
    pub rows: Vec<Row>,
    /// Why the bytes are not of the kind that was named: nothing was judged then.
    pub malformed: Option<String>,
    /// Rows whose refusal cannot be allowed: without them there is nothing left to believe.
    pub final_rows: Vec<&'static str>,
    /// Claims by kind of evidence, as policy names them: `tpm`, `boot`, `ima`, `workload`, `snp`, `tdx`, `azure`, `gpus`.
    pub claims: Map<String, Value>,
    /// Whether a signature vouches for them.
    pub vouched: BTreeMap<&'static str, bool>,
    /// PCRs that differ from the reference set; `None` where no set was given.
    pub differing: Option<Vec<u8>>,
    /// Banks of the reference set of which there are no values here.
    pub uncompared: Vec<HashAlg>,
    /// Launch measurements that are not among those of the reference set, by their registers' names.
    pub unlisted: Vec<&'static str>,
    /// How the files stand to the reference set's lists.
    pub listed: Option<Listed>,
    /// The values that a quote is of, by its own selection.
    pub quoted: Option<(HashAlg, Values)>,
    /// Further members of the JSON document, such as `pcrs`.
    pub members: Map<String, Value>,
    /// What a person reads under the rows.
    pub text: String,
}

impl Found {
    pub(super) fn malformed(why: String) -> Self {
        Self { malformed: Some(why), ..Self::default() }
    }

    /// Takes over what was found in a log beside a quote. That a log is no log refuses; the quote is one still.
    pub(super) fn take(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.final_rows.extend(other.final_rows);
        self.claims.extend(other.claims);
        self.vouched.extend(other.vouched);
        self.listed = self.listed.take().or(other.listed);
        self.members.extend(other.members);
        self.text.push_str(&other.text);
    }

    /// Of a log by itself: nothing that is signed vouches for it, whatever values were given.
    pub(super) fn unsigned(mut self) -> Self {
        self.vouched.values_mut().for_each(|vouched| *vouched = false);
        self
    }

    /// Rows of which nothing was given.
    pub(super) fn not_checked(&mut self, rows: &[(&'static str, &'static str)], why: &str) {
        let row = |&(row, title): &(&'static str, &'static str)| Row {
            row,
            title,
            verdict: Verdict::NotChecked,
            note: Some(why.to_owned()),
        };
        self.rows.extend(rows.iter().map(row));
    }

    /// Takes over what the same log shows in another bank: its refusal of `row`, and the PCRs that it does not explain.
    pub(super) fn take_bank(&mut self, row: &str, mut other: Self) {
        let refused = |of: &&mut Row| of.row == row && of.verdict == Verdict::Refused;
        if let Some(refusal) = other.rows.iter_mut().find(refused) {
            let held = |of: &&mut Row| of.row == row && of.verdict != Verdict::Refused;
            self.rows.iter_mut().filter(held).for_each(|of| *of = refusal.clone());
            self.vouched.values_mut().for_each(|vouched| *vouched = false);
        }
        let others = other.members.get_mut("unexplained").and_then(Value::as_array_mut);
        if let (Some(own), Some(others)) = (self.members.get_mut("unexplained").and_then(Value::as_array_mut), others) {
            others.retain(|pcr| !own.contains(pcr));
            own.append(others);
        }
    }

    /// Says at a row that values of a bank were given and compared with nothing.
    pub(super) fn not_compared(&mut self, row: &str, bank: HashAlg, why: &str) {
        for of in self.rows.iter_mut().filter(|of| of.row == row) {
            let note = of.note.take().map(|note| note + "; ").unwrap_or_default();
            of.note = Some(format!("{note}the values of {bank} that were given were not compared: {why}"));
        }
    }

    /// Leaves of what a log leads to only what is quoted: the rest is the log's own word.
    pub(super) fn only_quoted(&mut self) {
        let Some(banks) = self.members.get_mut("pcrs").and_then(Value::as_object_mut) else { return };
        let quoted = self.quoted.as_ref();
        banks.retain(|bank, _| quoted.is_some_and(|(of, _)| of.as_str() == bank));
        for pcrs in banks.values_mut().filter_map(Value::as_object_mut) {
            let of =
                |pcr: &str| pcr.parse().ok().zip(quoted).is_some_and(|(pcr, (_, values))| values.contains_key(&pcr));
            pcrs.retain(|pcr, _| of(pcr));
        }
    }

    /// Takes IMA's PCR from those that no log explains.
    pub(super) fn explained_by_ima(&mut self) {
        if let Some(pcrs) = self.members.get_mut("unexplained").and_then(Value::as_array_mut) {
            pcrs.retain(|pcr| *pcr != json!(10));
        }
    }

    /// The PCRs that no log explains, in words.
    pub(super) fn unexplained(&self) -> String {
        let mut text = String::new();
        let pcrs = self.members.get("unexplained").and_then(Value::as_array);
        for pcr in pcrs.into_iter().flatten().filter_map(Value::as_u64).filter_map(|pcr| u8::try_from(pcr).ok()) {
            let _ = writeln!(text, "no log here explains PCR {pcr}: {}", meaning(pcr));
        }
        text
    }

    /// Holds values against those of a reference set, in each bank that both have.
    pub(super) fn compare(
        &mut self,
        reference: &PcrValues,
        value: impl Fn(HashAlg, u8) -> Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        let known = |bank: HashAlg, of: &Values| of.keys().any(|&pcr| value(bank, pcr).is_some());
        let (mut compared, uncompared): (Vec<_>, Vec<_>) =
            reference.0.iter().map(|(&bank, of)| (bank, of)).partition(|(bank, of)| known(*bank, of));
        self.uncompared = uncompared.iter().map(|(bank, _)| *bank).collect();
        if compared.is_empty() {
            compared.extend(reference.bank(|_| true));
        }
        if compared.is_empty() {
            return Err(Failure::usage("--reference holds no values"));
        }
        let values = compared.into_iter().flat_map(|(bank, of)| of.iter().map(move |(pcr, of)| (bank, *pcr, of)));
        let differing = values.filter(|&(bank, pcr, expected)| value(bank, pcr).as_ref() != Some(expected));
        let differing: BTreeSet<u8> = differing.map(|(_, pcr, _)| pcr).collect();
        self.differing = Some(differing.into_iter().collect());
        Ok(())
    }

    /// Holds a launch measurement against those of a reference set.
    pub(super) fn compare_launch(
        &mut self,
        name: &'static str,
        accepted: &BTreeSet<Register>,
        measured: Option<Register>,
    ) -> Result<(), Failure> {
        if accepted.is_empty() {
            return Err(Failure::usage(format!(
                "--reference holds no {name} that this evidence could be held against"
            )));
        }
        self.differing.get_or_insert_default();
        if !measured.is_some_and(|measured| accepted.contains(&measured)) {
            self.unlisted.push(name);
        }
        Ok(())
    }

    /// The answer: every row with its verdict, claims, and whether all that was checked holds.
    pub(super) fn answer(self, kind: &str, files: &[String], allow: &[String]) -> Result<Answer, Failure> {
        let names = files.join(" ");
        let unexplained = self.unexplained();
        if let Some(why) = self.malformed {
            return Err(Failure::usage(format!("{names}: malformed: {}", plain::line(&why))));
        }
        let allowed = |row: &Row| {
            row.verdict == Verdict::Refused
                && allow.iter().any(|allowed| allowed == row.row)
                && !self.final_rows.contains(&row.row)
        };
        let refusing: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.verdict == Verdict::Refused && !allowed(row))
            .map(|row| row.row)
            .collect();
        let (reference, against) = reference(self.differing.as_deref(), &self.unlisted, self.listed.as_ref());
        let matches = reference.as_ref().is_none_or(|reference| reference["matches"] == json!(true));
        let holds = refusing.is_empty() && matches;
        let mut document = Map::new();
        document.insert("kind".into(), json!(kind));
        document.insert("files".into(), json!(files));
        document.insert("holds".into(), json!(holds));
        document.insert("refused".into(), json!(refusing));
        let mut text = String::new();
        let mut rows = Vec::new();
        for row in &self.rows {
            let allowed = allowed(row);
            let Row { row: id, title, verdict, note } = row;
            let shown = if allowed { "allowed".to_owned() } else { verdict.to_string() };
            let _ = writeln!(text, "{id}  {shown:<11}  {title}");
            if let Some(note) = note {
                let _ = writeln!(text, "                 {}", plain::line(note));
            }
            let mut value = json!(row);
            if let (true, Some(fields)) = (allowed, value.as_object_mut()) {
                fields.insert("allowed".into(), json!(true));
            }
            rows.push(value);
        }
        document.insert("rows".into(), json!(rows));
        document.insert("allowed".into(), json!(allow));
        document.insert("claims".into(), Value::Object(self.claims));
        document.insert("vouched".into(), json!(self.vouched));
        document.extend(reference.map(|reference| ("reference".to_owned(), reference)));
        document.extend(self.members);
        text.push_str(&self.text);
        text.push_str(&unexplained);
        text.push_str(&against);
        for bank in &self.uncompared {
            let _ = writeln!(text, "the reference set's values of {bank} were not compared: there are none here");
        }
        let unchecked: Vec<&str> =
            self.rows.iter().filter(|row| row.verdict == Verdict::NotChecked).map(|row| row.row).collect();
        let verdict = match (holds, refusing.is_empty(), unchecked.is_empty()) {
            (true, _, true) => "holds".to_owned(),
            (true, _, false) => {
                let nothing = !self.vouched.is_empty() && !self.vouched.values().any(|vouched| *vouched);
                let trusted = if nothing { "; nothing here vouches for it, so believe none of its claims" } else { "" };
                format!("what was checked holds; not checked: {}{trusted}", unchecked.join(", "))
            }
            (false, false, _) => format!("refused by {}", refusing.join(", ")),
            (false, true, _) => "refused: it is not as the reference set".to_owned(),
        };
        let _ = writeln!(text, "{}: {verdict}", plain::line(&names));
        let mut answer = Answer::new(&document, text)?;
        answer.holds = holds;
        Ok(answer)
    }
}

/// How evidence stands to a reference set: for programs, and for people.
fn reference(differing: Option<&[u8]>, unlisted: &[&'static str], listed: Option<&Listed>) -> (Option<Value>, String) {
    let Some(differing) = differing else { return (None, String::new()) };
    let mut text = String::new();
    for &pcr in differing {
        let _ = writeln!(text, "PCR {pcr} differs from the reference set: {}", meaning(pcr));
    }
    for name in unlisted {
        let _ = writeln!(text, "{name} is not among those of the reference set");
    }
    let mut files = true;
    if let Some(Listed { unlisted, forbidden, missing, examples }) = listed {
        files = *unlisted == 0 && *forbidden == 0 && missing.is_empty();
        for (count, what) in
            [(*forbidden, "forbidden by the reference set"), (*unlisted, "not among its accepted ones")]
        {
            if count > 0 {
                let _ = writeln!(text, "files that were measured and are {what}: {count}");
            }
        }
        for file in examples {
            let why = if file.forbidden { "forbidden" } else { "not accepted" };
            let _ = writeln!(text, "  {why}: {} {}", plain::line(&file.digest), plain::line(&file.path));
        }
        for digest in missing {
            let _ = writeln!(text, "required by the reference set and not measured: {}", plain::line(digest));
        }
    }
    let matches = differing.is_empty() && unlisted.is_empty() && files;
    let mut document = json!({ "matches": matches, "differing": differing, "files": listed });
    if let (false, Some(members)) = (unlisted.is_empty(), document.as_object_mut()) {
        members.insert("unlisted".to_owned(), json!(unlisted));
    }
    (Some(document), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verdict: Verdict, unexplained: &[u8]) -> Found {
        let row = Row { row: "L7", title: "", verdict, note: Some("said".to_owned()) };
        let members = Map::from_iter([("unexplained".to_owned(), json!(unexplained))]);
        Found { rows: vec![row], members, vouched: BTreeMap::from([("boot", true)]), ..Found::default() }
    }

    #[test]
    fn another_banks_refusal_is_the_logs() {
        for (first, second, row, vouched) in [
            (Verdict::Passed, Verdict::Passed, Verdict::Passed, true),
            (Verdict::Passed, Verdict::Refused, Verdict::Refused, false),
            (Verdict::Refused, Verdict::Passed, Verdict::Refused, true),
        ] {
            let mut both = found(first, &[1, 2]);
            both.take_bank("L7", found(second, &[2, 3]));
            assert_eq!((both.rows[0].verdict, both.vouched["boot"]), (row, vouched));
            assert_eq!(both.members["unexplained"], json!([1, 2, 3]));
        }
    }

    #[test]
    fn what_was_not_compared_is_said_at_its_row() {
        let mut one = found(Verdict::Passed, &[]);
        one.not_compared("L7", HashAlg::Sha384, "why");
        let expected = "said; the values of sha384 that were given were not compared: why";
        assert_eq!(one.rows[0].note.as_deref(), Some(expected));
    }

    #[test]
    fn beside_a_quote_a_log_leads_to_what_is_quoted_alone() {
        let quoted = Some((HashAlg::Sha256, BTreeMap::from([(0, vec![1])])));
        for (quoted, expected) in [(quoted, json!({ "sha256": { "0": "01" } })), (None, json!({}))] {
            let mut one = Found { quoted, ..Found::default() };
            let pcrs = json!({ "sha256": { "0": "01", "8": "02" }, "sha384": { "0": "03" } });
            one.members.insert("pcrs".to_owned(), pcrs);
            one.only_quoted();
            assert_eq!(one.members["pcrs"], expected);
        }
    }
}
