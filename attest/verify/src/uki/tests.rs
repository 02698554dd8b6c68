use super::*;

/// A section to be written: name, bytes in memory (`VirtualSize`), content in the file.
type Written<'a> = (&'a str, usize, &'a [u8]);

/// A PE file with these sections.
fn image(sections: &[Written<'_>]) -> Vec<u8> {
    let mut file = vec![0; 0x40];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x40;
    file.extend(b"PE\0\0\x64\x86");
    file.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
    file.extend([0; 12]);
    file.extend([16, 0, 0, 0]);
    file.extend([0; 16]);
    let mut at = file.len() + 40 * sections.len();
    for (name, virtual_size, content) in sections {
        let mut name = name.as_bytes().to_vec();
        name.resize(8, 0);
        file.extend(name);
        // Virtual size, virtual address, size and place in the file.
        for number in [*virtual_size, 0x1000, content.len(), at] {
            file.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        file.extend([0; 16]);
        at += content.len();
    }
    for (_, _, content) in sections {
        file.extend(*content);
    }
    file
}

fn whole<'a>(name: &'a str, content: &'a str) -> Written<'a> {
    (name, content.len(), content.as_bytes())
}

fn magic(version: &str) -> String {
    format!("#### LoaderInfo: systemd-stub {version} ####\0")
}

fn names(sections: &[Written<'_>]) -> Vec<String> {
    let file = image(sections);
    let events = Uki::parse(&file).unwrap().events(HashAlg::Sha256);
    events.into_iter().step_by(2).map(|event| event.hint.replace("name of section ", "")).collect()
}

fn refused(sections: &[Written<'_>]) -> UkiRefused {
    Uki::parse(&image(sections)).unwrap_err()
}

const KERNEL: Written<'_> = (".linux", 6, b"kernel");

#[test]
fn sections_are_measured_by_name_and_content_in_the_stubs_order() {
    let magic = magic("252.39-1~deb12u2");
    let file = image(&[
        whole(".text", "code"),
        whole(".sdmagic", &magic),
        whole(".initrd", "initrd"),
        whole(".cmdline", "quiet"),
        KERNEL,
    ]);
    crate::seeds::keep("uki", "magic", &file);
    let uki = Uki::parse(&file).unwrap();
    assert_eq!(uki.command_line(), Some("quiet"));
    let digest = |bytes: &[u8]| HashAlg::Sha256.digest(&[bytes]);
    let measured: [&[u8]; 6] = [b".linux\0", b"kernel", b".cmdline\0", b"quiet", b".initrd\0", b"initrd"];
    let value = measured.iter().fold(vec![0; 32], |value, part| HashAlg::Sha256.digest(&[&value, &digest(part)]));
    assert_eq!(uki.pcr11(HashAlg::Sha256, &[]), value);
    let later = HashAlg::Sha256.digest(&[&value, &digest(b"enter-initrd")]);
    assert_eq!(uki.pcr11(HashAlg::Sha256, &["enter-initrd"]), later);
    assert_eq!(uki.sections(HashAlg::Sha256)[".initrd"], hex(&digest(b"initrd")));
    let events: Vec<Vec<u8>> = uki.events(HashAlg::Sha256).into_iter().map(|event| event.digest.0).collect();
    assert_eq!(events, measured.map(digest));
}

#[test]
fn a_stub_measures_what_its_version_knows() {
    let measured = |version: &str| {
        let magic = magic(version);
        names(&[
            whole(".sdmagic", &magic),
            KERNEL,
            whole(".pcrsig", "s"),
            whole(".hwids", "h"),
            whole(".sbat", "b"),
            whole(".uname", "u"),
            whole(".ucode", "m"),
        ])
    };
    assert_eq!(measured("252"), [".linux"]);
    assert_eq!(measured("254.1"), [".linux", ".uname"]);
    assert_eq!(measured("255~rc1"), [".linux", ".uname", ".sbat"]);
    assert_eq!(measured("256.7"), [".linux", ".ucode", ".uname", ".sbat"]);
    assert_eq!(measured("257-3"), [".linux", ".ucode", ".uname", ".sbat", ".hwids"]);
    assert_eq!(measured("devel"), measured("300"), "a stub that does not say is taken for the newest");
    let old = magic("251.9");
    assert_eq!(refused(&[whole(".sdmagic", &old), KERNEL]), UkiRefused::OldStub { version: 251 });
}

#[test]
fn content_is_what_lies_in_memory() {
    let digest =
        |sections: &[Written<'_>]| Uki::parse(&image(sections)).unwrap().sections(HashAlg::Sha256)[".linux"].clone();
    let plain = digest(&[KERNEL]);
    assert_eq!(digest(&[(".linux", 6, b"kernel, then filling of the file")]), plain);
    let longer = HashAlg::Sha256.digest(&[b"kernel", &[0; 5000]]);
    assert_eq!(digest(&[(".linux", 5006, b"kernel")]), hex(&longer));
    // Sections of no bytes are not there.
    assert_eq!(names(&[KERNEL, (".osrel", 0, b"file only")]), [".linux"]);
    let zeros = image(&[KERNEL, (".cmdline", 6, b"quiet")]);
    assert_eq!(Uki::parse(&zeros).unwrap().command_line(), None);
}

#[test]
fn the_first_profile_is_the_one_that_is_booted() {
    let profiles = [
        KERNEL,
        whole(".cmdline", "base"),
        whole(".profile", "ID=first"),
        whole(".cmdline", "first"),
        whole(".profile", "ID=second"),
        whole(".cmdline", "second"),
        whole(".osrel", "second"),
    ];
    crate::seeds::keep("uki", "profiles", &image(&profiles));
    assert_eq!(names(&profiles), [".linux", ".cmdline", ".profile"]);
    assert_eq!(Uki::parse(&image(&profiles)).unwrap().command_line(), Some("first"));
    // Before version 257 there were no profiles, and of equal names the first counted.
    let magic = magic("256");
    let older: Vec<_> = [whole(".sdmagic", &magic)].into_iter().chain(profiles).collect();
    assert_eq!(names(&older), [".linux", ".osrel", ".cmdline"]);
    assert_eq!(Uki::parse(&image(&older)).unwrap().command_line(), Some("base"));
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    assert_eq!(refused(&[whole(".cmdline", "quiet")]), UkiRefused::NoKernel);
    assert_eq!(refused(&[KERNEL, whole(".dtbauto", "tree")]), UkiRefused::DependsOnMachine { section: ".dtbauto" });
    assert!(matches!(refused(&[(".linux", MAX, b"kernel")]), UkiRefused::Section { section: ".linux", .. }));
    let file = image(&[whole(".initrd", "initrd"), KERNEL]);
    Uki::parse(&file).unwrap();
    assert!(matches!(Uki::parse(&file[..file.len() - 1]), Err(UkiRefused::Section { section: ".linux", .. })));
    for end in 0..0x68 + 80 {
        assert!(matches!(Uki::parse(&file[..end]), Err(UkiRefused::Malformed { .. })), "{end}");
    }
    let mut other = file.clone();
    other[0x40] = b'N';
    assert!(matches!(Uki::parse(&other), Err(UkiRefused::Malformed { .. })));
    let mut far = file;
    far[0x3c..0x40].copy_from_slice(&[0xff; 4]);
    assert!(matches!(Uki::parse(&far), Err(UkiRefused::Malformed { .. })));
}

/// More in memory than is ever filled up with zeros.
const MAX: usize = (1 << 20) + 7;
