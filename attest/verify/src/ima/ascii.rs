//! The kernel's `ascii_runtime_measurements`: a line an entry, `PCR hash template digest path [signature]`.
//!
//! Text leaves open where a path ends. What the template's hash is of is put together again from each
//! possible reading, and the one that gives the hash is taken: the line proves its own reading.

use super::{
    ImaRefused, MAX_ENTRIES, PCR, binary,
    entry::{self, Entry, Template},
};
use crate::tpm::HashAlg;

/// Reads lines; the first is number `first`.
pub(super) fn parse(text: &[u8], first: u64) -> Result<Vec<Entry>, ImaRefused> {
    let mut entries = Vec::new();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut number = first;
    let mut end: usize = 0;
    for line in text.split(|&byte| byte == b'\n') {
        if entries.len() == MAX_ENTRIES {
            return Err(ImaRefused::L8TooManyEntries { limit: MAX_ENTRIES });
        }
        end = end.saturating_add(line.len() + 1);
        entries.push(Entry { end, ..one(line, number)? });
        number = number.saturating_add(1);
    }
    Ok(entries)
}

fn one(line: &[u8], number: u64) -> Result<Entry, ImaRefused> {
    let malformed = |problem| ImaRefused::L8Malformed { entry: number, problem };
    // The kernel right-aligns the PCR in two columns.
    let line = line.strip_prefix(b" ").unwrap_or(line);
    let mut words = line.splitn(5, |&byte| byte == b' ');
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok());
    let pcr: u32 = word().and_then(|word| word.parse().ok()).ok_or(malformed("does not begin with a PCR"))?;
    if pcr != PCR {
        return Err(ImaRefused::L8Pcr { entry: number, pcr });
    }
    let logged = word().and_then(unhex).filter(|hash| hash.len() == 20);
    let logged = logged.ok_or(malformed("has no SHA-1 hash of its template"))?;
    let name = word().unwrap_or_default();
    let template =
        Template::of(name).ok_or_else(|| ImaRefused::L8Template { entry: number, template: name.to_owned() })?;
    let digest = word().ok_or(malformed("has no digest"))?;
    let rest = words.next().ok_or(malformed("has no path"))?;
    let violation = logged.iter().all(|&byte| byte == 0);
    let (algorithm, value) = digest.rsplit_once(':').unwrap_or(("sha1", digest));
    let value = unhex(value).ok_or(malformed("has a digest that is not hexadecimal"))?;
    let readings = readings(template, name, algorithm, &value, rest);
    let found = readings.into_iter().find(|(data, _)| violation || HashAlg::Sha1.digest(&[data]) == logged);
    let (data, path) = found.ok_or(ImaRefused::L8Hash { entry: number })?;
    Ok(Entry {
        number,
        violation,
        data,
        digest: entry::name_digest(algorithm, &value),
        path: entry::path(number, path)?,
        end: 0,
    })
}

/// The template's data and the path, by each reading of the line's end.
fn readings<'a>(
    template: Template,
    name: &str,
    algorithm: &str,
    value: &[u8],
    rest: &'a [u8],
) -> Vec<(Vec<u8>, &'a [u8])> {
    if template == Template::Ima {
        return vec![(binary::bare(value, rest), rest)];
    }
    let digest = [algorithm.as_bytes(), b":\0", value].concat();
    let data = |path: &[u8], more: &[&[u8]]| {
        let ended = [path, b"\0"].concat();
        let fields = [&digest[..], &ended].into_iter().chain(more.iter().copied());
        fields
            .flat_map(|field| [&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes()[..], field].concat())
            .collect()
    };
    match name {
        "ima-ng" | "ima-ngv2" => vec![(data(rest, &[]), rest)],
        // The signature or buffer may be empty: then a space stands in its place.
        "ima-sig" | "ima-sigv2" | "ima-buf" => {
            let bare = rest.strip_suffix(b" ").unwrap_or(rest);
            let mut all: Vec<(Vec<u8>, &[u8])> = vec![(data(bare, &[b""]), bare), (data(rest, &[b""]), rest)];
            if let Some(space) = rest.iter().rposition(|&byte| byte == b' ') {
                let (path, last) = rest.split_at(space);
                let signature = last.get(1..).and_then(|last| std::str::from_utf8(last).ok()).and_then(unhex);
                all.extend(signature.map(|signature| (data(path, &[&signature]), path)));
            }
            all
        }
        // Templates of more fields are read from the binary log, which leaves nothing open.
        _ => Vec::new(),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    odd.is_empty().then_some(bytes).flatten()
}
