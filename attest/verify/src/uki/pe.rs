//! As much of PE/COFF as a stub reads of itself (Microsoft PE Format; UEFI 2.10, §2.1.1).

use super::{Section, UkiRefused};

/// Most sections of an image. One with many profiles has a few hundred.
const MAX_SECTIONS: usize = 4096;

/// Most zeros that follow what the file holds of a section, bytes: alignment makes for a few thousand.
const MAX_ZEROS: usize = 1 << 20;

/// One line of the section table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// Filled with NULs.
    name: [u8; 8],
    virtual_size: u32,
    raw_size: u32,
    raw_at: u32,
}

/// Reads the section table.
pub(super) fn sections(file: &[u8]) -> Result<Vec<Header>, UkiRefused> {
    let malformed = |problem| UkiRefused::Malformed { problem };
    if !file.starts_with(b"MZ") {
        return Err(malformed("it does not begin with MZ"));
    }
    let at = u32_at(file, 0x3c).ok_or(malformed("it ends inside its first header"))?;
    let pe = file.get(offset(at)..).filter(|pe| pe.starts_with(b"PE\0\0")).ok_or(malformed("it is no PE file"))?;
    // COFF file header: machine, number of sections, time, symbols (8 bytes), size of the optional header.
    let (count, size) = u16_at(pe, 6).zip(u16_at(pe, 20)).ok_or(malformed("it ends inside its COFF header"))?;
    if usize::from(count) > MAX_SECTIONS {
        return Err(malformed("it has more sections than any"));
    }
    let table = pe.get(24 + usize::from(size)..).unwrap_or_default();
    let (lines, _) = table.as_chunks::<40>();
    let lines = lines.get(..usize::from(count)).ok_or(malformed("it ends inside its section table"))?;
    lines.iter().map(|line| header(line).ok_or(malformed("it ends inside its section table"))).collect()
}

fn header(line: &[u8; 40]) -> Option<Header> {
    Some(Header {
        name: *line.first_chunk()?,
        virtual_size: u32_at(line, 8)?,
        raw_size: u32_at(line, 16)?,
        raw_at: u32_at(line, 20)?,
    })
}

impl Header {
    /// Whether it has this name of at most eight characters.
    pub(super) fn is(&self, name: &str) -> bool {
        let (own, filling) = self.name.split_at(name.len().min(self.name.len()));
        own == name.as_bytes() && filling.iter().all(|&byte| byte == 0)
    }

    /// What the file holds of it.
    pub(super) fn content<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        file.get(offset(self.raw_at)..)?.get(..offset(self.raw_size.min(self.virtual_size)))
    }

    /// The section as firmware loads it, under no name yet.
    pub(super) fn loaded<'a>(&self, file: &'a [u8]) -> Result<Section<'a>, &'static str> {
        let content = if self.raw_size == 0 { &[] } else { self.content(file).ok_or("lies outside of the file")? };
        let zeros = offset(self.virtual_size).saturating_sub(content.len());
        if zeros > MAX_ZEROS {
            return Err("is much longer in memory than in the file");
        }
        Ok(Section { name: "", content, zeros })
    }
}

fn offset(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
