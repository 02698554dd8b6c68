//! Boot logs and IMA logs, offline.

use super::{Desk, files, vectors};
use serde_json::{Value, json};
use std::{collections::BTreeMap, ffi::OsStr};
use strongroom_tests::{Machine, Node, bootlog};

/// Boot logs of real machines: rows, values, claims, and what becomes of values that are not theirs.
#[test]
fn real_boot_logs_lead_to_what_their_machines_held() {
    let Some(folder) = vectors("eventlog") else { return };
    let desk = Desk::new();
    let expected: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(folder.join("expected-pcrs.json")).unwrap()).unwrap();
    for (name, facts) in &expected {
        let log = folder.join(name);
        let judged = desk.verify("tcg-log", &[&log], &[]);
        judged.holds();
        assert_eq!(judged.row("L7"), "not_checked");
        assert_eq!(judged.document["pcrs"]["sha256"], facts["sha256"], "{name}");
        assert_eq!(judged.document["vouched"]["boot"], false);
        let boot = &judged.document["claims"]["boot"];
        assert_eq!(boot["startup_locality"], facts["startup_locality"], "{name}");
        assert!(boot["secure_boot"]["enabled"].is_boolean() && !boot["boot_path"]["images"][0].is_null(), "{boot:#}");

        let pcrs = desk.json("pcrs.json", facts);
        let given = ["--pcrs", pcrs.to_str().unwrap()];
        let judged = desk.verify("tcg-log", &[&log], &given);
        judged.holds();
        assert_eq!(judged.row("L7"), "passed");
        assert_eq!(judged.document["vouched"]["boot"], false, "nobody signed these values");
        assert_eq!(judged.document["unexplained"], json!([]));

        let mut other = facts.clone();
        other["sha256"]["4"] = json!("00".repeat(32));
        desk.json("pcrs.json", &other);
        let judged = desk.verify("tcg-log", &[&log], &given);
        judged.refused_by(&["L7"]);
        assert!(judged.note("L7").contains("PCR 4"), "{}", judged.note("L7"));
        // Allowed, it stays shown.
        let judged = desk.verify("tcg-log", &[&log], &[&given[..], &["--allow", "L7"]].concat());
        judged.holds();
        assert_eq!(judged.row("L7"), "refused");
    }
}

/// Values of several banks: each is compared, or said not to be.
#[test]
fn no_bank_of_the_values_is_passed_over() {
    let Some(folder) = vectors("eventlog") else { return };
    let desk = Desk::new();
    let mut compared = 0;
    for log in files(&folder).iter().filter(|log| log.extension().is_none_or(|kind| kind != "json")) {
        let all = desk.verify("tcg-log", &[log], &[]).document["pcrs"].clone();
        let file = desk.json("all.json", &all);
        let given = ["--pcrs", file.to_str().unwrap()];
        desk.verify("tcg-log", &[log], &given).holds();
        for bank in all.as_object().unwrap().keys().filter(|bank| *bank != "sha256") {
            let mut other = all.clone();
            let length = all[bank]["4"].as_str().unwrap().len();
            other[bank]["4"] = json!("ab".repeat(length / 2));
            desk.json("all.json", &other);
            let judged = desk.verify("tcg-log", &[log], &given);
            judged.refused_by(&["L7"]);
            assert!(judged.note("L7").contains("PCR 4"), "{}", judged.note("L7"));
            compared += 1;
        }
        desk.json("all.json", &json!({ "sha256": all["sha256"], "sha512": { "4": "ab".repeat(64) } }));
        let judged = desk.verify("tcg-log", &[log], &given);
        judged.holds();
        assert!(judged.note("L7").contains("the values of sha512 that were given were not compared"));
    }
    assert!(compared > 0, "no log has two banks");
}

#[test]
fn logs_of_tpm_1_2_times_are_refused_by_name_and_allowed_by_nobody() {
    let Some(folder) = vectors("eventlog/edge") else { return };
    let desk = Desk::new();
    for log in files(&folder) {
        for options in [&[][..], &["--allow", "L1"]] {
            let judged = desk.verify("tcg-log", &[&log], options);
            judged.refused_by(&["L1"]);
            assert!(judged.note("L1").contains("SHA-1 format"), "{}: {}", log.display(), judged.note("L1"));
        }
    }
}

/// Bytes that are no log end with 2, and say what to give.
#[test]
fn what_is_no_log_is_malformed() {
    let desk = Desk::new();
    let log = Machine::default().boot_log().encode();
    let cut = desk.file("cut", &log[..log.len() - 3]);
    desk.verify("tcg-log", &[&cut], &[]).malformed("L1: the log ends inside");
    let zeros = desk.file("zeros", vec![0; 4096]);
    desk.verify("tcg-log", &[&zeros], &[]).malformed("neither a crypto-agile log nor one in the SHA-1 format");
    let whole = desk.file("whole", &log);
    desk.verify("ima-log", &[&whole], &[]).malformed("--kind tcg-log");
    desk.verify("tpm2", &[&whole], &[]).malformed("no quote");
    // A number that may be a PCR's is no log yet; an entry of another PCR is one.
    let number = desk.file("number", [&[2, 0, 0, 0][..], &[7; 1180]].concat());
    desk.verify("ima-log", &[&number], &[]).malformed("does not begin with an entry of PCR 10");
    let other = desk.file("other", format!("11 {} ima-ng sha1:{} /init\n", "ab".repeat(20), "cd".repeat(20)));
    desk.verify("ima-log", &[&other], &[]).refused_by(&["L8"]);
    let text = desk.file("text", "what is this\n");
    let empty = desk.file("empty", "");
    for kind in ["tcg-log", "ima-log", "tpm2"] {
        desk.verify(kind, &[&text], &[]).malformed("text");
        desk.verify(kind, &[&empty], &[]).malformed("empty");
        desk.verify(kind, &[&desk.path("absent")], &[]).malformed("absent");
    }
    desk.verify("tcg-log", &[&whole, &whole], &[]).malformed("a log is one file");
    desk.verify("tcg-log", &[&whole], &["--allow", "L99"]).malformed("there is no such row");
}

/// A machine's own log: a lie in it is told by the row that finds it, and a label that nothing hashes by none.
#[test]
fn a_lie_is_told_by_its_row() {
    let desk = Desk::new();
    let honest = Machine::default().boot_log();
    let pcrs: BTreeMap<u32, String> = honest.replay().iter().map(|(pcr, value)| (*pcr, hex::encode(value))).collect();
    let pcrs = desk.json("pcrs.json", &json!({ "sha256": pcrs }));
    let given = ["--pcrs", pcrs.to_str().unwrap()];
    let judge = |change: &dyn Fn(&mut bootlog::BootLog)| {
        let mut log = honest.clone();
        change(&mut log);
        desk.verify("tcg-log", &[&desk.file("log", log.encode())], &given)
    };
    judge(&|_| ()).holds();
    // A separator under another type.
    judge(&|log| {
        let separator = log.events.iter_mut().find(|event| event.pcr == 4 && event.kind == bootlog::kind::SEPARATOR);
        separator.unwrap().kind = bootlog::kind::EFI_ACTION;
    })
    .refused_by(&["L3"]);
    // Data that the digest is not of.
    judge(&|log| {
        let variable = log.events.iter_mut().find(|event| event.kind == bootlog::kind::EFI_VARIABLE_DRIVER_CONFIG);
        *variable.unwrap().data.last_mut().unwrap() ^= 1;
    })
    .refused_by(&["L3"]);
    // An event that never was.
    judge(&|log| log.events.push(bootlog::Event::of_data(9, bootlog::kind::IPL, "more"))).refused_by(&["L7"]);
    // SHA-1 alone proves nothing, however well laid out.
    let weak = desk.file("weak", sha1_only());
    let judged = desk.verify("tcg-log", &[&weak], &[]);
    assert!(
        judged.refused().contains(&"L1") && judged.note("L1").contains("no digests of SHA-256"),
        "{:#}",
        judged.document
    );
}

/// What a vault has a log explain it has to explain here: a log from which the boot loader's events were taken out
/// does not.
#[test]
fn every_value_but_imas_has_to_be_explained() {
    let desk = Desk::new();
    let log = Machine::default().boot_log();
    let mut held: BTreeMap<u32, String> = log.replay().iter().map(|(pcr, value)| (*pcr, hex::encode(value))).collect();
    held.insert(12, "00".repeat(32));
    let judge = |held: &BTreeMap<u32, String>, log: &bootlog::BootLog| {
        let pcrs = desk.json("pcrs.json", &json!({ "sha256": held }));
        desk.verify("tcg-log", &[&desk.file("log", log.encode())], &["--pcrs", pcrs.to_str().unwrap()])
    };
    judge(&held, &log).holds();
    let mut cut = log.clone();
    cut.events.retain(|event| event.pcr < 8);
    let judged = judge(&held, &cut);
    judged.refused_by(&["L7"]);
    assert!(judged.note("L7").contains("PCR 8"), "{}", judged.note("L7"));
    assert_eq!(judged.document["unexplained"], json!([8, 9, 14]));
    assert_eq!(judged.document["vouched"]["boot"], false);
    // One that the log does not touch, and that somebody extended.
    let mut more = held.clone();
    more.insert(12, "ab".repeat(32));
    judge(&more, &log).refused_by(&["L7"]);
    // IMA's, and what anybody may reset, are others' to explain; it is said.
    let mut others = held.clone();
    others.extend([10, 16].map(|pcr| (pcr, "ab".repeat(32))));
    others.extend([(17, "ff".repeat(32)), (18, "00".repeat(32))]);
    let judged = judge(&others, &log);
    judged.holds();
    assert_eq!(judged.document["unexplained"], json!([10, 16]));
    let arguments = ["evidence", "verify", "--kind", "tcg-log"].map(OsStr::new).to_vec();
    let (log_file, pcrs) = (desk.path("log"), desk.path("pcrs.json"));
    let rest = [log_file.as_os_str(), OsStr::new("--pcrs"), pcrs.as_os_str()];
    let text = desk.run(&[&arguments[..], &rest].concat()).done().unwrap().stdout;
    assert!(text.contains("no log here explains PCR 10") && text.contains("no log here explains PCR 16"), "{text}");
    // Where the log explains none of the values, nothing was compared.
    let judged = judge(&BTreeMap::from([(16, "ab".repeat(32))]), &log);
    assert_eq!((judged.row("L7"), &judged.document["vouched"]["boot"]), ("not_checked", &json!(false)));
}

/// A text is the kernel's command line only where every event that could be it is read.
#[test]
fn no_other_text_is_named_as_the_kernels() {
    let desk = Desk::new();
    let machine = Machine::default();
    let told = |log: &bootlog::BootLog| {
        let file = desk.file("boot.log", log.encode());
        let ran = |words: &[&str]| {
            let words: Vec<&OsStr> = words.iter().map(OsStr::new).chain([file.as_os_str()]).collect();
            desk.run(&words).done().unwrap().stdout
        };
        (ran(&["evidence", "explain"]), ran(&["evidence", "verify", "--kind", "tcg-log"]))
    };
    let honest = machine.boot_log();
    let (explained, verified) = told(&honest);
    let line = format!("as a digest confirms it: {}", machine.kernel_cmdline);
    assert!(explained.contains(&line) && !verified.contains("no text that is known"), "{explained}{verified}");

    // The command and its line under other words; before them a text that names a root.
    let mut log = honest.clone();
    let wrong = "set kernelopts=root=/dev/innocent";
    let at = log.events.iter().position(|event| event.pcr == 8).unwrap();
    log.events.insert(at, bootlog::Event::of(8, bootlog::kind::IPL, wrong.as_bytes(), format!("grub_cmd: {wrong}\0")));
    for event in log.events.iter_mut().filter(|event| event.pcr == 8) {
        if event.data.windows(machine.kernel_cmdline.len()).any(|part| part == machine.kernel_cmdline.as_bytes()) {
            event.data = b"grub_cmd: else\0".to_vec();
        }
    }
    let (explained, verified) = told(&log);
    for text in [&explained, &verified] {
        assert!(!text.contains("confirms it") && !text.contains("kernel: "), "{text}");
        assert!(text.contains("2 events of PCRs 8 and 12 are of no text that is known"), "{text}");
    }
    assert!(explained.contains("kernel command line: not known"), "{explained}");
}

/// What another command starts has no line, and what stands in PCR 12 is told whole or not at all.
#[test]
fn a_text_that_is_no_line_is_told_as_a_text() {
    let desk = Desk::new();
    let told = |pcr8: &[&str], pcr12: &[&str]| {
        let mut log = Machine::default().boot_log();
        log.events.retain(|event| event.pcr != 8);
        for (pcr, texts) in [(8, pcr8), (12, pcr12)] {
            let text = |text: &&str| {
                let said = if pcr == 8 { format!("grub_cmd: {text}\0") } else { (*text).to_owned() };
                bootlog::Event::of(pcr, bootlog::kind::IPL, text.as_bytes(), said)
            };
            log.events.extend(texts.iter().map(text));
        }
        let file = desk.file("boot.log", log.encode());
        let ran = |words: &[&str]| {
            let words: Vec<&OsStr> = words.iter().map(OsStr::new).chain([file.as_os_str()]).collect();
            desk.run(&words).done().unwrap().stdout
        };
        (ran(&["evidence", "explain"]), ran(&["evidence", "verify", "--kind", "tcg-log"]))
    };
    let pair = ["linux /vmlinuz ro", "/vmlinuz ro"];
    let (explained, verified) = told(&pair, &[]);
    assert!(explained.contains("confirms it: /vmlinuz ro") && verified.contains("kernel: /vmlinuz ro"), "{explained}");
    let chained = "chainloader /EFI/evil.efi";
    for texts in [&[chained][..], &[pair[0], pair[1], chained], &["/vmlinuz ro"]] {
        let (explained, verified) = told(texts, &[]);
        assert!(!explained.contains("confirms it") && !verified.contains("kernel: "), "{explained}{verified}");
        assert!(texts.iter().all(|text| explained.contains(&format!("a text of PCR 8: {text}"))), "{explained}");
    }
    let (explained, verified) = told(&pair, &["/vmlinuz init=/bin/sh rd.break", "quiet"]);
    for text in [&explained, &verified] {
        assert!(!text.contains("confirms it") && !text.contains("kernel: "), "{text}");
        assert!(text.contains("init=/bin/sh rd.break") && text.contains(": quiet"), "{text}");
    }
}

/// A crypto-agile log whose only bank is SHA-1: its header, and one separator.
fn sha1_only() -> Vec<u8> {
    let mut log = bootlog::BootLog::new(Vec::new());
    // One algorithm: TPM_ALG_SHA1, 20 bytes.
    let at = log.spec_id.len() - 5;
    log.spec_id[at..at + 4].copy_from_slice(&[4, 0, 20, 0]);
    let mut bytes = log.encode();
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &[0; 4]);
    for pcr in 0..8_u32 {
        bytes.extend_from_slice(&[pcr.to_le_bytes(), [4, 0, 0, 0], [1, 0, 0, 0]].concat());
        bytes.extend_from_slice(&[&[4, 0][..], digest.as_ref(), &[4, 0, 0, 0], &[0; 4]].concat());
    }
    bytes
}

#[test]
fn a_real_ima_log_is_read_whole() {
    let Some(folder) = vectors("ima") else { return };
    let desk = Desk::new();
    let log = folder.join("ascii_runtime_measurements");
    let judged = desk.verify("ima-log", &[&log], &[]);
    judged.holds();
    assert_eq!(judged.row("L8"), "not_checked");
    assert_eq!(judged.document["claims"]["ima"]["entries"], 826);
    let pcr = judged.document["pcrs"]["sha1"]["10"].as_str().unwrap().to_owned();
    let pcrs = desk.json("pcrs.json", &json!({ "sha1": { "10": pcr } }));
    let given = ["--pcrs", pcrs.to_str().unwrap()];
    let judged = desk.verify("ima-log", &[&log], &given);
    judged.holds();
    // Of PCR 10 alone: which boot the log is of was not compared.
    assert_eq!(judged.row("L8"), "not_checked");
    for part in ["SHA-1", "boot_aggregate was not compared"] {
        assert!(judged.note("L8").contains(part), "{}", judged.note("L8"));
    }
    let text = std::fs::read_to_string(&log).unwrap();
    // A line that was changed, and a log that does not lead to the value.
    let changed = desk.file("changed", text.replacen("/init", "/evil", 1));
    desk.verify("ima-log", &[&changed], &given).refused_by(&["L8"]);
    let short = desk.file("short", text.split_inclusive('\n').take(800).collect::<String>());
    desk.verify("ima-log", &[&short], &given).refused_by(&["L8"]);
    desk.verify("ima-log", &[&short], &[]).holds();
}

#[test]
fn violations_may_be_allowed_and_wrong_hashes_not() {
    let desk = Desk::new();
    let node = Node::boot(&Machine::default()).unwrap();
    node.ima().measure("/usr/bin/job", b"job").unwrap();
    let log = node.ima_log();
    desk.verify("ima-log", &[&log], &[]).holds();
    node.ima().violate("/var/log/wtmp").unwrap();
    let judged = desk.verify("ima-log", &[&log], &[]);
    judged.refused_by(&["L8"]);
    assert!(judged.note("L8").contains("/var/log/wtmp"), "{}", judged.note("L8"));
    let judged = desk.verify("ima-log", &[&log], &["--allow", "L8"]);
    judged.holds();
    assert_eq!((judged.row("L8"), &judged.document["claims"]["ima"]["violations"]), ("refused", &json!(1)));
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(12).position(|window| window == b"/usr/bin/job").unwrap();
    bytes[at + 9] ^= 1;
    let changed = desk.file("changed", bytes);
    desk.verify("ima-log", &[&changed], &["--allow", "L8"]).refused_by(&["L8"]);
}

#[test]
fn files_are_held_against_a_sets_lists() {
    let desk = Desk::new();
    let node = Node::boot(&Machine::default()).unwrap();
    node.ima().measure("/usr/bin/job", b"job").unwrap();
    let digest = |content: &[u8]| format!("sha256:{}", hex::encode(strongroom_protocol::sha256(content)));
    let judge = |files: Value| {
        let set = json!({ "bank": "sha256", "pcrs": { "0": "00".repeat(32) }, "files": files });
        let set = desk.json("set.json", &set);
        desk.verify("ima-log", &[&node.ima_log()], &["--reference", set.to_str().unwrap()])
    };
    judge(json!({ "accepted": { digest(b"job"): "the job" } })).holds();
    judge(json!({ "required": { digest(b"job"): "the job" } })).holds();
    for files in [
        json!({ "accepted": { digest(b"agent"): "the agent" } }),
        json!({ "forbidden": { digest(b"job"): "the job" } }),
        json!({ "required": { digest(b"agent"): "the agent" } }),
    ] {
        let judged = judge(files);
        judged.refused_by(&[]);
        assert_eq!(judged.document["reference"]["matches"], false);
    }
}

/// Whatever is done to a log, the answer is one of the three, and never a crash.
#[test]
fn no_bytes_crash_it() {
    let desk = Desk::new();
    let node = Node::boot(&Machine::default()).unwrap();
    node.ima().measure("/usr/bin/job", b"job").unwrap();
    let mut cases: Vec<(&str, Vec<u8>)> =
        vec![("tcg-log", std::fs::read(node.boot_log()).unwrap()), ("ima-log", std::fs::read(node.ima_log()).unwrap())];
    if let Some(folder) = vectors("azure-vtpm") {
        cases.push(("tpm2", std::fs::read(folder.join("quote.bin")).unwrap()));
    }
    for (kind, bytes) in cases {
        for step in 0..40 {
            let at = bytes.len() * step / 40;
            let mut changed = bytes.clone();
            changed[at] = !changed[at];
            for case in [changed, bytes[..at].to_vec()] {
                let judged = desk.verify(kind, &[&desk.file("case", &case)], &[]);
                assert!(matches!(judged.code, Some(0..=2)), "{kind} at {at}: {:?} {}", judged.code, judged.stderr);
                assert_eq!(judged.code == Some(2), judged.document.is_null(), "{kind} at {at}");
            }
        }
    }
}

/// `explain` says what a log shows, and nothing that a log says can steer a terminal or forge a line.
#[test]
fn a_log_is_explained_in_words() {
    let desk = Desk::new();
    let machine = Machine::default();
    let mut log = machine.boot_log();
    let steering = "grub_cmd: \u{1b}[2J\nSecure Boot is off\u{202e}";
    log.events.push(bootlog::Event::of(9, bootlog::kind::IPL, b"file", steering));
    let log = desk.file("boot.log", log.encode());
    let node = Node::boot(&machine).unwrap();
    node.ima().measure("/usr/bin/job\u{1b}[1A", b"job").unwrap();
    node.ima().violate("/var/log/wtmp").unwrap();
    let old = desk.file("old", old_log());
    let ran = desk.run(
        &["evidence", "explain"]
            .map(OsStr::new)
            .into_iter()
            .chain([log.as_os_str(), node.ima_log().as_os_str(), old.as_os_str()])
            .collect::<Vec<_>>(),
    );
    let text = ran.done().unwrap().stdout;
    for words in [
        "Secure Boot is on",
        "shimx64.efi",
        &machine.kernel_cmdline,
        "the kernel took over from firmware",
        "/usr/bin/job\\u{1b}[1A",
        "1 violations",
        "said: /var/log/wtmp",
        "L8 refused",
        "L1 refused",
        "SHA-1 format",
        "what to do:",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("Secure Boot is off")), "{text}");
    let ran = desk.run(&["evidence", "explain", "/etc/hostname"].map(OsStr::new));
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
}

/// IMA without a TPM begins with zeros, and says so.
#[test]
fn a_boot_aggregate_of_zeros_is_told_as_what_it_is() {
    let desk = Desk::new();
    let line = |digest: &str| {
        let digest = hex::decode(digest).unwrap();
        let fields = [&b"sha256:\0"[..], &digest].concat();
        let data = [&(40_u32).to_le_bytes()[..], &fields, &(15_u32).to_le_bytes(), b"boot_aggregate\0"].concat();
        let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &data);
        format!("10 {} ima-ng sha256:{} boot_aggregate\n", hex::encode(hash), hex::encode(digest))
    };
    let explain = |text: String| {
        let log = desk.file("ima", text);
        desk.run(&[OsStr::new("evidence"), OsStr::new("explain"), log.as_os_str()]).done().unwrap().stdout
    };
    let text = explain(line(&"00".repeat(32)));
    assert!(text.contains("boot_aggregate of zeros") && text.contains("no TPM"), "{text}");
    let text = explain(line(&"01".repeat(32)));
    assert!(text.contains("what the boot left in the PCRs"), "{text}");
}

/// One event of a log in the SHA-1 format.
fn old_log() -> Vec<u8> {
    [&[0; 4][..], &[8, 0, 0, 0], &[7; 20], &[2, 0, 0, 0], b"V1"].concat()
}
