//! What verification costs: quotes, boot logs and IMA logs as machines have them, beside the bare signature and
//! hash work in them; and the worst inputs within the caps.
//!
//! `cargo bench -p strongroom-attest --bench evidence -- [--rounds N] [--json FILE]`
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails ends")]

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use std::{collections::BTreeMap, fs, hint::black_box, path::PathBuf, time::Instant};
use strongroom_attest::{
    QuoteEvidence, QuoteExpectation,
    ima::{self, ImaExpectation, ImaLog},
    log::{self, BootLog, Quoted, Replay},
    quote,
    tpm::{HashAlg, Public},
};
use strongroom_protocol::{
    Bytes,
    evidence::{PcrBank, PcrMap, PcrSelection},
};

#[path = "evidence/bombs.rs"]
mod bombs;
#[path = "evidence/nvidia.rs"]
mod nvidia;
#[path = "evidence/snp.rs"]
mod snp;
#[path = "evidence/tdx.rs"]
mod tdx;

/// One line of the table: what it is, and the microseconds that it takes; bare work where there is some to compare.
struct Line {
    name: String,
    bytes: usize,
    work: Box<dyn FnMut()>,
    bare: Option<Box<dyn FnMut()>>,
}

fn main() {
    let (mut rounds, mut json) = (31, None::<PathBuf>);
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        match name.as_str() {
            "--rounds" => rounds = given.next().unwrap().parse().unwrap(),
            "--json" => json = Some(given.next().unwrap().into()),
            _ => {}
        }
    }
    let lines =
        [a_quote(), a_boot_log(), an_ima_log(10_000, false), an_ima_log(10_000, true)].into_iter().chain(worst());
    let lines = lines.chain(snp::lines()).chain(nvidia::lines()).chain(tdx::lines());
    let lines = lines.chain(bombs::all().into_iter().map(|mut bomb| {
        let became = bomb.row.map_or("accepted".to_owned(), |row| format!("refused: {row}"));
        line(&format!("worst: {} ({became})", bomb.name), bomb.bytes, move || drop(black_box((bomb.judge)())))
    }));
    let mut out = Vec::new();
    for mut line in lines {
        let (mut work, mut bare) = (Vec::new(), Vec::new());
        // Interleaved, so that what else the machine does falls on both.
        for _ in 0..rounds {
            work.push(micros(&mut line.work));
            bare.extend(line.bare.as_mut().map(micros));
        }
        // The worst inputs have a bound in time of a processor, which the round that was disturbed least comes near.
        let least = work.iter().copied().fold(f64::INFINITY, f64::min);
        let (us, bare_us) = if bare.is_empty() { (least, None) } else { (median(work), Some(median(bare))) };
        println!("{:<50} {:>9} bytes {us:>9.1} us, bare {bare_us:.1?}", line.name, line.bytes);
        out.push(serde_json::json!({ "name": line.name, "bytes": line.bytes, "us": us, "bare_us": bare_us }));
    }
    if let Some(file) = json {
        fs::write(file, serde_json::to_vec_pretty(&out).unwrap()).unwrap();
    }
}

fn micros(work: &mut Box<dyn FnMut()>) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn line(name: &str, bytes: usize, work: impl FnMut() + 'static) -> Line {
    Line { name: name.to_owned(), bytes, work: Box::new(work), bare: None }
}

/// A quote of nine PCRs, ECDSA on P-256; the bare work is the signature and the hashes of what is signed.
fn a_quote() -> Line {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let point = key.public_key().as_ref().to_vec();
    let public = |attributes: u32, scheme: &[u8]| {
        let head =
            [&[0, 0x23, 0, 0x0b][..], &attributes.to_be_bytes(), &[0, 0, 0, 0x10], scheme, &[0, 3, 0, 0x10, 0, 32]];
        Public::parse(&[&head.concat(), &point[1..33], &[0, 32], &point[33..]].concat()).unwrap()
    };
    let ak = public(0x0005_0072, &[0, 0x18, 0, 0x0b]);
    let ek_name = ak.name();
    let signer = strongroom_attest::tpm::qualified_name(&ek_name, &ak.name()).unwrap();
    let values: PcrMap = PcrMap((0..9).map(|pcr| (pcr, Bytes(vec![pcr + 1; 32]))).collect());
    let joined: Vec<u8> = values.0.values().flat_map(|value| value.0.clone()).collect();
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let message = [
        &b"\xffTCG\x80\x18"[..],
        &sized(&signer),
        &sized(&[7; 32]),
        &[0; 8],
        &[0, 0, 0, 1, 0, 0, 0, 1, 1],
        &[0; 8],
        &[0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0x01, 0],
        &sized(&HashAlg::Sha256.digest(&[&joined])),
    ]
    .concat();
    let bare_signature = key.sign(&random, &message).unwrap().as_ref().to_vec();
    let (r, s) = bare_signature.split_at(32);
    let signature = [&[0, 0x18, 0, 0x0b][..], &sized(r), &sized(s)].concat();
    let (bare_message, bare_joined) = (message.clone(), joined);
    let verify = move || {
        let selection = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..9).collect() };
        let evidence =
            QuoteEvidence { message: &message, signature: &signature, pcr_bank: PcrBank::Sha256, pcr_values: &values };
        let expect =
            QuoteExpectation { ak: &ak, ek_name: &ek_name, extra_data: [7; 32], selection: &selection, boot: None };
        black_box(quote::verify(evidence, &expect).unwrap());
    };
    let bare = move || {
        let key = ring::signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
        key.verify(&bare_message, &bare_signature).unwrap();
        black_box(HashAlg::Sha256.digest(&[&bare_joined]));
    };
    Line { bare: Some(Box::new(bare)), ..line("quote, ECDSA P-256, 9 PCRs", 0, verify) }
}

/// An event to be written: PCR, type, what is measured, data.
type Event = (u32, u32, Vec<u8>, Vec<u8>);

fn boot_log(algorithms: &[(u16, usize)], events: &[Event]) -> Vec<u8> {
    let mut spec = b"Spec ID Event03\0\0\0\0\0\0\x02\x6a\x02".to_vec();
    spec.extend(u32::try_from(algorithms.len()).unwrap().to_le_bytes());
    for &(id, length) in algorithms {
        spec.extend(id.to_le_bytes());
        spec.extend(u16::try_from(length).unwrap().to_le_bytes());
    }
    spec.push(0);
    let mut out = [&0_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), &[0; 20]].concat();
    out.extend(u32::try_from(spec.len()).unwrap().to_le_bytes());
    out.extend(spec);
    for (pcr, kind, measured, data) in events {
        for number in [*pcr, *kind, u32::try_from(algorithms.len()).unwrap()] {
            out.extend(number.to_le_bytes());
        }
        for &(id, length) in algorithms {
            out.extend(id.to_le_bytes());
            out.extend(HashAlg::from_id(id).map_or(vec![9; length], |hash| hash.digest(&[measured])));
        }
        out.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        out.extend(data);
    }
    out
}

const SHA1: (u16, usize) = (4, 20);
const SHA256: (u16, usize) = (0x0b, 32);
const SHA384: (u16, usize) = (0x0c, 48);
const SHA512: (u16, usize) = (0x0d, 64);

fn variable(guid: &[u8; 16], name: &str, value: &[u8]) -> Vec<u8> {
    let sizes = [name.len() as u64, value.len() as u64].map(u64::to_le_bytes).concat();
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [&guid[..], &sizes, &name, value].concat()
}

const GLOBAL: [u8; 16] = *b"\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\0\xe0\x98\x03\x2b\x8c";
const SECURITY: [u8; 16] = *b"\xcb\xb2\x19\xd7\x3a\x3d\x96\x45\xa3\xbc\xda\xd0\x0e\x67\x65\x6f";
const X509: [u8; 16] = *b"\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72";

fn list(kind: &[u8; 16], entries: &[u8], size: usize) -> Vec<u8> {
    let sizes = [28 + entries.len(), 0, size].map(|size| u32::try_from(size).unwrap().to_le_bytes()).concat();
    [&kind[..], &sizes, entries].concat()
}

/// A boot that every row accepts, with these databases and what follows.
fn a_boot(database: &[u8], forbidden: &[u8], more: Vec<Event>) -> Vec<Event> {
    let same = |pcr, kind, data: Vec<u8>| (pcr, kind, data.clone(), data);
    let config = |guid, name, value: &[u8]| same(7, 0x8000_0001, variable(guid, name, value));
    let authority = [&[7; 16][..], &[0x30; 1200]].concat();
    let mut events = vec![
        same(0, 8, b"firmware".to_vec()),
        config(&GLOBAL, "SecureBoot", &[1]),
        config(&GLOBAL, "PK", database),
        config(&GLOBAL, "KEK", database),
        config(&SECURITY, "db", database),
        config(&SECURITY, "dbx", forbidden),
        same(7, 4, vec![0; 4]),
    ];
    events.extend((0..7).map(|pcr| same(pcr, 4, vec![0; 4])));
    events.push(same(7, 0x8000_00e0, variable(&SECURITY, "db", &authority)));
    events.push((4, 0x8000_0003, b"boot loader".to_vec(), vec![0; 90]));
    events.extend(more);
    events.push(same(5, 0x8000_0007, b"Exit Boot Services Invocation".to_vec()));
    events.push(same(5, 0x8000_0007, b"Exit Boot Services Returned with Success".to_vec()));
    events
}

fn grub(text: String) -> Event {
    let data = format!("grub_cmd: {text}\0").into_bytes();
    (8, 0x0d, text.into_bytes(), data)
}

/// About 50 KB, three banks, Secure Boot with the usual databases, GRUB; the bare work is the extensions of every
/// bank, and the hash of the data of every event whose digest is of it.
fn a_boot_log() -> Line {
    let certificates = list(&X509, &[&[5; 16][..], &[6; 1500]].concat(), 1516);
    let hashes = list(&[1; 16], &[3; 48 * 300], 48);
    let more = (0..110).map(|at| grub(format!("[ -f (hd0,gpt2)/grub2/user-{at}.cfg ] and some more of it"))).collect();
    let events = a_boot(&certificates.repeat(2), &hashes, more);
    let bytes = boot_log(&[SHA1, SHA256, SHA384], &events);
    let replay = Replay::of(&BootLog::parse(&bytes).unwrap()).unwrap();
    let values: BTreeMap<u8, Vec<u8>> = (0..9).map(|pcr| (pcr, replay.value(HashAlg::Sha256, pcr).unwrap())).collect();
    let banks = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384];
    let bare = move || {
        for (_, kind, measured, data) in &events {
            for bank in banks {
                let digest = if measured == data || *kind == 0x0d {
                    bank.digest(&[measured])
                } else {
                    vec![9; bank.digest_length()]
                };
                black_box(bank.digest(&[&digest, &digest]));
            }
        }
    };
    let size = bytes.len();
    let verify = move || {
        let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
        let explained: Vec<u8> = (0..9).collect();
        let quoted = Quoted { bank: HashAlg::Sha256, values, explained: &explained };
        black_box(log::verify(&bytes, Some(&quoted)).unwrap());
    };
    Line { bare: Some(Box::new(bare)), ..line("boot log, 3 banks", size, verify) }
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

/// Entries of template `ima-sig` without signatures, and what each is the hash of.
fn ima_log(entries: usize, path: impl Fn(usize) -> String, ascii: bool, form: HashAlg) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut out, mut all) = (Vec::new(), Vec::new());
    for at in 0..entries {
        let path = if at == 0 { "boot_aggregate".to_owned() } else { path(at) };
        let digest = HashAlg::Sha256.digest(&[&at.to_le_bytes()]);
        let data =
            [field(&[b"sha256:\0", &digest[..]].concat()), field(format!("{path}\0").as_bytes()), field(b"")].concat();
        let hash = form.digest(&[&data]);
        if ascii {
            let hex = hex::encode::<&[u8]>;
            out.extend(format!("10 {} ima-sig sha256:{} {path} \n", hex(&hash), hex(&digest)).into_bytes());
        } else {
            out.extend([&10_u32.to_le_bytes()[..], &hash, &field(b"ima-sig"), &field(&data)].concat());
        }
        all.push(data);
    }
    (out, all)
}

fn ima_line(name: &str, bytes: Vec<u8>, bank: HashAlg) -> Line {
    let pcr = ImaLog::parse(&bytes, 0).unwrap().replay(bank);
    line(name, bytes.len(), move || {
        let expect = ImaExpectation { bank, pcr: &pcr, boot: BTreeMap::new(), verified: None, allow_violations: false };
        black_box(ima::verify(&bytes, &expect).unwrap());
    })
}

/// The bare work is the hash of each entry by SHA-1 and by the bank, and the extension.
fn an_ima_log(entries: usize, ascii: bool) -> Line {
    let (bytes, all) =
        ima_log(entries, |at| format!("/usr/lib/x86_64-linux-gnu/libsome-{at}.so.1"), ascii, HashAlg::Sha1);
    let bare = move || {
        let mut value = vec![0; 32];
        for data in &all {
            black_box(HashAlg::Sha1.digest(&[data]));
            value = HashAlg::Sha256.digest(&[&value, &HashAlg::Sha256.digest(&[data])]);
        }
        black_box(value);
    };
    let name = format!("IMA log, {entries} entries, {}", if ascii { "ASCII" } else { "binary" });
    Line { bare: Some(Box::new(bare)), ..ima_line(&name, bytes, HashAlg::Sha256) }
}

/// Inputs that fill the caps.
fn worst() -> Vec<Line> {
    let boot = |name: &str, bytes: Vec<u8>| {
        assert!(bytes.len() <= strongroom_protocol::limits::BOOT_LOG, "{name}: {}", bytes.len());
        line(name, bytes.len(), move || drop(black_box(log::verify(&bytes, None))))
    };
    let one = list(&X509, &[5; 17], 17);
    let none = list(&[1; 16], &[3; 17], 17);
    let every = [SHA1, SHA256, SHA384, SHA512, (0x12, 1), (0x27, 1), (0x28, 1), (0x29, 1)];
    let tiny = |count: usize| (0..count).map(|at| grub(format!("{at}"))).collect::<Vec<_>>();
    let unread = |count: usize, size: usize| {
        (0..count)
            .map(|at| (8, 0x0d, at.to_le_bytes().to_vec(), [&b"grub_cmd: "[..], &vec![b'a'; size]].concat()))
            .collect()
    };
    let sections = (0..8000).map(|at: usize| (11, 0x0d, at.to_le_bytes().to_vec(), Vec::new()));
    let sections =
        [(11, 0x0d, b".linux\0".to_vec(), Vec::new()), (11, 0x0d, vec![1], Vec::new())].into_iter().chain(sections);
    let ima_paths = |at: usize| format!("/{at}");
    vec![
        boot("worst: boot log, 4,000 events, 8 algorithms", boot_log(&every, &a_boot(&one, &none, tiny(4000)))),
        boot("worst: boot log, 8,100 events, 1 algorithm", boot_log(&[SHA256], &a_boot(&one, &none, tiny(8100)))),
        boot(
            "worst: boot log, 8,100 events that cannot be read",
            boot_log(&[SHA256], &a_boot(&one, &none, unread(8100, 60))),
        ),
        boot(
            "worst: boot log, one event that cannot be read",
            boot_log(&[SHA512], &a_boot(&one, &none, unread(1, 1_040_000))),
        ),
        boot(
            "worst: boot log, a database of tiny entries",
            boot_log(&[SHA256], &a_boot(&one, &list(&[2; 16], &[5; 17 * 60_000], 17), Vec::new())),
        ),
        boot(
            "worst: boot log, PCR 11 of a unified kernel image",
            boot_log(&[SHA256], &a_boot(&one, &none, sections.collect())),
        ),
        ima_line("worst: IMA log, binary, SHA-1", ima_log(17_000, ima_paths, false, HashAlg::Sha1).0, HashAlg::Sha384),
        ima_line(
            "worst: IMA log, binary, SHA-512",
            ima_log(13_000, ima_paths, false, HashAlg::Sha512).0,
            HashAlg::Sha384,
        ),
        ima_line("worst: IMA log, ASCII, SHA-1", ima_log(14_000, ima_paths, true, HashAlg::Sha1).0, HashAlg::Sha384),
        ima_line(
            "worst: IMA log, ASCII, spaces in paths",
            ima_log(13_500, |at| format!("/a b {at}"), true, HashAlg::Sha1).0,
            HashAlg::Sha384,
        ),
        ima_line(
            "worst: IMA log, ASCII, one long path after another",
            ima_log(480, |at| format!("/{at}{}", " a".repeat(2000)), true, HashAlg::Sha1).0,
            HashAlg::Sha384,
        ),
        {
            let mut bytes = b"10 ".to_vec();
            bytes.extend([b'1'; 40]);
            bytes.extend(b" ima-sig sha256:00 /");
            bytes.extend(vec![b' '; 2_000_000]);
            line("worst: IMA log, ASCII, one line that nothing explains", bytes.len(), move || {
                drop(black_box(ImaLog::parse(&bytes, 0)));
            })
        },
    ]
}
