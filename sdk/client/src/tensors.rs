//! Tensors in a file of the safetensors format: found in opened plaintext, and laid out for sealing.

use crate::{Error, OpenObject};
use safetensors::{
    SafeTensors,
    tensor::{Dtype, Metadata, TensorInfo},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    ops::Range,
};
use strongroom_sealed::ReadAt;

/// Longest header that the format's own crate reads, bytes.
const HEADER: usize = 100_000_000;

/// Why tensors cannot be found or laid out.
#[derive(Debug, thiserror::Error)]
pub enum TensorsError {
    /// The plaintext is no safetensors file.
    #[error("the plaintext is not in the safetensors format: {0}")]
    NotSafetensors(String),
    /// The element type has no name in the format.
    #[error("tensor `{name}`: the safetensors format has no element type `{dtype}`")]
    UnknownType {
        /// The tensor.
        name: String,
        /// What was asked for.
        dtype: String,
    },
    /// The bytes of a tensor are not as many as its shape and type say.
    #[error("tensor `{name}` has {actual} bytes, its shape and type make {expected}")]
    WrongLength {
        /// The tensor.
        name: String,
        /// What shape and type make, bytes.
        expected: usize,
        /// What there is, bytes.
        actual: usize,
    },
    /// Two tensors have one name, or a name that the format keeps for itself.
    #[error("tensor name `{0}` cannot be used: it is there twice, or it is the format's own")]
    Name(String),
    /// Names, shapes and metadata make a header that readers of the format refuse.
    #[error(
        "names, shapes and metadata take {actual} bytes, and readers of the safetensors format take {limit} at the most: put long texts elsewhere"
    )]
    HeaderTooLarge {
        /// The header's length, bytes.
        actual: usize,
        /// The format's most, bytes.
        limit: usize,
    },
    /// Sizes that do not fit into the address space, or a layout that the format refuses.
    #[error("these tensors cannot be laid out: {0}")]
    Layout(String),
}

/// Where a tensor lies in a plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its element type, as the format writes it: `F32`, `BF16`.
    pub dtype: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its bytes within the whole plaintext, row-major, little-endian.
    pub bytes: Range<usize>,
}

/// The tensors of a plaintext, in the order in which they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensors {
    /// All of them.
    pub tensors: Vec<Tensor>,
    /// The file's own texts, `__metadata__`.
    pub metadata: HashMap<String, String>,
}

impl OpenObject {
    /// Reads the header of a safetensors file. Names and shapes are copied to ordinary memory; the
    /// tensors stay where they are.
    pub fn tensors(&self) -> Result<Tensors, Error> {
        let plaintext = self.plaintext()?;
        Ok(find(&plaintext)?)
    }
}

/// Finds the tensors of a plaintext. The format's own crate checks that they lie side by side, fit
/// their shapes, and fill the plaintext; of a name that is there twice it would keep the last.
fn find(plaintext: &[u8]) -> Result<Tensors, TensorsError> {
    let refused = |error: safetensors::SafeTensorError| TensorsError::NotSafetensors(error.to_string());
    let (header, metadata) = SafeTensors::read_metadata(plaintext).map_err(refused)?;
    let start = header + size_of::<u64>();
    let json = plaintext.get(size_of::<u64>()..start).unwrap_or_default();
    serde_json::from_slice::<Names>(json).map_err(|error| TensorsError::NotSafetensors(error.to_string()))?;
    let mut tensors: Vec<Tensor> = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| Tensor {
            name,
            dtype: info.dtype.to_string(),
            shape: info.shape.clone(),
            bytes: start + info.data_offsets.0..start + info.data_offsets.1,
        })
        .collect();
    tensors.sort_by(|a, b| (a.bytes.start, a.bytes.end, &a.name).cmp(&(b.bytes.start, b.bytes.end, &b.name)));
    Ok(Tensors { tensors, metadata: metadata.metadata().clone().unwrap_or_default() })
}

/// The names of a JSON object, each of which is there once.
struct Names;

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                // None, or texts under names of their own.
                map.next_value::<Option<Self>>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} is there twice")));
            }
            seen.insert(name);
        }
        Ok(self)
    }
}

/// The bytes of one tensor, wherever they are.
pub trait TensorBytes: Send + Sync {
    /// How many.
    fn len(&self) -> usize;
    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies those from `offset` on; there are as many as `dest` wants.
    fn copy_to(&self, offset: usize, dest: &mut [u8]);
}

impl TensorBytes for Vec<u8> {
    fn len(&self) -> usize {
        self.len()
    }
    fn copy_to(&self, offset: usize, dest: &mut [u8]) {
        if let Some(part) = self.get(offset..offset + dest.len()) {
            dest.copy_from_slice(part);
        }
    }
}

/// Tensors to be sealed: read at positions as if header and bytes stood in one file, which they
/// never do. Give it to [`crate::Lease::seal_file`].
pub struct TensorFile<B> {
    header: Vec<u8>,
    /// Where each begins in the file, ascending.
    parts: Vec<(u64, B)>,
    len: u64,
}

impl<B: TensorBytes> TensorFile<B> {
    /// Lays tensors out as the format's own crate does: larger element types first, so that all are
    /// aligned, then by name.
    pub fn new(
        tensors: Vec<(String, String, Vec<usize>, B)>,
        metadata: Option<HashMap<String, String>>,
    ) -> Result<Self, TensorsError> {
        let mut typed = Vec::with_capacity(tensors.len());
        for (name, dtype, shape, bytes) in tensors {
            let Ok(known) = serde_json::from_value::<Dtype>(serde_json::Value::from(dtype.as_str())) else {
                return Err(TensorsError::UnknownType { name, dtype });
            };
            typed.push((name, known, shape, bytes));
        }
        typed.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let twice = typed.iter().zip(typed.iter().skip(1)).find(|(a, b)| a.0 == b.0);
        let own = typed.iter().find(|tensor| tensor.0 == "__metadata__");
        if let Some(tensor) = twice.map(|(a, _)| a).or(own) {
            return Err(TensorsError::Name(tensor.0.clone()));
        }
        let (mut infos, mut parts, mut end) = (Vec::with_capacity(typed.len()), Vec::with_capacity(typed.len()), 0);
        for (name, dtype, shape, bytes) in typed {
            let start: usize = end;
            end = end.checked_add(bytes.len()).ok_or_else(too_large)?;
            let expected = length(dtype, &shape).ok_or_else(too_large)?;
            if expected != bytes.len() {
                return Err(TensorsError::WrongLength { name, expected, actual: bytes.len() });
            }
            infos.push((name, TensorInfo { dtype, shape, data_offsets: (start, end) }));
            parts.push((start as u64, bytes));
        }
        let layout = |error: &dyn std::fmt::Display| TensorsError::Layout(error.to_string());
        let described = Metadata::new(metadata, infos).map_err(|e| layout(&e))?;
        let mut json = serde_json::to_vec(&described).map_err(|e| layout(&e))?;
        json.resize(json.len().next_multiple_of(8), b' ');
        if json.len() > HEADER {
            return Err(TensorsError::HeaderTooLarge { actual: json.len(), limit: HEADER });
        }
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend_from_slice(&json);
        let start = header.len() as u64;
        for (at, _) in &mut parts {
            *at += start;
        }
        Ok(Self { len: start + end as u64, header, parts })
    }
}

fn too_large() -> TensorsError {
    TensorsError::Layout("they are larger than an address space".to_owned())
}

/// Bytes of a tensor; none if that overflows, or is no whole number of bytes.
fn length(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let elements = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side))?;
    let bits = elements.checked_mul(dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

impl<B: TensorBytes> ReadAt for TensorFile<B> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset;
        let mut rest = buffer;
        if let Some(header) = usize::try_from(at).ok().and_then(|from| self.header.get(from..)) {
            let (now, later) = rest.split_at_mut(rest.len().min(header.len()));
            now.copy_from_slice(header.get(..now.len()).unwrap_or_default());
            at += now.len() as u64;
            rest = later;
        }
        // The last that begins at or before this position; those after it follow without gaps.
        let first = self.parts.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        for (start, bytes) in self.parts.iter().skip(first) {
            if rest.is_empty() {
                break;
            }
            let from = usize::try_from(at.saturating_sub(*start)).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_mut(rest.len().min(bytes.len().saturating_sub(from)));
            bytes.copy_to(from, now);
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensorError;

    type Given = (String, String, Vec<usize>, Vec<u8>);

    fn given(name: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>) -> Given {
        (name.into(), dtype.into(), shape.into(), bytes)
    }

    fn some() -> Vec<Given> {
        vec![
            given("b", "F32", &[2, 3], (0..24).collect()),
            given("a", "U8", &[5], vec![1, 2, 3, 4, 5]),
            given("empty", "F32", &[0, 7], vec![]),
            given("scalar", "I64", &[], vec![7; 8]),
            given("half", "BF16", &[3], vec![6; 6]),
        ]
    }

    fn whole(file: &TensorFile<Vec<u8>>) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_is_laid_out_is_found_again() {
        let metadata = HashMap::from([("format".to_owned(), "np".to_owned())]);
        let file = TensorFile::new(some(), Some(metadata.clone())).unwrap();
        let bytes = whole(&file);
        let found = find(&bytes).unwrap();
        assert_eq!(found.metadata, metadata);
        assert_eq!(found.tensors.len(), 5);
        for (name, dtype, shape, content) in some() {
            let tensor = found.tensors.iter().find(|t| t.name == name).unwrap();
            assert_eq!((&tensor.dtype, &tensor.shape), (&dtype, &shape));
            assert_eq!(bytes[tensor.bytes.clone()], content, "{name}");
        }
        // Others read it too: the format's crate by itself, and it would write the same bytes.
        let theirs = SafeTensors::deserialize(&bytes).unwrap();
        let views = theirs.tensors();
        assert_eq!(safetensors::serialize(views, Some(metadata)).unwrap(), bytes);
    }

    #[test]
    fn every_part_is_that_of_the_whole() {
        let file = TensorFile::new(some(), None).unwrap();
        let bytes = whole(&file);
        for from in 0..=bytes.len() {
            for to in [from, from + 1, from + 7, bytes.len()] {
                let Some(expected) = bytes.get(from..to) else { continue };
                let mut part = vec![0; expected.len()];
                file.read_exact_at(&mut part, from as u64).unwrap();
                assert_eq!(part, expected, "{from}..{to}");
            }
        }
        assert!(file.read_exact_at(&mut [0; 2], bytes.len() as u64 - 1).is_err());
        assert!(file.read_exact_at(&mut [0], u64::MAX).is_err());
        let none = TensorFile::new(Vec::<Given>::new(), None).unwrap();
        assert_eq!(find(&whole(&none)).unwrap().tensors, []);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let refused = |tensors| TensorFile::new(tensors, None).err().unwrap();
        let twice = vec![given("a", "U8", &[1], vec![1]), given("a", "U8", &[1], vec![1])];
        assert!(matches!(refused(twice), TensorsError::Name(name) if name == "a"));
        let own = vec![given("__metadata__", "U8", &[1], vec![1])];
        assert!(matches!(refused(own), TensorsError::Name(_)));
        let short = vec![given("a", "F32", &[2], vec![0; 7])];
        assert!(matches!(refused(short), TensorsError::WrongLength { expected: 8, actual: 7, .. }));
        let unknown = vec![given("a", "F31", &[1], vec![1])];
        assert!(matches!(refused(unknown), TensorsError::UnknownType { .. }));
        let large = vec![given("a", "F32", &[usize::MAX, 2], vec![])];
        assert!(matches!(refused(large), TensorsError::Layout(_)));
    }

    #[test]
    fn no_header_is_written_that_nobody_reads() {
        let texts = HashMap::from([("text".to_owned(), "x".repeat(HEADER))]);
        let refused = TensorFile::new(some(), Some(texts)).err().unwrap();
        assert!(matches!(refused, TensorsError::HeaderTooLarge { actual, limit } if actual > limit), "{refused}");
        // The format's crate draws the line there: of a header that it would read it misses the bytes.
        let read = |length: usize| SafeTensors::read_metadata(&(length as u64).to_le_bytes()).unwrap_err();
        assert!(matches!(read(HEADER), SafeTensorError::InvalidHeaderLength));
        assert!(matches!(read(HEADER + 1), SafeTensorError::HeaderTooLarge));
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let file = |header: &str, bytes: usize| {
            let mut file = (header.len() as u64).to_le_bytes().to_vec();
            file.extend_from_slice(header.as_bytes());
            file.resize(file.len() + bytes, 7);
            file
        };
        let tensor = |name: &str| format!(r#""{name}":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#);
        let metadata = |names: &str| format!(r#"{{"__metadata__":{{{names}}},{}}}"#, tensor("a"));
        for good in [format!("{{{}}}", tensor("a")), metadata(r#""k":"1","l":"1""#), metadata("")] {
            assert_eq!(find(&file(&good, 2)).unwrap().tensors.len(), 1, "{good}");
        }
        let twice = format!("{{{},{}}}", tensor("a"), tensor("a"));
        let otherwise = format!("{{{},{}}}", tensor("a"), tensor(r"\u0061"));
        for wrong in [twice, otherwise, metadata(r#""k":"1","k":"2""#)] {
            let error = find(&file(&wrong, 2)).unwrap_err();
            assert!(matches!(&error, TensorsError::NotSafetensors(why) if why.contains("twice")), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_not_in_the_format_is_said_so() {
        let good = whole(&TensorFile::new(some(), None).unwrap());
        for wrong in [&b""[..], b"short", &[0xff; 100], &good[..good.len() - 1]] {
            assert!(matches!(find(wrong), Err(TensorsError::NotSafetensors(_))));
        }
        let longer = [good.as_slice(), b"x"].concat();
        assert!(matches!(find(&longer), Err(TensorsError::NotSafetensors(_))));
    }
}
