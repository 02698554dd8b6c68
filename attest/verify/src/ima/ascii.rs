//! The kernel's `ascii_runtime_measurements`: a line an entry, `PCR hash template digest path [signature]`.
//!
//! Text leaves open where a path ends, if an old kernel left spaces in it, and in which order of bytes numbers
//! were hashed. What the template's hash is of is put together again from each possible reading, and the one that
//! gives the hash is taken: the line proves its own reading.

use super::{
    ImaRefused, MAX_ENTRIES, PCR,
    binary::{self, HASHES},
    entry::{self, Entry, Form, Kind, Template},
};

/// Reads lines; the first is number `first`. Whoever sent the part before may have left away its last newline: then
/// this one begins with it.
pub(super) fn parse(text: &[u8], first: u64) -> Result<Vec<Entry>, ImaRefused> {
    let mut entries = Vec::new();
    let sent = text.len();
    let (text, mut end) = match text.strip_prefix(b"\n") {
        Some(rest) if first > 1 => (rest, 1_usize),
        _ => (text, 0),
    };
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut number = first;
    for line in text.split(|&byte| byte == b'\n') {
        if entries.len() == MAX_ENTRIES {
            return Err(ImaRefused::L8TooManyEntries { limit: MAX_ENTRIES });
        }
        end = end.saturating_add(line.len() + 1).min(sent);
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
    let logged = word().and_then(unhex).ok_or(malformed("has no hash of its template"))?;
    let hash = HASHES.into_iter().find(|hash| hash.digest_length() == logged.len());
    let hash = hash.ok_or(malformed("has no hash of its template"))?;
    let name = word().unwrap_or_default();
    let template =
        Template::of(name).ok_or_else(|| ImaRefused::L8Template { entry: number, template: name.to_owned() })?;
    let digest = word().ok_or(malformed("has no digest"))?;
    let rest = words.next().ok_or(malformed("has no path"))?;
    let violation = logged.iter().all(|&byte| byte == 0);
    let (algorithm, value) = digest.rsplit_once(':').unwrap_or(("sha1", digest));
    let value = unhex(value).ok_or(malformed("has a digest that is not hexadecimal"))?;
    let mut readings = [false, true].into_iter().flat_map(|big_endian| {
        let line = Line { form: Form { hash, big_endian }, template, algorithm, value: &value, rest };
        line.readings()
    });
    let found = readings.find(|(data, _)| violation || hash.hash(&[data]).as_ref() == logged);
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

/// A line whose end is to be read.
#[derive(Clone, Copy)]
struct Line<'a, 't> {
    form: Form,
    template: Template<'t>,
    algorithm: &'t str,
    value: &'t [u8],
    rest: &'a [u8],
}

impl<'a> Line<'a, '_> {
    /// The template's data and the path, by each reading of the line's end.
    fn readings(self) -> impl Iterator<Item = (Vec<u8>, &'a [u8])> {
        [Self::as_written, Self::with_spaces, Self::cut].into_iter().filter_map(move |reading| reading(&self))
    }

    /// As kernels write: each field after a space, and no space in any.
    fn as_written(&self) -> Option<(Vec<u8>, &'a [u8])> {
        match self.template {
            Template::Ima => Some((binary::bare(self.value, self.rest), self.rest)),
            Template::Fields(_) => self.data(self.rest.split(|&byte| byte == b' ')),
        }
    }

    /// Old kernels leave spaces in paths: then the path is all that is not another field.
    fn with_spaces(&self) -> Option<(Vec<u8>, &'a [u8])> {
        let others = self.fields().count().checked_sub(1)?;
        let mut words: Vec<&[u8]> = self.rest.rsplitn(others + 1, |&byte| byte == b' ').collect();
        words.reverse();
        self.data(words.into_iter())
    }

    /// And somebody may have cut the spaces off that stand for empty fields.
    fn cut(&self) -> Option<(Vec<u8>, &'a [u8])> {
        self.data([self.rest].into_iter())
    }

    /// The fields after the digest.
    fn fields(&self) -> impl Iterator<Item = Kind> {
        let format = match self.template {
            Template::Ima => "",
            Template::Fields(format) => format,
        };
        format.split('|').skip(1).filter_map(Kind::of)
    }

    /// The data by these words, one a field; fields without a word are empty.
    fn data(&self, mut words: impl Iterator<Item = &'a [u8]>) -> Option<(Vec<u8>, &'a [u8])> {
        let mut data = Vec::with_capacity(self.rest.len() + self.value.len() + 64);
        self.form.push(&mut data, &[self.algorithm.as_bytes(), b":\0", self.value]);
        let mut path = None;
        for kind in self.fields() {
            let word = words.next().unwrap_or_default();
            path = path.or(Some(word));
            self.push(&mut data, kind, word)?;
        }
        path.filter(|_| words.next().is_none()).map(|path| (data, path))
    }

    fn push(&self, data: &mut Vec<u8>, kind: Kind, word: &[u8]) -> Option<()> {
        let text = || std::str::from_utf8(word).ok();
        let big_endian = self.form.big_endian;
        match kind {
            _ if word.is_empty() => self.form.push(data, &[]),
            Kind::Text => self.form.push(data, &[word, b"\0"]),
            Kind::Bytes => self.form.push(data, &[&unhex(text()?)?]),
            Kind::Digest => {
                let (algorithm, value) = text()?.rsplit_once(':')?;
                self.form.push(data, &[algorithm.as_bytes(), b":\0", &unhex(value)?]);
            }
            Kind::Number32 => {
                let number: u32 = text()?.parse().ok()?;
                self.form.push(data, &[&if big_endian { number.to_be_bytes() } else { number.to_le_bytes() }]);
            }
            Kind::Number16 => {
                let number: u16 = text()?.parse().ok()?;
                self.form.push(data, &[&if big_endian { number.to_be_bytes() } else { number.to_le_bytes() }]);
            }
        }
        Some(())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    // Without a branch for each digit: a log has millions.
    let digit = |byte: u8| {
        let (number, letter) = (byte.wrapping_sub(b'0'), (byte | 0x20).wrapping_sub(b'a'));
        let letter = if letter < 6 { letter + 10 } else { u8::MAX };
        if number < 10 { number } else { letter }
    };
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let mut wrong = 0;
    let bytes = pairs.iter().map(|&[high, low]| {
        let (high, low) = (digit(high), digit(low));
        wrong |= (high | low) & 0xf0;
        high << 4 | low & 0x0f
    });
    let bytes: Vec<u8> = bytes.collect();
    (odd.is_empty() && wrong == 0).then_some(bytes)
}
