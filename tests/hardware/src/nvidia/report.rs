//! The report: SPDM 1.1 `GET_MEASUREMENTS` and `MEASUREMENTS`, with NVIDIA's opaque fields.

use super::Key;
use ring::digest::{SHA384, digest};

/// One measurement block.
#[derive(Debug, Clone)]
pub struct Block {
    /// From 1.
    pub index: u8,
    /// 1: by DMTF.
    pub specification: u8,
    /// The size that is written, where it is not the right one.
    pub size: Option<u16>,
    /// 1: digest of mutable firmware; bit 7: no digest.
    pub kind: u8,
    /// The size of the value that is written, where it is not the right one.
    pub value_size: Option<u16>,
    /// The value.
    pub value: Vec<u8>,
    /// Bytes that follow the value inside the block.
    pub tail: Vec<u8>,
}

/// A report before it is signed.
#[derive(Debug, Clone)]
pub struct Report {
    /// Version, code, attributes, operation.
    pub request: [u8; 4],
    /// What the request binds.
    pub nonce: [u8; 32],
    /// The certificate slot that is asked for.
    pub slot: u8,
    /// Version, code and two parameters.
    pub response: [u8; 4],
    /// The number of blocks that is written, where it is not the right one.
    pub blocks: Option<u8>,
    /// The record's length that is written, where it is not the right one.
    pub record_length: Option<u32>,
    /// The measurements.
    pub measurements: Vec<Block>,
    /// Bytes that follow the blocks inside the record.
    pub record_tail: Vec<u8>,
    /// The device's own nonce.
    pub responder_nonce: [u8; 32],
    /// Type and data.
    pub opaque: Vec<(u16, Vec<u8>)>,
    /// Bytes that follow the fields inside the opaque data.
    pub opaque_tail: Vec<u8>,
    /// The opaque data's length that is written, where it is not the right one.
    pub opaque_length: Option<u16>,
    /// Another signature than the right one.
    pub signature: Option<Vec<u8>>,
    /// Bytes that follow the signature.
    pub trailing: Vec<u8>,
}

impl Default for Report {
    fn default() -> Self {
        let block = |index: u8| Block {
            index,
            specification: 1,
            size: None,
            kind: 1,
            value_size: None,
            value: digest(&SHA384, &[index]).as_ref().to_vec(),
            tail: vec![],
        };
        Self {
            request: [0x11, 0xe0, 1, 0xff],
            nonce: [7; 32],
            slot: 0,
            response: [0x11, 0x60, 0, 0],
            blocks: None,
            record_length: None,
            measurements: (1..=64).map(block).collect(),
            record_tail: vec![],
            responder_nonce: [9; 32],
            opaque: vec![
                (6, b"\x00\x9f\x00\x96\x01\x00\x00\x00".to_vec()),
                (14, vec![0xb1, 3, 0, 0]),
                (15, b"882\0\0\0\0\0\0".to_vec()),
                (17, b"1010\0".to_vec()),
                (18, b"0200\0".to_vec()),
                (3, b"550.90.07\0".to_vec()),
                (12, vec![0; 256]),
                (11, vec![0x55]),
                (20, vec![0xf5; 48]),
                (21, vec![0x55]),
                (36, vec![0]),
            ],
            opaque_tail: vec![],
            opaque_length: None,
            signature: None,
            trailing: vec![],
        }
    }
}

impl Report {
    /// Sets the data of an opaque field; without data the field is left out.
    pub fn set(&mut self, kind: u16, data: Option<&[u8]>) {
        self.opaque.retain(|(other, _)| *other != kind);
        self.opaque.extend(data.map(|data| (kind, data.to_vec())));
    }

    /// The value of a measurement, by its index from 0.
    pub fn value(&self, index: u8) -> Vec<u8> {
        let block = self.measurements.iter().find(|block| block.index == index + 1);
        block.map(|block| block.value.clone()).unwrap_or_default()
    }

    /// Everything before the signature.
    pub fn signed(&self) -> Vec<u8> {
        let short = |length: usize| u16::try_from(length).unwrap();
        let mut record = Vec::new();
        for block in &self.measurements {
            let value_size = block.value_size.unwrap_or_else(|| short(block.value.len()));
            let size = block.size.unwrap_or_else(|| short(3 + block.value.len() + block.tail.len()));
            record.extend([block.index, block.specification]);
            record.extend(size.to_le_bytes());
            record.push(block.kind);
            record.extend(value_size.to_le_bytes());
            record.extend(block.value.iter().chain(&block.tail));
        }
        record.extend(&self.record_tail);
        let mut opaque = Vec::new();
        for (kind, data) in &self.opaque {
            opaque.extend(kind.to_le_bytes());
            opaque.extend(short(data.len()).to_le_bytes());
            opaque.extend(data);
        }
        opaque.extend(&self.opaque_tail);
        let record_length = self.record_length.unwrap_or_else(|| u32::try_from(record.len()).unwrap()).to_le_bytes();
        let [low, middle, high, _] = record_length;
        let blocks = self.blocks.unwrap_or_else(|| u8::try_from(self.measurements.len()).unwrap());
        [
            &self.request[..],
            &self.nonce,
            &[self.slot],
            &self.response,
            &[blocks, low, middle, high],
            &record,
            &self.responder_nonce,
            &self.opaque_length.unwrap_or_else(|| short(opaque.len())).to_le_bytes(),
            &opaque,
        ]
        .concat()
    }

    pub(super) fn bytes(&self, key: &Key) -> Vec<u8> {
        let signed = self.signed();
        let signature = self.signature.clone().unwrap_or_else(|| key.sign(&signed));
        [signed, signature, self.trailing.clone()].concat()
    }
}
