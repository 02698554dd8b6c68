//! What is sealed opens: every way of writing with every way of reading.

use crate::{
    ChunkSize, Engine, Expected, Metadata, Opening, PartialFile, Progress, ReadAt, Reader, SealedError, SealedRead,
    Seekable, WriteSpec, Writer, Written, inspect, seal_file, spool,
};
use proptest::prelude::*;
use std::{
    io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use strongroom_envelope::{Secret, WriterKey};
use strongroom_protocol::WriterId;

/// The chunk size of these tests, bytes.
const C: usize = 1 << 16;

fn key() -> WriterKey {
    WriterKey::new(Secret::take(&mut [7; 32]))
}

fn spec() -> WriteSpec {
    let mut spec = WriteSpec::new("minilm", 3, WriterId::from([1; 16]));
    spec.chunk_size = ChunkSize::MIN;
    spec
}

fn plaintext(length: usize) -> Vec<u8> {
    // 251 is prime, so that no two chunks are alike.
    (0..=250).cycle().take(length).collect()
}

fn seal_with(spec: WriteSpec, plaintext: &[u8]) -> (Written, Vec<u8>) {
    let mut writer = Writer::create(Vec::new(), &key(), spec).unwrap();
    writer.write_all(plaintext).unwrap();
    writer.finish().unwrap()
}

fn open<S: ReadAt>(source: S) -> Reader<S> {
    let opening = Opening::start(source, &Expected::asset("minilm")).unwrap();
    let key = key().object_key(opening.header().object);
    opening.with_key(&key).unwrap()
}

fn read_all<S: ReadAt>(reader: &Reader<S>, threads: usize) -> Vec<u8> {
    let mut dest = vec![1; usize::try_from(reader.len()).unwrap()];
    reader.read_into(&mut dest, threads, &()).unwrap();
    dest
}

#[test]
fn lengths_around_a_chunk_are_read_back() {
    for length in [0, 1, C - 1, C, C + 1, 3 * C, 3 * C + 17] {
        for hashes in [false, true] {
            let plaintext = plaintext(length);
            let (written, file) = seal_with(WriteSpec { hashes, ..spec() }, &plaintext);
            assert_eq!(written.len, length as u64);
            assert_eq!(written.file_len, file.len() as u64);
            let seen = inspect(&file).unwrap();
            assert_eq!((seen.len, seen.chunks), (length as u64, length.div_ceil(C) as u64));
            let reader = open(&file);
            assert_eq!(reader.has_hashes(), hashes);
            assert_eq!(*reader.digest(), written.digest);
            assert!(
                read_all(&reader, 1) == plaintext
                    && read_all(&reader, 3) == plaintext
                    && read_all(&reader, 0) == plaintext
            );
        }
    }
}

#[test]
fn what_is_known_of_a_file_is_kept() {
    let metadata = Metadata { name: Some("m.safetensors".into()), media_type: Some("a/b".into()), created: Some(5) };
    let (_, file) = seal_with(WriteSpec { metadata: metadata.clone(), ..spec() }, b"x");
    assert_eq!(open(&file).metadata(), &metadata);
}

#[test]
fn a_file_sealed_by_threads_is_the_same_kind_of_file() {
    let directory = tempfile::tempdir().unwrap();
    for (length, threads, hashes) in [(0, 0, false), (5, 2, true), (5 * C, 2, false), (9 * C + 3, 3, true)] {
        let target = directory.path().join(format!("{length}.sealed"));
        let plaintext = plaintext(length);
        let progress = Count::default();
        let spec = WriteSpec { hashes, ..spec() };
        let written = seal_file(&plaintext, &target, false, &key(), &spec, threads, &progress).unwrap();
        assert_eq!(progress.0.into_inner(), length as u64);
        let file = std::fs::File::open(&target).unwrap();
        assert_eq!(file.metadata().unwrap().len(), written.file_len);
        let reader = open(&file);
        assert_eq!(reader.has_hashes(), hashes);
        assert_eq!(*reader.digest(), written.digest);
        assert!(read_all(&reader, 2) == plaintext);
    }
}

#[test]
fn every_writing_has_its_own_salt_object_and_ciphertext() {
    let (first, one) = seal_with(spec(), &plaintext(C));
    let (second, two) = seal_with(spec(), &plaintext(C));
    assert_ne!(first.object, second.object);
    let same = WriteSpec { object: Some(first.object), ..spec() };
    let (_, three) = seal_with(same, &plaintext(C));
    for other in [&two, &three] {
        assert_ne!(inspect(&one).unwrap().header.salt, inspect(other).unwrap().header.salt);
        assert!(one[4096..4096 + C] != other[4096..4096 + C]);
    }
}

#[test]
fn a_known_length_raises_the_chunk_size_and_is_held_to() {
    let create =
        |expected_len| Writer::create(Vec::new(), &key(), WriteSpec { expected_len: Some(expected_len), ..spec() });
    assert!(matches!(create((1 << 48) + 1), Err(SealedError::LimitExceeded { .. })));
    create(1 << 48).unwrap();

    let mut writer = create(3).unwrap();
    writer.write_all(b"abc").unwrap();
    writer.finish().unwrap();
    let mut writer = create(3).unwrap();
    writer.write_all(b"ab").unwrap();
    assert!(matches!(writer.finish(), Err(SealedError::LengthChanged { expected: 3, actual: 2 })));
    let mut writer = create(3).unwrap();
    let error = SealedError::from_io("write", writer.write_all(b"abcd").unwrap_err());
    assert!(matches!(error, SealedError::LengthChanged { expected: 3, actual: 4 }));
    assert!(matches!(writer.finish(), Err(SealedError::Poisoned { .. })));
}

#[test]
fn a_stream_reads_and_seeks() {
    let plaintext = plaintext(3 * C + 100);
    let (_, file) = seal_with(spec(), &plaintext);
    let mut stream = SealedRead::new(open(Seekable::new(Cursor::new(file))));
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all == plaintext);
    for (to, at) in [
        (SeekFrom::Start(5), 5),
        (SeekFrom::Current(-10), 0),
        (SeekFrom::End(-10), 3 * C + 90),
        (SeekFrom::Current(5 - (2 << 16)), C + 100),
        (SeekFrom::Start(C as u64 - 2), C - 2),
    ] {
        assert_eq!(stream.seek(to).unwrap(), at as u64);
        let mut part = [0; 5];
        stream.read_exact(&mut part).unwrap();
        assert_eq!(part, plaintext[at..at + 5]);
    }
    assert!(stream.seek(SeekFrom::End(-(1 << 40))).is_err());
    stream.seek(SeekFrom::Start(u64::MAX)).unwrap();
    assert_eq!(stream.read(&mut [0; 5]).unwrap(), 0);
    assert!(stream.fill_buf().unwrap().is_empty());
}

#[test]
fn a_partial_read_touches_only_the_chunks_that_it_needs() {
    let plaintext = plaintext(10 * C);
    let (_, file) = seal_with(spec(), &plaintext);
    let reader = open(Counting::new(file, 0));
    let asked = |read: &dyn Fn()| {
        reader.source.requests.store(0, Ordering::Relaxed);
        reader.source.bytes.store(0, Ordering::Relaxed);
        read();
        (reader.source.requests.load(Ordering::Relaxed), reader.source.bytes.load(Ordering::Relaxed))
    };
    let one = asked(&|| {
        let mut dest = [0; 10];
        reader.read_range(5 * C as u64 - 5, &mut dest).unwrap();
        assert_eq!(dest, plaintext[5 * C - 5..5 * C + 5]);
    });
    assert_eq!(one, (2, 2 * C as u64));
    let shared = asked(&|| {
        let (mut a, mut b) = ([0; 10], [0; 10]);
        reader.read_ranges(&mut [(C as u64 + 90, &mut a), (C as u64, &mut b)], 1, &()).unwrap();
        assert_eq!((a, b), (plaintext[C + 90..C + 100].try_into().unwrap(), plaintext[C..C + 10].try_into().unwrap()));
    });
    assert_eq!(shared, (1, C as u64));
    assert_eq!(asked(&|| reader.read_range(7, &mut []).unwrap()), (0, 0));
}

#[test]
fn neighbouring_chunks_are_asked_for_together_where_the_source_likes_that() {
    let plaintext = plaintext(10 * C + 5);
    let (_, file) = seal_with(spec(), &plaintext);
    let reader = open(Counting::new(file, 4 * C as u64));
    let before = reader.source.requests.load(Ordering::Relaxed);
    assert!(read_all(&reader, 1) == plaintext);
    assert_eq!(reader.source.requests.load(Ordering::Relaxed) - before, 3);
    let mut dest = vec![0; 3 * C];
    reader.read_range(C as u64 / 2, &mut dest).unwrap();
    assert!(dest == plaintext[C / 2..C / 2 + 3 * C]);
    assert_eq!(reader.source.requests.load(Ordering::Relaxed) - before, 4);
}

#[test]
fn a_pipe_is_spooled_then_read() {
    let (_, file) = seal_with(spec(), &plaintext(C + 1));
    let (mut from, mut to) = io::pipe().unwrap();
    let spooled = std::thread::scope(|scope| {
        scope.spawn(move || to.write_all(&file).unwrap());
        spool(&mut from, &std::env::temp_dir(), 1 << 20).unwrap()
    });
    assert!(read_all(&open(spooled), 1) == plaintext(C + 1));
}

#[test]
fn a_stream_is_written_to_a_pipe_and_to_a_partial_file() {
    let (mut from, to) = io::pipe().unwrap();
    let mut file = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut writer = Writer::create(to, &key(), spec()).unwrap();
            io::copy(&mut plaintext(2 * C + 1).as_slice(), &mut writer).unwrap();
            writer.finish().unwrap();
        });
        from.read_to_end(&mut file).unwrap();
    });
    assert!(read_all(&open(&file), 1) == plaintext(2 * C + 1));

    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("x.sealed");
    let mut writer = Writer::create(PartialFile::create(&target, false).unwrap(), &key(), spec()).unwrap();
    writer.write_all(b"checkpoint").unwrap();
    let (_, partial) = writer.finish().unwrap();
    assert!(!target.exists());
    partial.commit().unwrap();
    assert_eq!(read_all(&open(std::fs::File::open(&target).unwrap()), 1), b"checkpoint");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_length_and_range_is_read_back(
        length in 0_usize..5 * C,
        pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
        writes in prop::collection::vec(1_usize..2 * C, 1..8),
        request in 0_u64..4 * C as u64,
        (threads, hashes, rings) in (0_usize..4, any::<bool>(), any::<bool>()),
    ) {
        let plaintext = plaintext(length);
        let engine = Some(if rings { Engine::Ring } else { Engine::AwsLc });
        let mut writer = Writer::create(Vec::new(), &key(), WriteSpec { hashes, engine, ..spec() }).unwrap();
        let mut left = plaintext.as_slice();
        for size in writes.iter().cycle() {
            let (now, later) = left.split_at(left.len().min(*size));
            writer.write_all(now).unwrap();
            left = later;
            if left.is_empty() { break }
        }
        let (_, file) = writer.finish().unwrap();
        let reader = open(Counting::new(file, request));
        prop_assert!(read_all(&reader, threads) == plaintext);

        let ranges: Vec<_> = pieces.iter().map(|(a, b)| {
            let (a, b) = (a.index(length + 1), b.index(length + 1));
            a.min(b)..a.max(b)
        }).collect();
        let mut places: Vec<_> = ranges.iter().map(|range| vec![1; range.len()]).collect();
        let mut asked: Vec<_> =
            ranges.iter().zip(&mut places).map(|(range, place)| (range.start as u64, place.as_mut_slice())).collect();
        reader.read_ranges(&mut asked, threads, &()).unwrap();
        for (range, place) in ranges.into_iter().zip(places) {
            prop_assert!(place == plaintext[range]);
        }
    }
}

#[derive(Default)]
struct Count(AtomicU64);

impl Progress for Count {
    fn advanced(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Counts what is asked of it.
struct Counting {
    bytes: AtomicU64,
    requests: AtomicU64,
    request_size: u64,
    inner: Arc<Vec<u8>>,
}

impl Counting {
    fn new(inner: Vec<u8>, request_size: u64) -> Self {
        Self { bytes: AtomicU64::new(0), requests: AtomicU64::new(0), request_size, inner: Arc::new(inner) }
    }
}

impl ReadAt for Counting {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.read_exact_at(buffer, offset)
    }
    fn len(&self) -> io::Result<u64> {
        ReadAt::len(&self.inner)
    }
    fn request_size(&self) -> u64 {
        self.request_size
    }
}
