//! The kernel's `binary_runtime_measurements` (Linux, `security/integrity/ima/ima_fs.c`).
//!
//! ```text
//! u32 PCR | 20 bytes SHA-1 of the template's data | u32 length, template's name
//!         | u32 length, template's data            (template `ima`: 20 bytes digest | u32 length, name)
//! ```
//! All little-endian, or all big-endian. Linux 6.9 and newer show the same log with hashes of other banks too.

use super::{
    ImaRefused, MAX_ENTRIES, PCR,
    entry::{self, Entry, Form, Template},
};
use crate::tpm::HashAlg;

/// Longest name of a template.
const MAX_TEMPLATE: usize = 128;
/// By what the hash beside each entry may be made, the usual one first.
pub(super) const HASHES: [HashAlg; 4] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
/// What the first template pads names to.
const PADDED_NAME: usize = 256;

/// Reads entries; the first is number `first`.
pub(super) fn parse(bytes: &[u8], first: u64) -> Result<Vec<Entry>, ImaRefused> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let form = form(bytes, first)?;
    let mut entries = Vec::new();
    let mut rest = bytes;
    let mut number = first;
    while !rest.is_empty() {
        if entries.len() == MAX_ENTRIES {
            return Err(ImaRefused::L8TooManyEntries { limit: MAX_ENTRIES });
        }
        let (entry, next) = one(form, rest, number)?;
        rest = next;
        entries.push(Entry { end: bytes.len() - rest.len(), ..entry });
        number = number.saturating_add(1);
    }
    Ok(entries)
}

/// The form in which the first entry can be read: its hash proves it.
fn form(bytes: &[u8], first: u64) -> Result<Form, ImaRefused> {
    let big_endian = bytes.starts_with(&PCR.to_be_bytes());
    let forms = HASHES.map(|hash| Form { hash, big_endian });
    let mut read = forms.into_iter().map(|form| (form, one(form, bytes, first).map(|_| ())));
    let usual = read.next().map_or(Ok(Form { hash: HashAlg::Sha1, big_endian }), |(form, read)| read.map(|()| form));
    usual.or_else(|error| read.find(|(_, read)| read.is_ok()).map(|(form, _)| form).ok_or(error))
}

fn one(form: Form, bytes: &[u8], number: u64) -> Result<(Entry, &[u8]), ImaRefused> {
    let mut reader = Reader { rest: bytes, form, number };
    let pcr = reader.u32("the PCR")?;
    if pcr != PCR {
        return Err(ImaRefused::L8Pcr { entry: number, pcr });
    }
    let logged = reader.take("the template's hash", form.hash.digest_length())?;
    let name = reader.sized("the template's name", MAX_TEMPLATE)?;
    let template = std::str::from_utf8(name).ok().and_then(Template::of);
    let (data, (digest, path)) = match template {
        Some(Template::Fields(_)) => {
            let data = reader.sized("the template's data", usize::MAX)?;
            (data.to_vec(), entry::fields(form, number, data)?)
        }
        Some(Template::Ima) => {
            let digest = reader.take("the file's digest", 20)?;
            let name = reader.sized("the file's name", PADDED_NAME)?;
            (bare(digest, name), (entry::name_digest("sha1", digest), entry::path(number, name)?))
        }
        None => {
            let template = String::from_utf8_lossy(name).into_owned();
            return Err(ImaRefused::L8Template { entry: number, template });
        }
    };
    let violation = logged.iter().all(|&byte| byte == 0);
    if !violation && form.hash.hash(&[&data]).as_ref() != logged {
        return Err(ImaRefused::L8Hash { entry: number });
    }
    Ok((Entry { number, violation, data, digest, path, end: 0 }, reader.rest))
}

/// The data of the first template: a digest, and a name that zeros make 256 bytes long.
pub(super) fn bare(digest: &[u8], name: &[u8]) -> Vec<u8> {
    let mut data = [digest, name].concat();
    data.resize(data.len() + PADDED_NAME.saturating_sub(name.len()), 0);
    data
}

struct Reader<'a> {
    rest: &'a [u8],
    form: Form,
    number: u64,
}

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], ImaRefused> {
        let cut = ImaRefused::L8Truncated { entry: self.number, field };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, ImaRefused> {
        let bytes = self.take(field, 4)?.first_chunk::<4>().copied();
        Ok(self.form.number(bytes.unwrap_or_default()))
    }

    fn sized(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], ImaRefused> {
        let length = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        if length > limit {
            return Err(ImaRefused::L8Malformed { entry: self.number, problem: "has a field that is longer than any" });
        }
        self.take(field, length)
    }
}
