use super::*;
use std::sync::LazyLock;

/// An entry to be written.
#[derive(Clone)]
struct Written {
    template: &'static str,
    algorithm: &'static str,
    digest: Vec<u8>,
    path: &'static str,
    signature: Vec<u8>,
    violation: bool,
}

fn file(path: &'static str) -> Written {
    let digest = HashAlg::Sha256.digest(&[path.as_bytes()]);
    Written { template: "ima-ng", algorithm: "sha256", digest, path, signature: Vec::new(), violation: false }
}

fn aggregate(boot: &BTreeMap<u8, Vec<u8>>) -> Written {
    let values: Vec<&[u8]> = boot.values().map(Vec::as_slice).collect();
    Written { digest: HashAlg::Sha256.digest(&values), ..file(BOOT_AGGREGATE) }
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

impl Written {
    /// The template's data, as they are hashed.
    fn data(&self) -> Vec<u8> {
        if self.template == "ima" {
            let mut name = self.path.as_bytes().to_vec();
            name.resize(256, 0);
            return [&self.digest[..], &name].concat();
        }
        let digest = [self.algorithm.as_bytes(), b":\0", &self.digest].concat();
        let mut data = [field(&digest), field(&[self.path.as_bytes(), b"\0"].concat())].concat();
        if self.template == "ima-sig" {
            data.extend(field(&self.signature));
        }
        data
    }

    fn hash(&self) -> Vec<u8> {
        if self.violation { vec![0; 20] } else { HashAlg::Sha1.digest(&[&self.data()]) }
    }

    fn binary(&self) -> Vec<u8> {
        let mut out = [&10_u32.to_le_bytes()[..], &self.hash(), &field(self.template.as_bytes())].concat();
        if self.template == "ima" {
            out.extend(&self.digest);
            out.extend(field(self.path.as_bytes()));
        } else {
            out.extend(field(&self.data()));
        }
        out
    }

    fn ascii(&self) -> Vec<u8> {
        let digest = if self.template == "ima" {
            hex(&self.digest)
        } else {
            format!("{}:{}", self.algorithm, hex(&self.digest))
        };
        let end = if self.template == "ima-sig" { format!(" {}", hex(&self.signature)) } else { String::new() };
        format!("10 {} {} {digest} {}{end}\n", hex(&self.hash()), self.template, self.path).into_bytes()
    }
}

fn boot() -> BTreeMap<u8, Vec<u8>> {
    (0..10).map(|pcr| (pcr, vec![pcr + 1; 32])).collect()
}

fn log() -> Vec<Written> {
    let signed = Written { template: "ima-sig", signature: vec![3, 2, 4, 9], ..file("/usr/bin/a program") };
    let unsigned = Written { template: "ima-sig", ..file("/usr/lib/libc.so.6") };
    vec![aggregate(&boot()), file("/sbin/init"), signed, unsigned, file("/usr/bin/job")]
}

fn binary(log: &[Written]) -> Vec<u8> {
    log.iter().flat_map(Written::binary).collect()
}

fn ascii(log: &[Written]) -> Vec<u8> {
    log.iter().flat_map(Written::ascii).collect()
}

fn pcr_after(log: &[Written]) -> Vec<u8> {
    log.iter().fold(vec![0; 32], |value, entry| {
        let hash = if entry.violation { vec![0xff; 32] } else { HashAlg::Sha256.digest(&[&entry.data()]) };
        HashAlg::Sha256.digest(&[&value, &hash])
    })
}

fn judge<'a>(
    bytes: &[u8],
    pcr: &'a [u8],
    change: impl FnOnce(&mut ImaExpectation<'a>),
) -> Result<Measured, ImaRefused> {
    static BOOT: LazyLock<BTreeMap<u8, Vec<u8>>> = LazyLock::new(boot);
    let boot = BOOT.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    let mut expect = ImaExpectation { bank: HashAlg::Sha256, pcr, boot, verified: None, allow_violations: false };
    change(&mut expect);
    verify(bytes, &expect)
}

#[test]
fn l8_both_forms_say_the_same() {
    let (log, pcr) = (log(), pcr_after(&log()));
    let claims = judge(&binary(&log), &pcr, |_| {}).unwrap();
    let text = judge(&ascii(&log), &pcr, |_| {}).unwrap();
    assert_eq!((claims.bytes, text.bytes), (binary(&log).len() as u64, ascii(&log).len() as u64));
    assert_eq!(Measured { bytes: claims.bytes, ..text }, claims);
    assert_eq!((claims.entries, claims.violations, claims.boot_aggregate_checked), (5, 0, true));
    assert_eq!(claims.files[&digest("/usr/bin/a program")], "/usr/bin/a program");
    assert_eq!(ImaLog::parse(&binary(&log), 0).unwrap().replay(HashAlg::Sha256), pcr);
}

/// What is covered never ends behind what was sent, and the next part goes on from there.
#[test]
fn l8_a_last_line_needs_no_newline() {
    let (log, pcr) = (log(), pcr_after(&log()));
    let whole = ascii(&log);
    let short = &whole[..whole.len() - 1];
    let first = judge(short, &pcr, |_| {}).unwrap();
    assert_eq!((first.bytes, first.entries), (short.len() as u64, 5));
    assert_eq!(judge(&whole, &pcr, |_| {}).unwrap().bytes, whole.len() as u64);
    let longer = [log.clone(), vec![file("/usr/bin/later"), file("/usr/bin/last")]].concat();
    let (later, pcr) = (ascii(&longer), pcr_after(&longer));
    let next = judge(&later[short.len()..], &pcr, |expect| expect.verified = Some(&first)).unwrap();
    assert_eq!((next.bytes, next.entries), (later.len() as u64, 7));
    let next = judge(&later[short.len()..later.len() - 1], &pcr, |expect| expect.verified = Some(&first)).unwrap();
    assert_eq!(next.bytes, later.len() as u64 - 1);
    // A whole log does not begin with one.
    assert!(judge(&[b"\n", &whole[..]].concat(), &pcr, |_| {}).is_err());
}

#[test]
fn l8_the_first_template_is_read_too() {
    let old = Written { template: "ima", algorithm: "sha1", digest: vec![7; 20], ..file("/bin/sh") };
    for bytes in [binary(std::slice::from_ref(&old)), ascii(std::slice::from_ref(&old))] {
        let parsed = ImaLog::parse(&bytes, 0).unwrap();
        assert_eq!(
            (parsed.entries()[0].path(), parsed.replay(HashAlg::Sha256)),
            ("/bin/sh", pcr_after(std::slice::from_ref(&old)))
        );
    }
}

/// A field as it is hashed, and as it is shown.
type Field = (&'static [u8], &'static str);

/// A log of two entries in one template, binary and ASCII: `fields` of the second, as they are hashed and as they are shown.
fn templated(template: &str, form: entry::Form, fields: &[Field]) -> [Vec<u8>; 2] {
    let first = [(&b"sha256:\0aggregate"[..], "sha256:616767726567617465"), (b"boot_aggregate\0", "boot_aggregate")];
    let of = |template: &str, fields: &[Field]| {
        let field = |bytes: &[u8]| {
            let mut field = Vec::new();
            form.push(&mut field, &[bytes]);
            field
        };
        let data: Vec<u8> = fields.iter().flat_map(|(bytes, _)| field(bytes)).collect();
        let hash = form.hash.digest(&[&data]);
        let pcr = if form.big_endian { 10_u32.to_be_bytes() } else { 10_u32.to_le_bytes() };
        let binary = [&pcr[..], &hash, &field(template.as_bytes()), &field(&data)].concat();
        let shown: String = fields.iter().flat_map(|(_, shown)| [" ", shown]).collect();
        [binary, format!("10 {} {template}{shown}\n", hex(&hash)).into_bytes()]
    };
    let ([mut binary, mut ascii], second) = (of("ima-ng", &first), of(template, fields));
    binary.extend(&second[0]);
    ascii.extend(&second[1]);
    [binary, ascii]
}

const USUAL: entry::Form = entry::Form { hash: HashAlg::Sha1, big_endian: false };

#[test]
fn l8_every_template_of_the_kernel_is_read_in_both_forms() {
    let ng: Field = (b"sha256:\0file", "sha256:66696c65");
    let name: Field = (b"/bin/job\0", "/bin/job");
    let (none, bytes): (Field, Field) = ((b"", ""), (b"\x03\x02", "0302"));
    let modsig: Field = (b"sha512:\0m", "sha512:6d");
    let numbers: [Field; 3] = [(b"\xe8\x03\0\0", "1000"), (b"\0\0\0\0", "0"), (b"\xed\x81", "33261")];
    let names: Field = (b"security.ima|security.selinux\0", "security.ima|security.selinux");
    let evm: Vec<_> = [ng, name, bytes, names, bytes, bytes].into_iter().chain(numbers).collect();
    let bare: Vec<_> = [ng, name, none, none, none, none].into_iter().chain(numbers).collect();
    let verity: Field = (b"verity:sha256:\0file", "verity:sha256:66696c65");
    let own: Field = (b"ima:sha256:\0file", "ima:sha256:66696c65");
    let all: [(&str, &[Field], &str); 14] = [
        ("ima-ng", &[ng, name], "sha256"),
        ("ima-sig", &[ng, name, bytes], "sha256"),
        ("ima-sig", &[ng, name, none], "sha256"),
        ("ima-buf", &[ng, name, bytes], "sha256"),
        ("ima-ngv2", &[own, name], "sha256"),
        ("ima-ngv2", &[verity, name], "verity:sha256"),
        ("ima-sigv2", &[verity, name, bytes], "verity:sha256"),
        ("ima-modsig", &[ng, name, bytes, modsig, bytes], "sha256"),
        ("ima-modsig", &[ng, name, none, none, none], "sha256"),
        ("evm-sig", &evm, "sha256"),
        ("evm-sig", &bare, "sha256"),
        ("d-ng|n-ng|imode", &[ng, name, numbers[2]], "sha256"),
        // Linux before 3.13 leaves spaces where they are.
        ("ima-ng", &[ng, (b"/bin/a job (deleted)\0", "/bin/a job (deleted)")], "sha256"),
        ("ima-sig", &[ng, (b"/bin/a job\0", "/bin/a job"), bytes], "sha256"),
    ];
    for (template, fields, algorithm) in all {
        for bytes in templated(template, USUAL, fields) {
            let log = ImaLog::parse(&bytes, 0).unwrap_or_else(|error| panic!("{template}: {error}"));
            assert_eq!(log.entries()[1].digest(), format!("{algorithm}:66696c65"), "{template}");
            assert_eq!(log.entries()[1].path(), fields[1].1, "{template}");
            // A change of whatever field is seen.
            let at = bytes.len() - 2;
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            ImaLog::parse(&wrong, 0).expect_err(template);
            let form = if bytes.starts_with(b"10") { "ascii" } else { "binary" };
            crate::seeds::keep("ima_log", &format!("{form}-{}", template.replace('|', "-")), &bytes);
        }
    }
    for unknown in ["ima-new", "", "n-ng|d-ng", "d-ng", "d-ng|n-ng|new", "d|n"] {
        let [binary, _] = templated(unknown, USUAL, &[ng, name]);
        assert!(matches!(ImaLog::parse(&binary, 0), Err(ImaRefused::L8Template { .. })), "{unknown}");
    }
    // Trailing spaces that somebody cut off.
    let [_, ascii] = templated("ima-sig", USUAL, &[ng, name, none]);
    let cut = ascii.strip_suffix(b" \n").unwrap();
    assert_eq!(ImaLog::parse(cut, 0).unwrap().entries()[1].path(), "/bin/job");
}

#[test]
fn l8_logs_of_other_banks_and_byte_orders_are_read() {
    let fields: [Field; 3] = [(b"sha256:\0file", "sha256:66696c65"), (b"/bin/job\0", "/bin/job"), (b"\x03", "03")];
    for hash in [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512] {
        for big_endian in [false, true] {
            let [binary, ascii] = templated("ima-sig", entry::Form { hash, big_endian }, &fields);
            let replayed = ImaLog::parse(&binary, 0).unwrap().replay(HashAlg::Sha256);
            assert_eq!(ImaLog::parse(&ascii, 0).unwrap().replay(HashAlg::Sha256), replayed, "{hash} {big_endian}");
            let mut wrong = binary;
            *wrong.last_mut().unwrap() ^= 1;
            assert_eq!(ImaLog::parse(&wrong, 0).unwrap_err(), ImaRefused::L8Hash { entry: 2 });
        }
    }
}

#[test]
fn l8_hashes_are_computed_again() {
    let (log, pcr) = (log(), pcr_after(&log()));
    let bytes = binary(&log);
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        judge(&wrong, &pcr, |_| {}).expect_err("a byte was changed");
    }
    let text = ascii(&log);
    for at in 0..text.len() - 1 {
        let mut wrong = text.clone();
        wrong[at] ^= 1;
        judge(&wrong, &pcr, |_| {}).expect_err("a byte was changed");
    }
    for end in 1..bytes.len() {
        if let Ok(shorter) = ImaLog::parse(&bytes[..end], 0) {
            assert!(shorter.entries().len() < log.len());
            judge(&bytes[..end], &pcr, |_| {}).expect_err("entries are missing");
        }
    }
}

#[test]
fn l8_claims_are_of_what_the_quote_covers() {
    let log = log();
    let quoted = pcr_after(&log[..3]);
    let claims = judge(&binary(&log), &quoted, |_| {}).unwrap();
    assert_eq!((claims.entries, claims.files.len()), (3, 2));
    assert!(!claims.files.values().any(|path| path == "/usr/bin/job"), "it was measured after the quote");
    let other = pcr_after(&log[1..]);
    assert!(matches!(judge(&binary(&log), &other, |_| {}), Err(ImaRefused::L8NotCovered { .. })));
    assert!(matches!(judge(&binary(&log[..4]), &pcr_after(&log), |_| {}), Err(ImaRefused::L8NotCovered { .. })));
}

#[test]
fn l8_a_later_part_goes_on_from_the_verified_one() {
    let log = log();
    let first = judge(&binary(&log[..2]), &pcr_after(&log[..2]), |_| {}).unwrap();
    assert_eq!((first.entries, first.bytes), (2, binary(&log[..2]).len() as u64));
    let pcr = pcr_after(&log);
    let claims = judge(&binary(&log[2..]), &pcr, |expect| expect.verified = Some(&first)).unwrap();
    assert_eq!(claims, judge(&binary(&log), &pcr, |_| {}).unwrap(), "in parts as at once");
    // Nothing new.
    assert_eq!(judge(b"", &pcr, |expect| expect.verified = Some(&claims)).unwrap(), claims);
    // From the wrong place, or without what came before.
    assert!(judge(&binary(&log[3..]), &pcr, |expect| expect.verified = Some(&first)).is_err());
    assert!(judge(&binary(&log[2..]), &pcr, |_| {}).is_err());
    let fewer = pcr_after(&log[..1]);
    let shrunk = judge(&binary(&log[..1]), &fewer, |expect| expect.verified = Some(&first));
    assert!(matches!(shrunk, Err(ImaRefused::L8NotCovered { .. })), "the prefix never shrinks");
}

fn digest(path: &str) -> String {
    format!("sha256:{}", hex(&HashAlg::Sha256.digest(&[path.as_bytes()])))
}

#[test]
fn l8_files_are_held_against_lists() {
    let log = log();
    let measured = judge(&binary(&log), &pcr_after(&log), |_| {}).unwrap();
    let list = |paths: &[&str]| paths.iter().map(|path| (digest(path), (*path).to_owned())).collect();
    let all = list(&["/sbin/init", "/usr/bin/a program", "/usr/lib/libc.so.6", "/usr/bin/job", "/usr/bin/other"]);
    let lists = FileLists { accepted: Some(all), ..FileLists::default() };
    let held = |lists: &FileLists| measured.claims([("set", lists)]).listed["set"].clone();
    assert_eq!(held(&lists), Listed::default());
    assert_eq!(held(&FileLists::default()), Listed::default(), "a set without lists accepts any file");
    let fewer = FileLists { accepted: Some(list(&["/sbin/init", "/usr/lib/libc.so.6"])), ..FileLists::default() };
    let found = held(&fewer);
    assert_eq!((found.unlisted, found.forbidden, found.examples.len()), (2, 0, 2));
    let forbidding = FileLists { forbidden: list(&["/usr/bin/job", "/usr/bin/other"]), ..lists.clone() };
    let found = held(&forbidding);
    assert_eq!((found.unlisted, found.forbidden), (0, 1));
    let job = ListedFile { digest: digest("/usr/bin/job"), path: "/usr/bin/job".into(), forbidden: true };
    assert_eq!(found.examples, [job]);
    // A kernel that hashes otherwise does not hide what is forbidden.
    let by_another_hash = [(format!("sha512:{}", "00".repeat(64)), "/usr/bin/other".to_owned())].into();
    let found = held(&FileLists { forbidden: by_another_hash, ..FileLists::default() });
    assert_eq!((found.unlisted, found.forbidden), (4, 0));
    // Nor does one entry in that hash protect the others from nothing.
    let by_two: BTreeMap<String, String> = [
        (format!("sha512:{}", "00".repeat(64)), "/usr/bin/other".to_owned()),
        (digest("/usr/bin/another"), "/usr/bin/another".to_owned()),
    ]
    .into();
    let found = held(&FileLists { forbidden: by_two, ..FileLists::default() });
    assert_eq!((found.unlisted, found.forbidden), (4, 0), "each could be the file that is forbidden by the other hash");
    let cut = [("sha256:00".to_owned(), String::new())].into();
    assert_eq!(held(&FileLists { forbidden: cut, ..FileLists::default() }).unlisted, 4, "no digest forbids any file");
    let requiring = FileLists { required: list(&["/usr/bin/job", "/usr/bin/other"]), ..lists };
    assert_eq!(held(&requiring).missing, [digest("/usr/bin/other")]);
}

#[test]
fn l8_violations_are_refused_unless_allowed() {
    let mut log = log();
    log.insert(2, Written { violation: true, ..file("/var/log/messages") });
    let pcr = pcr_after(&log);
    for bytes in [binary(&log), ascii(&log)] {
        let refused = judge(&bytes, &pcr, |_| {}).unwrap_err();
        assert_eq!(refused, ImaRefused::L8Violation { entry: 3, path: "/var/log/messages".into() });
        let allowed = judge(&bytes, &pcr, |expect| expect.allow_violations = true).unwrap();
        assert_eq!((allowed.violations, allowed.files.len()), (1, 4));
    }
    // After what was quoted it is nobody's business yet.
    let early = pcr_after(&log[..2]);
    assert_eq!(judge(&binary(&log), &early, |_| {}).unwrap().entries, 2);
}

#[test]
fn l8_boot_aggregate_is_of_the_quoted_pcrs() {
    let log = log();
    let (bytes, pcr) = (binary(&log), pcr_after(&log));
    let other = vec![0xee; 32];
    for changed in 0..10 {
        let refused = judge(&bytes, &pcr, |expect| {
            expect.boot.insert(changed, &other);
        });
        assert!(matches!(refused, Err(ImaRefused::L8BootAggregate { last: 9, .. })), "PCR {changed}");
        let unknown = judge(&bytes, &pcr, |expect| {
            expect.boot.remove(&changed);
        });
        assert!(!unknown.unwrap().boot_aggregate_checked);
    }
    let without = &log[1..];
    assert_eq!(judge(&binary(without), &pcr_after(without), |_| {}).unwrap_err(), ImaRefused::L8NoBootAggregate);
}

#[test]
fn l8_what_is_no_log_is_refused() {
    let entry = |change: fn(&mut Written)| {
        let mut log = log();
        change(&mut log[1]);
        ImaLog::parse(&binary(&log), 0).unwrap_err()
    };
    assert!(matches!(entry(|e| e.template = "ima-novel"), ImaRefused::L8Template { entry: 2, .. }));
    let mut other = binary(&log());
    other[0] = 11;
    assert_eq!(ImaLog::parse(&other, 0).unwrap_err(), ImaRefused::L8Pcr { entry: 1, pcr: 11 });
    assert_eq!(ImaLog::parse(b"11 00", 0).unwrap_err(), ImaRefused::L8Pcr { entry: 1, pcr: 11 });
    assert!(ImaLog::parse(b"10 zz ima-ng sha1:00 /a", 0).unwrap_err().is_malformed());
    let long = vec![b'1'; limits::IMA_LOG + 1];
    assert!(matches!(ImaLog::parse(&long, 0), Err(ImaRefused::L8TooLong { .. })));
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ImaLog::parse(&bytes, 0);
            let _ = ImaLog::parse(&[&binary(&log()[..1]), &bytes[..]].concat(), 0);
            let _ = ImaLog::parse(&[&ascii(&log()[..1]), &bytes[..]].concat(), u64::MAX);
        }
    }
}
