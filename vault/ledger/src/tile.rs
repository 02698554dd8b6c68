//! Tiles: the tree as static files of up to 256 hashes (C2SP tlog-tiles).

use crate::{Hash, LedgerError};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Hashes in a full tile.
pub(crate) const TILE_WIDTH: usize = 256;
/// Bits of an index that one level of tiles takes.
pub(crate) const TILE_HEIGHT: u32 = 8;
/// The highest level of tiles in the largest tree.
const TOP_LEVEL: u8 = 6;
/// An entry in a bundle: u16 length, then 32 bytes.
const BUNDLED: usize = 34;

/// Names a tile: its level, its index in the level, and how many hashes of it are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

impl TileId {
    /// Level 0 to 63, width 1 to 256, else none.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        (level < 64 && (1..=256).contains(&width)).then_some(Self { level, index, width })
    }

    /// Level: at 0 the hashes are leaves, at each next one they are roots of full tiles below.
    pub fn level(self) -> u8 {
        self.level
    }

    /// Index in its level.
    pub fn index(self) -> u64 {
        self.index
    }

    /// Hashes, 1 to 256; 256 makes it full.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether it can never change again.
    pub fn is_full(self) -> bool {
        usize::from(self.width) == TILE_WIDTH
    }

    /// The tile that holds (or whose hashes make) the node of `height` and `index` in a tree of `size`.
    pub(crate) fn of_node(height: u32, index: u64, size: u64) -> Self {
        let level = height / TILE_HEIGHT;
        let tile = index >> (TILE_HEIGHT - height % TILE_HEIGHT);
        let width = (size >> (TILE_HEIGHT * level)).saturating_sub(tile << TILE_HEIGHT).min(256);
        // Heights stay below 64 and widths are at most 256, so neither number is cut.
        Self {
            level: u8::try_from(level).unwrap_or(u8::MAX),
            index: tile,
            width: u16::try_from(width).unwrap_or(u16::MAX),
        }
    }
}

/// The tile's path, `tile/0/x001/234.p/17`.
impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_index(f, self.index, self.width)
    }
}

/// What a path under a log's prefix names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TilePath {
    /// Hashes: `tile/<L>/<N>[.p/<W>]`.
    Hashes(TileId),
    /// Entries: `tile/entries/<N>[.p/<W>]`.
    Entries {
        /// Index of the bundle; its first entry is 256 times that.
        index: u64,
        /// Entries, 1 to 256.
        width: u16,
    },
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Hashes(id) => id.fmt(f),
            Self::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                write_index(f, index, width)
            }
        }
    }
}

/// Accepts the one spelling of a path, without a leading slash.
impl FromStr for TilePath {
    type Err = LedgerError;
    fn from_str(path: &str) -> Result<Self, LedgerError> {
        read_path(path).filter(|read| read.to_string() == path).ok_or(LedgerError::TilePathMalformed)
    }
}

fn write_index(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut divisor = 1;
    while index / divisor >= 1000 {
        divisor *= 1000;
    }
    while divisor > 1 {
        write!(f, "x{:03}/", index / divisor % 1000)?;
        divisor /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if usize::from(width) < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

/// Reads generously; [`TilePath::from_str`] then compares spellings.
fn read_path(path: &str) -> Option<TilePath> {
    if path.len() > 64 {
        return None;
    }
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (digits, width) = match rest.split_once(".p/") {
        Some((digits, width)) => (digits, width.parse().ok()?),
        None => (rest, 256),
    };
    let mut index: u64 = 0;
    for part in digits.split('/') {
        let part: u64 = part.strip_prefix('x').unwrap_or(part).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(part)?;
    }
    let id = TileId::new(if level == "entries" { 0 } else { level.parse().ok()? }, index, width)?;
    Some(if level == "entries" { TilePath::Entries { index, width } } else { TilePath::Hashes(id) })
}

/// A tile with its bytes: `width` hashes of 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Its name.
    pub id: TileId,
    /// Its hashes, one after the other.
    pub data: Vec<u8>,
}

/// Where tiles are read from. Closures `Fn(TileId) -> Result<Vec<u8>, LedgerError>` are sources.
pub trait TileSource {
    /// The tile's bytes: at least `width` hashes, and more where a wider version of the same tile is
    /// at hand (a narrower tile is its start). [`LedgerError::TileMissing`] where there is none,
    /// [`LedgerError::TileUnreadable`] where reading failed.
    fn tile(&self, id: TileId) -> Result<Vec<u8>, LedgerError>;
}

impl<F: Fn(TileId) -> Result<Vec<u8>, LedgerError>> TileSource for F {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, LedgerError> {
        self(id)
    }
}

/// Tiles in memory, the widest version of each. A store that reads asynchronously fetches what
/// [`edge_tiles`], [`crate::inclusion_tiles`] or [`crate::consistency_tiles`] name, and puts it here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TileSet(BTreeMap<(u8, u64), Vec<u8>>);

impl TileSet {
    /// No tiles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tile; a narrower version of one that is there changes nothing.
    pub fn insert(&mut self, level: u8, index: u64, data: Vec<u8>) {
        let kept = self.0.entry((level, index)).or_default();
        if data.len() > kept.len() {
            *kept = data;
        }
    }
}

impl Extend<Tile> for TileSet {
    fn extend<T: IntoIterator<Item = Tile>>(&mut self, tiles: T) {
        for tile in tiles {
            self.insert(tile.id.level, tile.id.index, tile.data);
        }
    }
}

impl FromIterator<Tile> for TileSet {
    fn from_iter<T: IntoIterator<Item = Tile>>(tiles: T) -> Self {
        let mut set = Self::new();
        set.extend(tiles);
        set
    }
}

impl TileSource for TileSet {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, LedgerError> {
        self.0.get(&(id.level, id.index)).cloned().ok_or(LedgerError::TileMissing { tile: id })
    }
}

/// The partial tiles at the right edge of a tree of `size`, highest level first: what appending
/// reads, and what [`crate::Frontier::from_tiles`] reads.
pub fn edge_tiles(size: u64) -> Vec<TileId> {
    (0..=TOP_LEVEL)
        .rev()
        .filter_map(|level| {
            let hashes = size >> (TILE_HEIGHT * u32::from(level));
            TileId::new(level, hashes >> TILE_HEIGHT, (hashes % 256) as u16)
        })
        .collect()
}

/// Reads the `width` hashes of a tile.
pub(crate) fn read(source: &(impl TileSource + ?Sized), id: TileId) -> Result<Vec<Hash>, LedgerError> {
    let data = source.tile(id)?;
    let (hashes, rest) = data.as_chunks::<32>();
    match hashes.get(..usize::from(id.width)) {
        Some(wanted) if rest.is_empty() && hashes.len() <= TILE_WIDTH => Ok(wanted.to_vec()),
        _ => Err(LedgerError::TileMalformed { tile: id, bytes: data.len() }),
    }
}

/// An entry bundle: each entry with its length, u16 big-endian (C2SP tlog-tiles, "Log entries").
pub fn encode_bundle(entries: &[Hash]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * BUNDLED);
    for entry in entries {
        out.extend_from_slice(&32_u16.to_be_bytes());
        out.extend_from_slice(entry);
    }
    out
}

/// Reads what [`encode_bundle`] wrote: 1 to 256 entries.
pub fn decode_bundle(bytes: &[u8]) -> Result<Vec<Hash>, LedgerError> {
    let (entries, rest) = bytes.as_chunks::<BUNDLED>();
    if !rest.is_empty() || !(1..=TILE_WIDTH).contains(&entries.len()) {
        return Err(LedgerError::BundleMalformed);
    }
    entries
        .iter()
        .map(|bundled| match bundled.split_first_chunk() {
            Some(([0, 32], entry)) => entry.try_into().map_err(|_| LedgerError::BundleMalformed),
            _ => Err(LedgerError::BundleMalformed),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_standard() {
        for (path, level, index, width) in [
            ("tile/0/x001/x234/067", 0, 1_234_067, 256),
            ("tile/0/273.p/112", 0, 273, 112),
            ("tile/1/000", 1, 0, 256),
            ("tile/63/000.p/255", 63, 0, 255),
            ("tile/2/x001/000.p/1", 2, 1000, 1),
        ] {
            let id = TileId::new(level, index, width).unwrap();
            assert_eq!(id.to_string(), path);
            assert_eq!(path.parse(), Ok(TilePath::Hashes(id)));
        }
        let bundle = TilePath::Entries { index: 1_234_067, width: 3 };
        assert_eq!(bundle.to_string(), "tile/entries/x001/x234/067.p/3");
        assert_eq!(bundle.to_string().parse(), Ok(bundle));
    }

    #[test]
    fn a_path_has_one_spelling() {
        for wrong in [
            "/tile/0/000",
            "tile/0/0",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/001/000",
            "tile/0/x000/001",
            "tile/0/x001",
            "tile/0/x001/x000",
            "tile/0/0000",
            "tile/0/+00",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/",
            "tile/0/",
            "tile/entries",
            "tile/data/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "../tile/0/000",
            "",
        ] {
            assert_eq!(wrong.parse::<TilePath>(), Err(LedgerError::TilePathMalformed), "{wrong}");
        }
    }

    #[test]
    fn widths_and_levels_have_bounds() {
        assert!(TileId::new(63, u64::MAX, 256).is_some());
        assert_eq!(TileId::new(64, 0, 1), None);
        assert_eq!(TileId::new(0, 0, 0), None);
        assert_eq!(TileId::new(0, 0, 257), None);
    }

    /// The standard's example: 273 full and one partial tile at level 0, one and one at level 1, one at level 2.
    #[test]
    fn the_right_edge_of_70_000_entries() {
        let paths: Vec<_> = edge_tiles(70_000).iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["tile/2/000.p/1", "tile/1/001.p/17", "tile/0/273.p/112"]);
        assert_eq!(edge_tiles(256).iter().map(ToString::to_string).collect::<Vec<_>>(), ["tile/1/000.p/1"]);
        assert_eq!(edge_tiles(0), []);
        assert_eq!(edge_tiles(crate::MAX_SIZE).len(), 7);
    }

    #[test]
    fn a_tile_is_read_only_if_its_bytes_are_whole_hashes_and_enough() {
        let id = TileId::new(0, 0, 3).unwrap();
        let of = |bytes: usize| read(&move |_: TileId| Ok(vec![1; bytes]), id);
        assert_eq!(of(96).unwrap().len(), 3);
        assert_eq!(of(256 * 32).unwrap().len(), 3);
        for bytes in [0, 64, 95, 97, 257 * 32] {
            assert_eq!(of(bytes), Err(LedgerError::TileMalformed { tile: id, bytes }));
        }
    }

    #[test]
    fn a_set_keeps_the_widest_version() {
        let mut set = TileSet::new();
        set.insert(0, 0, vec![1; 64]);
        set.insert(0, 0, vec![1; 32]);
        let id = TileId::new(0, 0, 2).unwrap();
        assert_eq!(set.tile(id).unwrap().len(), 64);
        let absent = TileId::new(1, 0, 2).unwrap();
        assert_eq!(set.tile(absent), Err(LedgerError::TileMissing { tile: absent }));
    }

    #[test]
    fn a_bundle_holds_entries_of_32_bytes_and_nothing_else() {
        let entries = vec![[1; 32], [2; 32]];
        let bytes = encode_bundle(&entries);
        assert_eq!(bytes[..3], [0, 32, 1]);
        assert_eq!(decode_bundle(&bytes), Ok(entries));
        let mut other_length = bytes.clone();
        other_length[35] = 31;
        let many = encode_bundle(&vec![[0; 32]; 257]);
        for wrong in [&bytes[..67], &[&bytes[..], &[0]].concat(), &other_length, &many, &[]] {
            assert_eq!(decode_bundle(wrong), Err(LedgerError::BundleMalformed));
        }
    }
}
