//! G1: what the driver calls an attestation report: an SPDM 1.1 `GET_MEASUREMENTS` request, and the `MEASUREMENTS`
//! response to it (DMTF DSP0274, 10.11), one after the other.
//!
//! ```text
//! request   0x11 0xe0, attributes 1 (sign), operation 0xff (all), nonce (32), slot
//! response  0x11 0x60, 0, slot, blocks (1), record length (3), record, nonce (32), opaque length (2), opaque, signature (96)
//! block     index (1), specification 1 (DMTF), size (2), value type (1), value size (2), value
//! opaque    type (2), size (2), data; repeated                                   (NVIDIA's, not DMTF's)
//! ```
//!
//! Numbers are little-endian. The signature is of all before it, request included, so that the nonce in the request
//! is signed too. The frame is read before the signature is verified; blocks and opaque fields are read after.

use super::GpuRefused;
use std::collections::BTreeMap;
use strongroom_protocol::limits;

/// SPDM 1.1.
const VERSION: u8 = 0x11;
const GET_MEASUREMENTS: u8 = 0xe0;
const MEASUREMENTS: u8 = 0x60;
/// Bytes of a signature on P-384: r and s.
pub(super) const SIGNATURE: usize = 96;
/// Most bytes of one measurement.
const MEASUREMENT: usize = 1024;
/// Most opaque fields.
const FIELDS: usize = 64;
/// Set in a value's type where the value is no digest.
const RAW: u8 = 0x80;

/// A report whose frame was read. Nothing in it is to be believed before the signature holds.
#[derive(Debug, Clone, Copy)]
pub struct GpuReport<'a> {
    /// The nonce of the request: what the report binds.
    pub nonce: &'a [u8; 32],
    /// The device's own random bytes.
    pub responder_nonce: &'a [u8; 32],
    /// How many measurement blocks the record is said to have.
    pub blocks: u8,
    pub(super) signed: &'a [u8],
    pub(super) signature: &'a [u8],
    record: &'a [u8],
    opaque: &'a [u8],
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement<'a> {
    /// What kind of thing was measured, as DMTF counts: 1 is mutable firmware.
    pub kind: u8,
    /// The value is no digest.
    pub raw: bool,
    /// Digest or value.
    pub value: &'a [u8],
}

/// Measurements by index from 0: the block's index less 1, as manifests count.
pub type Measurements<'a> = BTreeMap<u8, Measurement<'a>>;
/// Opaque fields by type.
pub type Fields<'a> = BTreeMap<u16, &'a [u8]>;

impl<'a> GpuReport<'a> {
    /// Reads the frame: sizes, versions, codes; nothing may follow.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GpuRefused> {
        if bytes.len() > limits::GPU_REPORT {
            return Err(GpuRefused::G1TooLong { limit: limits::GPU_REPORT, actual: bytes.len() });
        }
        let mut reader = Reader { rest: bytes };
        let request: &[u8; 4] = reader.array("the request's header")?;
        expect("the request's header", &[VERSION, GET_MEASUREMENTS, 1, 0xff], request)?;
        let nonce = reader.array("the request's nonce")?;
        let [slot] = reader.array("the request's slot")?;
        expect_below("the request's slot", 8, *slot)?;
        let [version, code, param1, param2] = reader.array("the response's header")?;
        expect("the response's header", &[VERSION, MEASUREMENTS, 0, *slot], &[*version, *code, *param1, *param2])?;
        let [blocks, low, middle, high] = *reader.array("the record's length")?;
        let record = reader.take("the measurement record", u32::from_le_bytes([low, middle, high, 0]) as usize)?;
        let responder_nonce = reader.array("the response's nonce")?;
        let opaque = usize::from(u16::from_le_bytes(*reader.array("the opaque data's length")?));
        let opaque = reader.take("the opaque data", opaque)?;
        let signature = reader.take("the signature", SIGNATURE)?;
        if !reader.rest.is_empty() {
            return Err(GpuRefused::G1Trailing { extra: reader.rest.len() });
        }
        let (signed, _) = bytes.split_at_checked(bytes.len() - SIGNATURE).unwrap_or_default();
        Ok(Self { nonce, responder_nonce, blocks, signed, signature, record, opaque })
    }

    /// The measurement blocks: as many as are said to be there, each index once, each size right.
    pub fn measurements(&self) -> Result<Measurements<'a>, GpuRefused> {
        let mut reader = Reader { rest: self.record };
        let mut found = Measurements::new();
        for _ in 0..self.blocks {
            let [index, specification, size @ ..] = *reader.array::<4>("a measurement block")?;
            let refuse = |problem: &'static str| GpuRefused::G1Measurement { block: index, problem };
            // 0 asks for the number of blocks, 0xff for all of them: no block has either.
            let place = index.checked_sub(1).filter(|_| index != 0xff).ok_or_else(|| refuse("has no such index"))?;
            if specification != 1 {
                return Err(refuse("is not by DMTF's specification"));
            }
            let mut block = Reader { rest: reader.take("a measurement block", usize::from(u16::from_le_bytes(size)))? };
            let [kind, size @ ..] = *block.array::<3>("a measurement")?;
            let value = block.take("a measurement", usize::from(u16::from_le_bytes(size)))?;
            let raw = kind & RAW != 0;
            if !block.rest.is_empty() {
                return Err(refuse("is longer than its value"));
            }
            if value.is_empty() || value.len() > MEASUREMENT {
                return Err(refuse("has a value of a size that none has"));
            }
            if !raw && !matches!(value.len(), 32 | 48 | 64) {
                return Err(refuse("has a digest of a size that none has"));
            }
            if found.insert(place, Measurement { kind: kind & !RAW, raw, value }).is_some() {
                return Err(refuse("stands twice"));
            }
        }
        if !reader.rest.is_empty() {
            return Err(GpuRefused::G1Record { extra: reader.rest.len() });
        }
        if found.is_empty() { Err(GpuRefused::G1NoMeasurements) } else { Ok(found) }
    }

    /// The opaque fields, each type once. Types that nothing here reads are kept: the device signed them, and newer
    /// drivers have more.
    pub fn fields(&self) -> Result<Fields<'a>, GpuRefused> {
        let mut reader = Reader { rest: self.opaque };
        let mut found = Fields::new();
        while !reader.rest.is_empty() {
            let [kind @ .., size0, size1] = *reader.array::<4>("an opaque field")?;
            let kind = u16::from_le_bytes(kind);
            let data = reader.take("an opaque field", usize::from(u16::from_le_bytes([size0, size1])))?;
            if found.len() == FIELDS {
                return Err(GpuRefused::G1Opaque { kind, problem: "is one too many" });
            }
            if found.insert(kind, data).is_some() {
                return Err(GpuRefused::G1Opaque { kind, problem: "stands twice" });
            }
        }
        Ok(found)
    }
}

fn expect(field: &'static str, expected: &[u8], got: &[u8]) -> Result<(), GpuRefused> {
    if expected == got {
        return Ok(());
    }
    Err(GpuRefused::G1Frame { field, expected: crate::quote::hex(expected), got: crate::quote::hex(got) })
}

fn expect_below(field: &'static str, limit: u8, got: u8) -> Result<(), GpuRefused> {
    if got < limit {
        return Ok(());
    }
    Err(GpuRefused::G1Frame { field, expected: format!("less than {limit}"), got: got.to_string() })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], GpuRefused> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(GpuRefused::G1Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], GpuRefused> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(GpuRefused::G1Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }
}
