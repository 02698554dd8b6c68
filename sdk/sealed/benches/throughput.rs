//! How fast sealed files open and are sealed, beside memcpy and plain reading and writing of as many
//! bytes: all in one process, interleaved, the file in the page cache, the
//! destination an arena of protected memory.
//!
//! `cargo bench -p strongroom-sealed -- [--bytes N] [--rounds N] [--json FILE]`

use std::{
    fs::{self, File},
    hint::black_box,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};
use strongroom_envelope::{ObjectKey, Secret, WriterKey};
use strongroom_memory::{Arena, Protection};
use strongroom_protocol::{ObjectId, WriterId};
use strongroom_sealed::{Engine, Expected, Opening, WriteSpec, seal_file};

/// What a plain reader or writer asks for at once: as much as a chunk has by default.
const BLOCK: usize = 1 << 20;

type Failure = Box<dyn std::error::Error>;

struct Arguments {
    bytes: usize,
    rounds: usize,
    json: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, Failure> {
    let mut parsed = Arguments { bytes: 1 << 30, rounds: 7, json: None };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--bytes" => parsed.bytes = value()?.parse::<usize>()?.max(1).next_multiple_of(BLOCK),
            "--rounds" => parsed.rounds = value()?.parse::<usize>()?.max(1),
            "--json" => parsed.json = Some(value()?.into()),
            // Cargo adds it.
            "--bench" => {}
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    Ok(parsed)
}

/// One line of the table.
struct Operation {
    name: String,
    kind: Kind,
    threads: usize,
    seconds: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Memcpy,
    PlainRead,
    Open(Engine, bool),
    PlainWrite,
    Seal(Engine, bool),
}

impl Kind {
    /// What its throughput is compared with.
    fn plain(self) -> Self {
        match self {
            Self::Memcpy | Self::PlainRead | Self::Open(..) => Self::PlainRead,
            Self::PlainWrite | Self::Seal(..) => Self::PlainWrite,
        }
    }

    fn name(self) -> String {
        let engine = |engine| if engine == Engine::Ring { "ring" } else { "aws-lc-rs" };
        let suffix = |with| if with { ", hashes" } else { "" };
        match self {
            Self::Memcpy => "memcpy".into(),
            Self::PlainRead => "plain read".into(),
            Self::Open(library, hashed) => format!("open, {}{}", engine(library), suffix(hashed)),
            Self::PlainWrite => "plain write".into(),
            Self::Seal(library, hashed) => format!("seal, {}{}", engine(library), suffix(hashed)),
        }
    }
}

struct Bench {
    plaintext: Vec<u8>,
    dest: Arena,
    source: File,
    directory: PathBuf,
    target: PathBuf,
}

fn writer_key() -> WriterKey {
    WriterKey::new(Secret::take(&mut [1; 32]))
}

fn object_key() -> ObjectKey {
    writer_key().object_key(ObjectId::from([3; 16]))
}

fn spec(engine: Engine, hashes: bool) -> WriteSpec {
    let mut spec = WriteSpec::new("bench", 1, WriterId::from([2; 16]));
    spec.object = Some(ObjectId::from([3; 16]));
    spec.engine = Some(engine);
    spec.hashes = hashes;
    spec
}

impl Bench {
    fn sealed(&self, hashes: bool) -> PathBuf {
        self.directory.join(if hashes { "hashed.sealed" } else { "plain.sealed" })
    }

    /// Seconds that one run takes.
    fn run(&mut self, kind: Kind, threads: usize) -> Result<f64, Failure> {
        let target = self.target.as_path();
        let start = Instant::now();
        match kind {
            Kind::Memcpy => {
                let share = self.dest.len().div_ceil(threads);
                std::thread::scope(|scope| {
                    for (to, from) in self.dest.as_mut_slice().chunks_mut(share).zip(self.plaintext.chunks(share)) {
                        scope.spawn(|| black_box(to).copy_from_slice(black_box(from)));
                    }
                });
            }
            Kind::PlainRead => read_plain(&self.source, self.dest.as_mut_slice(), threads)?,
            Kind::Open(engine, hashes) => {
                let source = File::open(self.sealed(hashes))?;
                let opening = Opening::start(source, &Expected::asset("bench"))?.require_hashes(hashes).engine(engine);
                opening.with_key(&object_key())?.read_into(self.dest.as_mut_slice(), threads, &())?;
            }
            Kind::PlainWrite => write_plain(&self.source, self.plaintext.len(), target, threads)?,
            Kind::Seal(engine, hashes) => {
                seal_file(&self.source, target, true, &writer_key(), &spec(engine, hashes), threads, &())?;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        match kind {
            Kind::PlainWrite | Kind::Seal(..) => fs::remove_file(target)?,
            _ => assert!(self.dest.as_slice() == self.plaintext, "{}: wrong bytes", kind.name()),
        }
        self.dest.as_mut_slice().fill(0xaa);
        Ok(seconds)
    }
}

fn read_plain(source: &File, dest: &mut [u8], threads: usize) -> Result<(), Failure> {
    let share = dest.len().div_ceil(threads).next_multiple_of(BLOCK);
    std::thread::scope(|scope| {
        let workers: Vec<_> = dest
            .chunks_mut(share)
            .enumerate()
            .map(|(i, part)| {
                scope.spawn(move || {
                    let start = (i * share) as u64;
                    (start..)
                        .step_by(BLOCK)
                        .zip(part.chunks_mut(BLOCK))
                        .try_for_each(|(at, block)| source.read_exact_at(block, at))
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| Ok(worker.join().map_err(|_| "a reader failed")??))
    })
}

/// Copies by positioned reads and writes, then brings it to the disk: what sealing does but for the cipher.
fn write_plain(source: &File, length: usize, target: &Path, threads: usize) -> Result<(), Failure> {
    let file = File::create(target)?;
    let share = length.div_ceil(threads).next_multiple_of(BLOCK);
    std::thread::scope(|scope| {
        let file = &file;
        let workers: Vec<_> = (0..length)
            .step_by(share)
            .map(|start| {
                scope.spawn(move || {
                    let mut block = vec![0; BLOCK];
                    for at in (start..length.min(start + share)).step_by(BLOCK) {
                        let block = block.get_mut(..BLOCK.min(length - at)).unwrap_or_default();
                        source.read_exact_at(block, at as u64)?;
                        file.write_all_at(block, at as u64)?;
                    }
                    Ok::<_, std::io::Error>(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| -> Result<(), Failure> { Ok(worker.join().map_err(|_| "a writer failed")??) })
    })?;
    Ok(file.sync_all()?)
}

fn prepare(bytes: usize) -> Result<Bench, Failure> {
    // What is read lies in the page cache of a disk's file system; what is written goes to memory
    // where the system has such a directory, so that no disk is measured.
    let id = std::process::id();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("strongroom-bench-{id}"));
    fs::create_dir_all(&directory)?;
    let memory = Path::new("/dev/shm");
    let target =
        if memory.is_dir() { memory.join(format!("strongroom-bench-{id}")) } else { directory.join("written") };
    let mut plaintext = vec![0_u8; bytes];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for word in plaintext.chunks_mut(8) {
        // xorshift64: only so that no two chunks are alike.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (to, from) in word.iter_mut().zip(state.to_le_bytes()) {
            *to = from;
        }
    }
    let path = directory.join("plaintext");
    fs::write(&path, &plaintext)?;
    let bench = Bench {
        dest: Arena::allocate(bytes, &Protection::default())?,
        plaintext,
        source: File::open(path)?,
        directory,
        target,
    };
    for hashes in [false, true] {
        let target = bench.sealed(hashes);
        seal_file(&bench.source, &target, true, &writer_key(), &spec(Engine::fastest(), hashes), 0, &())?;
    }
    Ok(bench)
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let pair = [sorted.get(middle), sorted.get(sorted.len().saturating_sub(1) / 2)];
    pair.into_iter().flatten().sum::<f64>() / 2.0
}

/// The fastest run: the one that other work on the machine disturbed least.
fn best(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Failure> {
    let Arguments { bytes, rounds, json } = arguments()?;
    let [aws_lc, ring] = Engine::measure();
    println!("1 MiB in cache: aws-lc-rs {aws_lc:?}, ring {ring:?}; chosen: {:?}", Engine::fastest());
    let mut bench = prepare(bytes)?;
    let result = measure(&mut bench, bytes, rounds, json.as_deref());
    fs::remove_dir_all(&bench.directory)?;
    result
}

fn measure(bench: &mut Bench, bytes: usize, rounds: usize, json: Option<&Path>) -> Result<(), Failure> {
    // Exact: a file of this bench has far fewer than 2^32 blocks.
    let length = f64::from(u32::try_from(bytes / BLOCK)?) * 1_048_576.0;
    let fastest = Engine::fastest();
    let kinds = [
        Kind::Memcpy,
        Kind::PlainRead,
        Kind::Open(Engine::AwsLc, false),
        Kind::Open(Engine::Ring, false),
        Kind::Open(fastest, true),
        Kind::PlainWrite,
        Kind::Seal(Engine::AwsLc, false),
        Kind::Seal(Engine::Ring, false),
        Kind::Seal(fastest, true),
    ];
    let mut operations: Vec<_> = [1, 2]
        .into_iter()
        .flat_map(|threads| {
            kinds.map(|kind| Operation { name: kind.name(), kind, threads, seconds: Vec::with_capacity(rounds) })
        })
        .collect();
    for _ in 0..rounds {
        for operation in &mut operations {
            operation.seconds.push(bench.run(operation.kind, operation.threads)?);
        }
    }

    println!("{bytes} bytes, {rounds} interleaved rounds, medians and best; ratio: throughput over the plain one's");
    println!(
        "{:<28} {:>7} {:>9} {:>8} {:>6} {:>9} {:>6}",
        "operation", "threads", "median s", "GB/s", "ratio", "best s", "ratio"
    );
    let mut lines = Vec::new();
    for operation in &operations {
        let seconds = median(&operation.seconds);
        let fastest = best(&operation.seconds);
        let plain = operations.iter().find(|o| o.kind == operation.kind.plain() && o.threads == operation.threads);
        let plain = plain.unwrap_or(operation);
        let speed = length / seconds / 1e9;
        let ratio = median(&plain.seconds) / seconds;
        let best_ratio = best(&plain.seconds) / fastest;
        let Operation { name, threads, .. } = operation;
        println!("{name:<28} {threads:>7} {seconds:>9.4} {speed:>8.2} {ratio:>6.2} {fastest:>9.4} {best_ratio:>6.2}");
        lines.push(serde_json::json!({
            "name": format!("{name}, {threads} thread{}", if *threads == 1 { "" } else { "s" }),
            "operation": name, "bytes": bytes, "threads": threads,
            "median_s": seconds, "gb_per_s": speed, "ratio_to_plain": ratio,
            "best_s": fastest, "best_ratio_to_plain": best_ratio,
        }));
    }
    // No copy is saved and nothing overlaps: what one core at a time can reach with this kernel's read.
    let [aws_lc, ring] = Engine::measure();
    let cipher = aws_lc.min(ring).as_secs_f64() * f64::from(u32::try_from(bytes / BLOCK)?);
    for plain in operations.iter().filter(|o| o.kind == Kind::PlainRead) {
        let name = "bound: plain read + cipher in cache";
        let threads = plain.threads;
        let read = median(&plain.seconds);
        let seconds = read + cipher / f64::from(u32::try_from(threads)?);
        let (speed, ratio) = (length / seconds / 1e9, read / seconds);
        println!("{name:<35} {threads:>1} {seconds:>8.4} {speed:>8.2} {ratio:>6.2}  (computed)");
        lines.push(serde_json::json!({
            "name": format!("{name}, {threads} thread{}", if threads == 1 { "" } else { "s" }),
            "operation": name, "bytes": bytes, "threads": threads, "computed": true,
            "median_s": seconds, "gb_per_s": speed, "ratio_to_plain": ratio,
        }));
    }
    if let Some(path) = json {
        fs::write(path, serde_json::to_string_pretty(&lines)? + "\n")?;
    }
    Ok(())
}
