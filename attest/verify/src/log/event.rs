//! The crypto-agile event log (TCG PC Client Platform Firmware Profile 1.06, §10.2): row L1.

use super::{LogRefused, kind::EventType};
use crate::tpm::HashAlg;
use std::borrow::Cow;
use strongroom_protocol::limits;

/// Most events of a log. Logs of servers have 25 to 250.
pub const MAX_EVENTS: usize = 8192;

/// Most hash algorithms that a header may list.
const MAX_ALGORITHMS: usize = 8;

/// Largest digest of any hash algorithm, bytes.
const MAX_DIGEST: usize = 64;

/// Algorithms whose digests name what was measured where no quote says which bank counts: the first that the log has.
const NAMING: [HashAlg; 3] = [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];

/// What a crypto-agile log's first event begins with.
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";

/// A log that is laid out as the profile says. Nothing in it is believed yet.
#[derive(Debug, Clone)]
pub struct BootLog<'a> {
    algorithms: Vec<HashAlg>,
    naming: Option<HashAlg>,
    events: Vec<Event<'a>>,
    padded: bool,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    number: u32,
    pcr: u32,
    kind: EventType,
    digests: Vec<(HashAlg, &'a [u8])>,
    data: &'a [u8],
}

impl<'a> BootLog<'a> {
    /// Reads a log of at most [`limits::BOOT_LOG`] bytes: the header `Spec ID Event03`, then events with
    /// exactly one digest of each algorithm that the header lists. What stands after the last event may
    /// only be padding, all 0x00 or all 0xFF ([`Self::padded`]).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LogRefused> {
        Self::read(bytes, Registers::Pcrs)
    }

    /// The same of a log whose events name the registers of a confidential guest (CCEL): its header may be of another
    /// register than the first.
    pub(crate) fn parse_ccel(bytes: &'a [u8]) -> Result<Self, LogRefused> {
        Self::read(bytes, Registers::OfGuest)
    }

    fn read(bytes: &'a [u8], registers: Registers) -> Result<Self, LogRefused> {
        if bytes.len() > limits::BOOT_LOG {
            return Err(LogRefused::L1TooLong { limit: limits::BOOT_LOG, actual: bytes.len() });
        }
        let mut reader = Reader { rest: bytes, event: 0 };
        let table = header(&mut reader, registers)?;
        let mut events = Vec::new();
        let mut padded = false;
        while !reader.rest.is_empty() {
            if [0x00, 0xff].iter().any(|&byte| reader.rest.iter().all(|&b| b == byte)) {
                padded = true;
                break;
            }
            if events.len() == MAX_EVENTS {
                return Err(LogRefused::L1TooManyEvents { limit: MAX_EVENTS });
            }
            reader.event += 1;
            events.push(event(&mut reader, &table)?);
        }
        let algorithms: Vec<HashAlg> = table.iter().filter_map(|&(id, _)| HashAlg::from_id(id)).collect();
        let naming = NAMING.into_iter().find(|algorithm| algorithms.contains(algorithm));
        Ok(Self { algorithms, naming, events, padded })
    }

    /// The log as the PCRs of one bank vouch for it: with that bank's digests and no others. A quote of one bank says
    /// nothing of what a log has beside it in another, so nothing there may be compared with data, nor name anything.
    /// A log without this bank is given as it is; L7 refuses it.
    pub fn in_bank(&self, bank: HashAlg) -> Cow<'_, Self> {
        if self.algorithms == [bank] || !self.algorithms.contains(&bank) {
            return Cow::Borrowed(self);
        }
        let seen = |event: &Event<'a>| {
            let digests = event.digests.iter().copied().filter(|(id, _)| *id == bank).collect();
            Event { digests, ..*event }
        };
        Cow::Owned(Self {
            algorithms: vec![bank],
            naming: Some(bank),
            events: self.events.iter().map(seen).collect(),
            padded: self.padded,
        })
    }

    /// The header's hash algorithms as far as this crate knows them, in its order. Digests of others are
    /// skipped by the length that the header gives.
    pub fn algorithms(&self) -> &[HashAlg] {
        &self.algorithms
    }

    /// The events after the header, in order.
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// True when padding follows the last event.
    pub fn padded(&self) -> bool {
        self.padded
    }

    /// The algorithm by whose digests claims name what was measured: the bank that the log is seen in, else SHA-256
    /// before others; `None` where [`Self::check_banks`] refuses.
    pub(super) fn naming(&self) -> Option<HashAlg> {
        self.naming
    }

    /// The digest by which claims name what an event measured.
    pub(super) fn name_of(&self, event: &Event<'a>) -> Option<&'a [u8]> {
        event.digest(self.naming?)
    }

    /// Refuses a log whose only digests are of SHA-1, or of algorithms that this crate does not know: it can be
    /// replayed, and proves nothing.
    pub(super) fn check_banks(&self) -> Result<(), LogRefused> {
        self.naming().map(|_| ()).ok_or_else(|| LogRefused::L1NoBank { banks: self.algorithms.clone() })
    }
}

impl<'a> Event<'a> {
    /// Its place in the log, from 1; the header is not counted.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The PCR. Below 24, unless the event extends nothing.
    pub fn pcr(&self) -> u32 {
        self.pcr
    }

    /// What it says it is. Nothing authenticates that: see row L3.
    pub fn kind(&self) -> EventType {
        self.kind
    }

    /// What the PCR was extended with, by bank.
    pub fn digests(&self) -> &[(HashAlg, &'a [u8])] {
        &self.digests
    }

    /// What the bank of this algorithm was extended with.
    pub fn digest(&self, algorithm: HashAlg) -> Option<&'a [u8]> {
        self.digests.iter().find(|(id, _)| *id == algorithm).map(|&(_, digest)| digest)
    }

    /// The event's data as text: without the NUL that some firmware writes, and measures, behind it.
    pub(super) fn text(&self) -> &'a [u8] {
        self.data.strip_suffix(&[0]).unwrap_or(self.data)
    }

    /// The event's data. Authenticated only where the digests are of it ([`Self::digests_are_of`]).
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Whether every digest is the hash of these bytes; of an event of a log that is seen in one bank, that bank's
    /// ([`BootLog::in_bank`]).
    pub fn digests_are_of(&self, measured: &[u8]) -> bool {
        !self.digests.is_empty() && self.digests.iter().all(|(id, digest)| id.hash(&[measured]).as_ref() == *digest)
    }
}

/// What the events of a log extend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registers {
    Pcrs,
    OfGuest,
}

/// Reads the header; gives the table of algorithms: `TPM_ALG_ID` and digest length.
fn header(reader: &mut Reader<'_>, registers: Registers) -> Result<Vec<(u16, usize)>, LogRefused> {
    let malformed = |problem| LogRefused::L1Header { problem };
    let pcr = reader.u32("the header's pcrIndex")?;
    let kind = EventType(reader.u32("the header's eventType")?);
    let digest = reader.take("the header's digest", 20)?;
    let size = reader.u32("the header's eventDataSize")?;
    let data = reader.sized("the header's data", size)?;
    if data.get(..SPEC_ID.len()) != Some(SPEC_ID) {
        // A log of TPM 1.2 times begins at once with an event of a SHA-1 digest, or with an older header.
        return Err(if pcr < 24 {
            LogRefused::L1Sha1Format
        } else {
            malformed("it does not begin with Spec ID Event03")
        });
    }
    let misplaced = pcr != 0 && registers == Registers::Pcrs;
    if misplaced && kind == EventType::NO_ACTION {
        return Err(LogRefused::L1NotOfPcrs { index: pcr });
    }
    if misplaced || kind != EventType::NO_ACTION || digest.iter().any(|&byte| byte != 0) {
        return Err(malformed("the event that holds it is not an EV_NO_ACTION of PCR 0 with a digest of zeros"));
    }
    let mut fields = Reader { rest: data.get(SPEC_ID.len()..).unwrap_or_default(), event: 0 };
    fields.take("the header's platform class and version", 8)?;
    let count = fields.u32("the header's numberOfAlgorithms")?;
    if count == 0 || count as usize > MAX_ALGORITHMS {
        return Err(malformed("it lists no algorithm, or more than eight"));
    }
    let mut table: Vec<(u16, usize)> = Vec::new();
    for _ in 0..count {
        let id = fields.u16("an algorithm's id")?;
        let length = usize::from(fields.u16("an algorithm's digest size")?);
        if table.iter().any(|&(known, _)| known == id) {
            return Err(malformed("it lists an algorithm twice"));
        }
        let expected = HashAlg::from_id(id).map(HashAlg::digest_length);
        if length == 0 || length > MAX_DIGEST || expected.is_some_and(|expected| expected != length) {
            return Err(malformed("it gives an algorithm a digest size that is not its own"));
        }
        table.push((id, length));
    }
    let size = fields.take("vendorInfoSize", 1)?.first().copied().unwrap_or_default();
    fields.take("vendorInfo", usize::from(size))?;
    if fields.rest.is_empty() { Ok(table) } else { Err(malformed("bytes follow vendorInfo")) }
}

fn event<'a>(reader: &mut Reader<'a>, table: &[(u16, usize)]) -> Result<Event<'a>, LogRefused> {
    let number = reader.event;
    let pcr = reader.u32("pcrIndex")?;
    let kind = EventType(reader.u32("eventType")?);
    if pcr > 23 && kind != EventType::NO_ACTION {
        return Err(LogRefused::L1Pcr { event: number, pcr });
    }
    let count = reader.u32("digests.count")?;
    if count as usize != table.len() {
        let expected = table.iter().map(|&(id, _)| id).collect();
        return Err(LogRefused::L1Digests { event: number, expected, got: Vec::new(), count });
    }
    let mut ids = Vec::with_capacity(table.len());
    let mut digests = Vec::with_capacity(table.len());
    for _ in 0..count {
        let id = reader.u16("a digest's algorithm")?;
        let known = table.iter().find(|&&(known, _)| known == id);
        let Some(&(_, length)) = known.filter(|_| !ids.contains(&id)) else {
            ids.push(id);
            let expected = table.iter().map(|&(id, _)| id).collect();
            return Err(LogRefused::L1Digests { event: number, expected, got: ids, count });
        };
        ids.push(id);
        let digest = reader.take("a digest", length)?;
        digests.extend(HashAlg::from_id(id).map(|algorithm| (algorithm, digest)));
    }
    let size = reader.u32("eventSize")?;
    Ok(Event { number, pcr, kind, digests, data: reader.sized("the event's data", size)? })
}

/// Little-endian reading, which knows the event that it is in.
struct Reader<'a> {
    rest: &'a [u8],
    event: u32,
}

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], LogRefused> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(LogRefused::L1Truncated { event: self.event, field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn sized(&mut self, field: &'static str, length: u32) -> Result<&'a [u8], LogRefused> {
        self.take(field, usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, LogRefused> {
        let bytes = self.take(field, 2)?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u16::from(byte)))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, LogRefused> {
        let bytes = self.take(field, 4)?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }
}
