//! Reference values: taken from logs and nodes, compared, proposed by one, put in force by another.

use super::Desk;
use crate::world::World;
use serde_json::{Value, json};
use std::ffi::OsStr;
use strongroom_protocol::{
    admin::{ReferenceState, ReferenceValues, ReferenceView, Role},
    sha256,
};
use strongroom_tests::{Machine, Node, Ran};

impl Desk {
    fn reference(&self, arguments: &[&str]) -> Ran {
        let arguments: Vec<&OsStr> = ["reference"].iter().chain(arguments).map(OsStr::new).collect();
        self.run(&arguments)
    }

    /// The values that a command prints.
    fn values(&self, arguments: &[&str]) -> ReferenceValues {
        serde_json::from_str(&self.reference(arguments).done().unwrap().stdout).unwrap()
    }
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn values_are_taken_from_logs() {
    let desk = Desk::new();
    let machine = Machine::default();
    let log = desk.file("boot.log", machine.boot_log().encode());
    let values = desk.values(&["from-eventlog", text(&log)]);
    for (pcr, value) in machine.boot_log().replay() {
        assert_eq!(values.pcrs.0[&u8::try_from(pcr).unwrap()].0, value, "PCR {pcr}");
    }
    assert_eq!(values.events.len(), machine.boot_log().events.len());
    assert!(values.events.iter().any(|event| event.pcr == 8 && event.hint.contains(&machine.kernel_cmdline)));

    let some = desk.values(&["from-eventlog", text(&log), "--pcrs", "0-3,8"]);
    assert_eq!(some.pcrs.0.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 8]);
    assert!(some.events.iter().all(|event| some.pcrs.0.contains_key(&event.pcr)));
    for wrong in [&["--pcrs", "0-3,10"][..], &["--pcrs", "24"], &["--bank", "sha384"], &["--bank", "sha1"]] {
        let ran = desk.reference(&[&["from-eventlog", text(&log)], wrong].concat());
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}{}", ran.stdout, ran.stderr);
    }

    let node = Node::boot(&machine).unwrap();
    node.ima().measure("/usr/bin/job", b"job").unwrap();
    let ima = node.ima_log();
    let kexec = desk.file("kexec", "a program");
    let digest = format!("sha256:{}", "ab".repeat(32));
    let lists = ["--ima", text(&ima), "--forbid", text(&kexec), "--require", &digest];
    let listed = desk.values(&[&["from-eventlog", text(&log)], &lists[..]].concat()).files;
    let of = |content: &[u8]| format!("sha256:{}", hex::encode(sha256(content)));
    assert_eq!(listed.accepted.unwrap().get(&of(b"job")).map(String::as_str), Some("/usr/bin/job"));
    assert!(listed.forbidden.contains_key(&of(b"a program")) && listed.required.contains_key(&digest));

    // What is printed is what can be imported, and judged by.
    let printed = desk.json("set.json", &values);
    assert_eq!(desk.values(&["import", text(&printed)]), values);
    desk.verify("tcg-log", &[&log], &["--reference", text(&printed)]).holds();
    let other = Machine { firmware: 2, ..machine };
    let other = desk.file("other.log", other.boot_log().encode());
    let judged = desk.verify("tcg-log", &[&other], &["--reference", text(&printed)]);
    judged.refused_by(&[]);
    assert_eq!(judged.document["reference"]["differing"], json!([0]));
    let cut = desk.file("cut", &std::fs::read(&log).unwrap()[..300]);
    assert_eq!(desk.reference(&["from-eventlog", text(&cut)]).code, Some(2));
    assert_eq!(desk.reference(&["from-uki", text(&cut)]).code, Some(2));
}

#[test]
fn a_difference_is_told_by_what_it_is() {
    let desk = Desk::new();
    let usual = Machine::default();
    let log = desk.file("boot.log", usual.boot_log().encode());
    let set = desk.json("set.json", &desk.values(&["from-eventlog", text(&log)]));
    let ran = desk.reference(&["diff", text(&set), text(&log)]).done().unwrap();
    assert!(ran.stdout.contains("are the same"), "{}", ran.stdout);

    let other = Machine { kernel_cmdline: "/vmlinuz root=/dev/vda single\u{1b}[2J".into(), ..usual.clone() };
    let other = desk.file("other.log", other.boot_log().encode());
    let ran = desk.reference(&["diff", text(&set), text(&other)]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("PCR 8 differs: kernel command line"), "{}", ran.stdout);
    assert!(ran.stdout.contains("/dev/vda single") && ran.stdout.contains(&usual.kernel_cmdline), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'));
    let ran = desk.run(&["--json", "reference", "diff", text(&set), text(&other)].map(OsStr::new));
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let differing: Vec<_> = document["pcrs"].as_array().unwrap().iter().map(|pcr| pcr["pcr"].clone()).collect();
    assert_eq!(differing, [json!(8), json!(9)]);
    assert_eq!(document["same"], false);

    // Bare values have no events: nothing is guessed.
    let values = other_values(&desk, &log);
    let ran = desk.reference(&["diff", text(&values), text(&log)]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("PCR 4 differs") && ran.stdout.contains("is not known"), "{}", ran.stdout);
    assert_eq!(desk.reference(&["diff", "no-such-file.json", text(&log)]).code, Some(2));
}

/// A set of a boot and that boot's log are the same: PCRs that nothing touched, as a quote has them, and files included.
#[test]
fn a_set_of_a_log_is_as_a_quote_of_its_boot() {
    let desk = Desk::new();
    let machine = Machine::default();
    let log = desk.file("boot.log", machine.boot_log().encode());
    let quoted = strongroom_protocol::evidence::PcrSelection::default_sha256().pcrs;
    let values = desk.values(&["from-eventlog", text(&log)]);
    assert_eq!(values.pcrs.0.keys().copied().collect::<Vec<_>>(), quoted);
    assert_eq!(values.pcrs.0[&12].0, [0; 32]);
    let node = Node::boot(&machine).unwrap();
    let ima = node.ima_log();
    let with_files = desk.json("set.json", &desk.values(&["from-eventlog", text(&log), "--ima", text(&ima)]));
    let some = desk.json("some.json", &desk.values(&["from-eventlog", text(&log), "--pcrs", "0-7,9"]));
    for set in [&with_files, &some] {
        desk.reference(&["diff", text(set), text(&log)]).done().unwrap();
        desk.reference(&["diff", text(&log), text(set)]).done().unwrap();
    }
    // A set that somebody extended differs still.
    let mut more = values.clone();
    more.pcrs.0.get_mut(&12).unwrap().0[0] = 1;
    let more = desk.json("more.json", &more);
    let ran = desk.reference(&["diff", text(&more), text(&log)]);
    assert!(ran.code == Some(1) && ran.stdout.contains("PCR 12 differs"), "{}{}", ran.stdout, ran.stderr);
}

/// Events that were not measured explain nothing.
#[test]
fn events_have_to_lead_to_the_values_beside_them() {
    let desk = Desk::new();
    let log = desk.file("boot.log", Machine::default().boot_log().encode());
    let mut values = desk.values(&["from-eventlog", text(&log)]);
    let ran = desk.reference(&["import", text(&desk.json("set.json", &values))]).done().unwrap();
    assert!(!ran.stderr.contains("do not lead"), "{}", ran.stderr);
    values.events.iter_mut().rfind(|event| event.pcr == 8).unwrap().digest.0[0] ^= 1;
    let forged = desk.json("forged.json", &values);
    let ran = desk.reference(&["import", text(&forged)]).done().unwrap();
    assert!(ran.stderr.contains("the events of PCR 8 do not lead to the value"), "{}", ran.stderr);
    let taken: ReferenceValues = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(taken.pcrs, values.pcrs);
    values.events.retain(|event| event.pcr != 8);
    assert_eq!(taken.events, values.events);
    let ran = desk.reference(&["diff", text(&forged), text(&log)]).done().unwrap();
    assert!(ran.stderr.contains("PCR 8"), "{}", ran.stderr);
}

/// Of two values for one PCR none is taken, and of a digest all of it is needed.
#[test]
fn what_could_mean_two_things_is_refused() {
    let desk = Desk::new();
    let log = desk.file("boot.log", Machine::default().boot_log().encode());
    let good = format!(r#"{{"bank":"sha256","pcrs":{{"12":"{}"}}}}"#, "00".repeat(32));
    let twice = good.replace(r#""12""#, &format!(r#""12":"{}","12""#, "ab".repeat(32)));
    for (document, code) in [(good, 0), (twice, 2)] {
        let file = desk.file("values.json", document);
        let verify = ["evidence", "verify", "--kind", "tcg-log", text(&log)];
        for arguments in [
            [&verify[..], &["--pcrs", text(&file)]].concat(),
            [&verify[..], &["--reference", text(&file)]].concat(),
            vec!["reference", "import", text(&file)],
        ] {
            let ran = desk.cli.run(&arguments).unwrap();
            assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.stderr.contains("is given twice"), code == 2, "{}", ran.stderr);
        }
    }
    // A file in the working directory does not pass for a set.
    let values = desk.values(&["from-eventlog", text(&log)]);
    desk.json("gpu-nodes@1", &values);
    let diff = |first: &str| {
        let mut command = desk.cli.command(["reference", "diff", first, "./boot.log"]);
        command.current_dir(desk.dir.path()).output().unwrap()
    };
    let ran = diff("gpu-nodes@1");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.code() == Some(2) && said.contains("set:gpu-nodes@1 or file:gpu-nodes@1"), "{said}");
    for file in ["file:gpu-nodes@1", "./gpu-nodes@1"] {
        assert!(diff(file).status.success(), "{file}");
    }
    let said = String::from_utf8(diff("set:gpu-nodes@1").stderr).unwrap();
    assert!(said.contains("needs a token"), "a set is the vault's: {said}");
    for option in ["--forbid", "--require"] {
        for wrong in ["sha256:abcd", "foo:00"] {
            let ran = desk.reference(&["from-eventlog", text(&log), option, wrong]);
            assert!(ran.code == Some(2) && ran.stderr.contains("is no digest"), "{wrong}: {}", ran.stderr);
        }
    }
}

/// What a file says and nobody reads would be a set without it.
#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let desk = Desk::new();
    let log = desk.file("boot.log", Machine::default().boot_log().encode());
    let values = desk.values(&["from-eventlog", text(&log)]);
    let forbidden = json!({ "forbidden": { format!("sha256:{}", "ab".repeat(32)): "nc" } });
    for (name, lists, code) in [
        ("files", forbidden.clone(), 0),
        ("file", forbidden.clone(), 2),
        ("Files", forbidden.clone(), 2),
        ("forbidden", forbidden["forbidden"].clone(), 2),
        ("files", json!({ "forbidden": { "sha256:abab": "nc" } }), 2),
        ("files", json!({ "required": { format!("sha256:{}", "AB".repeat(32)): "nc" } }), 2),
    ] {
        let mut set = serde_json::to_value(&values).unwrap();
        set[name] = lists;
        let set = desk.json("set.json", &set);
        let reading = ["evidence", "verify", "--kind", "tcg-log", text(&log), "--reference", text(&set)];
        for arguments in
            [&["reference", "import", text(&set)][..], &reading, &["reference", "diff", text(&set), text(&log)]]
        {
            let ran = desk.cli.run(arguments).unwrap();
            let differs = code == 0 && arguments[1] == "diff";
            assert!(ran.code == Some(code) || differs, "{name} {arguments:?}: {}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.stderr.contains("set.json: "), code == 2, "{}", ran.stderr);
        }
    }
    // In hexadecimal too a set keeps its events, and what is left out is said.
    let mut set = serde_json::to_value(&values).unwrap();
    for (pcr, value) in &values.pcrs.0 {
        set["pcrs"][pcr.to_string()] = json!(hex::encode(&value.0));
    }
    let taken = desk.values(&["import", text(&desk.json("set.json", &set))]);
    assert_eq!(taken, values);
    let both = json!({ "sha1": { "4": "ab".repeat(20) }, "sha256": { "4": "ab".repeat(32), "10": "cd".repeat(32) } });
    let ran = desk.reference(&["import", text(&desk.json("both.json", &both))]).done().unwrap();
    assert!(ran.stderr.contains("left out sha1") && ran.stderr.contains("PCR 10"), "{}", ran.stderr);
}

/// A file of two banks is compared in each of which there are values.
#[test]
fn a_set_is_compared_in_each_bank() {
    let desk = Desk::new();
    let Some(folder) = super::vectors("eventlog") else { return };
    let log = folder.join("qemu-ovmf-linux61.bin");
    let judged = desk.verify("tcg-log", &[&log], &[]);
    let banks = judged.document["pcrs"].as_object().unwrap().clone();
    let compare = |set: &Value| {
        desk.verify("tcg-log", &[&log], &["--reference", text(&desk.json("set.json", set))]).document["reference"]
            .clone()
    };
    let own = json!(banks);
    assert_eq!(compare(&own)["matches"], true, "{own:#}");
    for bank in banks.keys() {
        let mut set = own.clone();
        let zeros = "00".repeat(set[bank]["4"].as_str().unwrap().len() / 2);
        set[bank]["4"] = json!(zeros);
        assert_eq!(compare(&set)["differing"], json!([4]), "{bank}");
    }
    // Values of a bank that the log does not have are not compared, and it is said.
    let mut set = own.clone();
    set["sha512"] = json!({ "4": "00".repeat(64) });
    let set = desk.json("set.json", &set);
    let arguments = ["evidence", "verify", "--kind", "tcg-log", text(&log), "--reference", text(&set)];
    let told = desk.cli.run(arguments).unwrap().done().unwrap().stdout;
    assert!(told.contains("values of sha512 were not compared"), "{told}");
}

/// A pipe is read once, and only one that is open: a named one might never be.
#[test]
fn a_side_may_be_a_pipe() {
    let desk = Desk::new();
    let log = desk.file("boot.log", Machine::default().boot_log().encode());
    let set = desk.json("set.json", &desk.values(&["from-eventlog", text(&log)]));
    for side in ["file:/dev/stdin", "/dev/stdin"] {
        let command = format!("cat \"$1\" | \"$0\" reference diff {side} \"$2\"");
        let program = strongroom_tests::programs::built("strongroom").unwrap();
        let ran = std::process::Command::new("sh").args(["-c", &command]).arg(program).args([&set, &log]).output();
        let ran = ran.unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(told.contains("are the same"), "{told}{}", String::from_utf8_lossy(&ran.stderr));
    }
    let pipe = desk.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    for arguments in [
        &["reference", "diff", text(&pipe), text(&log)][..],
        &["reference", "import", text(&pipe)],
        &["evidence", "verify", text(&pipe)],
        &["evidence", "verify", text(&log), "--pcrs", text(&pipe)],
        &["evidence", "explain", text(&pipe)],
    ] {
        let ran = desk.cli.run(arguments.iter().copied()).unwrap();
        assert!(ran.code == Some(2) && ran.stderr.contains("regular file"), "{arguments:?}: {}", ran.stderr);
    }
}

fn other_values(desk: &Desk, log: &std::path::Path) -> std::path::PathBuf {
    let mut values = desk.values(&["from-eventlog", text(log)]);
    values.events.clear();
    values.pcrs.0.get_mut(&4).unwrap().0[0] ^= 1;
    desk.json("values.json", &values)
}

#[test]
fn a_set_is_proposed_by_one_and_approved_by_another() {
    let world = World::found::<1>(&[]);
    let node = world.node();
    node.approve(&world.vault, "fra-1").unwrap();
    let edna = world.vault.cli(Role::Endorser).unwrap();
    let admin = world.vault.cli(Role::Admin).unwrap();
    let token = world.vault.beside("emil.token");
    let create = ["token", "create", "--person", "emil", "--role", "endorser", "--expires-in", "1d", "--out"];
    admin.run(create.iter().copied().chain([text(&token)])).unwrap().done().unwrap();
    let emil = edna.clone().with_token(token.clone());
    let id = node.id.to_string();

    let shown: ReferenceValues = edna.ask(["reference", "from-node", &id]).unwrap();
    assert!(shown.pcrs.0.contains_key(&0) && !shown.pcrs.0.contains_key(&10), "{shown:?}");
    let ran = edna.run(["reference", "from-node", &id, "--record", "gpu-nodes"]).unwrap().done().unwrap();
    assert!(ran.stderr.contains("no boot log yet"), "{}", ran.stderr);
    assert!(ran.stdout.contains("strongroom reference approve gpu-nodes 1"), "{}", ran.stdout);
    assert_eq!(edna.refused(["reference", "approve", "gpu-nodes", "1"]).unwrap().status, 403);
    let state = || {
        let sets: Vec<ReferenceView> = edna.ask(["reference", "list"]).unwrap();
        sets.iter().map(|set| (set.version, set.state)).collect::<Vec<_>>()
    };
    assert_eq!(state(), [(1, ReferenceState::Proposed)]);
    // Nothing of it is in force; it can be compared by its version.
    assert_eq!(edna.run(["reference", "diff", "gpu-nodes", "gpu-nodes@1"]).unwrap().code, Some(2));
    let side = format!("node:{id}");
    emil.run(["reference", "diff", "gpu-nodes@1", &side]).unwrap().done().unwrap();
    emil.run(["reference", "approve", "gpu-nodes", "1"]).unwrap().done().unwrap();
    assert_eq!(state(), [(1, ReferenceState::InForce)]);
    emil.run(["reference", "diff", "gpu-nodes", &side]).unwrap().done().unwrap();

    // The AK that a node tells of is the one that it quotes with.
    let ak = edna.home().join("ak.pub");
    let collect = ["evidence", "collect", "--ak-out", text(&ak)];
    let printed = node.cli.run(collect).unwrap().done().unwrap().stdout;
    let evidence = edna.home().join("evidence.json");
    std::fs::write(&evidence, printed).unwrap();
    let verify = ["--json", "evidence", "verify", "--kind", "tpm2", text(&evidence), "--ak", text(&ak)];
    let judged: Value = serde_json::from_str(&edna.run(verify).unwrap().done().unwrap().stdout).unwrap();
    assert_eq!(judged["vouched"]["tpm"], true, "{judged:#}");
    // What is there is not overwritten, and what a link in its place points to never.
    assert_eq!(node.cli.run(collect).unwrap().code, Some(2));
    let precious = edna.home().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    std::fs::remove_file(&ak).unwrap();
    std::os::unix::fs::symlink(&precious, &ak).unwrap();
    assert_eq!(node.cli.run(collect).unwrap().code, Some(2));
    // As the page collects and verifies, the bound value with it.
    let statement = edna.home().join("statement");
    std::fs::write(&statement, "my challenge").unwrap();
    let bound = ["evidence", "collect", "--statement", text(&statement), "--ak-out", text(&ak), "--replace"];
    std::fs::write(&evidence, node.cli.run(bound).unwrap().done().unwrap().stdout).unwrap();
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/evidence.md")).unwrap();
    let bind = page.lines().find_map(|line| line.strip_prefix("BIND=$(")?.strip_suffix(')')).unwrap();
    let bind = std::process::Command::new("sh").args(["-c", bind]).current_dir(edna.home()).output().unwrap();
    let bind = String::from_utf8(bind.stdout).unwrap();
    let judged: Value = serde_json::from_str(
        &edna.run(verify.iter().copied().chain(["--bind", bind.trim()])).unwrap().done().unwrap().stdout,
    )
    .unwrap();
    let q3 = judged["rows"].as_array().unwrap().iter().find(|row| row["row"] == "Q3").unwrap();
    assert_eq!(q3["verdict"], "passed", "{judged:#}");
    let empty = edna.home();
    let ran = node.cli.run(collect.iter().copied().chain(["--state-dir", text(empty), "--replace"])).unwrap();
    assert!(ran.code == Some(2) && ran.stderr.contains("there is no AK"), "{}", ran.stderr);

    // A second version, of other values.
    let log = Machine { kernel: 2, ..Machine::default() }.boot_log().encode();
    let path = edna.home().join("other.log");
    std::fs::write(&path, log).unwrap();
    let record = ["reference", "from-eventlog", text(&path), "--pcrs", "0-9", "--record", "gpu-nodes"];
    edna.run(record).unwrap().done().unwrap();
    let ran = emil.run(["reference", "diff", "gpu-nodes", "gpu-nodes@2"]).unwrap();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("PCR 4 differs"), "{}", ran.stdout);
    emil.run(["reference", "approve", "gpu-nodes", "2"]).unwrap().done().unwrap();
    assert_eq!(state(), [(1, ReferenceState::Superseded), (2, ReferenceState::InForce)]);
    let ran = emil.run(["reference", "diff", "gpu-nodes", &side]).unwrap();
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let listed = edna.run(["reference", "list"]).unwrap().done().unwrap().stdout;
    assert!(listed.contains("in force") && listed.contains("emil"), "{listed}");
}

/// PCR 11 of an image that nobody has booted: its sections, then the phases.
#[test]
fn an_image_is_predicted() {
    let desk = Desk::new();
    let image = desk.file("linux.efi", image(&[(".linux", b"kernel"), (".cmdline", b"root=/dev/vda")]));
    let values = desk.values(&["from-uki", text(&image), "--phase", "enter-initrd"]);
    let words = [&b".linux\0"[..], b"kernel", b".cmdline\0", b"root=/dev/vda", b"enter-initrd"];
    let expected = words.iter().fold([0; 32], |value, word| sha256(&[value, sha256(word)].concat()));
    assert_eq!(values.pcrs.0.len(), 1);
    assert_eq!(values.pcrs.0[&11].0, expected);
    assert_eq!(values.events.last().unwrap().hint, "phase enter-initrd");
    assert_ne!(desk.values(&["from-uki", text(&image)]).pcrs, values.pcrs);
    assert_eq!(desk.reference(&["from-uki", text(&image), "--phase", "soon"]).code, Some(2));
}

/// A PE file with these sections.
fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 0x40];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x40;
    file.extend(b"PE\0\0\x64\x86");
    file.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
    file.extend([0; 16]);
    let mut at = file.len() + 40 * sections.len();
    for (name, content) in sections {
        let mut name = name.as_bytes().to_vec();
        name.resize(8, 0);
        file.extend(name);
        for number in [content.len(), 0x1000, content.len(), at] {
            file.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        file.extend([0; 16]);
        at += content.len();
    }
    for (_, content) in sections {
        file.extend(*content);
    }
    file
}

/// The commands as pages show them, word for word but for the files' names.
#[test]
fn commands_run_as_the_pages_show_them() {
    let desk = Desk::new();
    let node = Node::boot(&Machine::default()).unwrap();
    node.ima().measure("/usr/bin/job", b"job").unwrap();
    let (boot, ima) = (node.boot_log(), node.ima_log());
    let (boot, ima) = (text(&boot), text(&ima));
    let done = |arguments: &[&str]| desk.cli.run(arguments).unwrap().done().unwrap().stdout;
    let printed = done(&["reference", "from-eventlog", boot, "--ima", ima]);
    let set = desk.file("gpu-nodes.json", printed);
    let kexec = desk.file("kexec", "kexec");
    done(&["reference", "import", text(&set), "--pcrs", "0-7,9", "--forbid", text(&kexec)]);
    let image = desk.file("linux.efi", image(&[(".linux", b"kernel")]));
    done(&["reference", "from-uki", text(&image), "--phase", "ready"]);
    done(&["evidence", "explain", boot, ima]);
    let pcrs = done(&["--json", "evidence", "verify", "--kind", "tcg-log", boot, "--reference", text(&set)]);
    let pcrs = desk.file("pcrs.json", pcrs);
    done(&["evidence", "verify", "--kind", "tcg-log", boot, "--pcrs", text(&pcrs)]);
    node.ima().violate("/var/log/wtmp").unwrap();
    done(&["evidence", "verify", "--kind", "ima-log", ima, "--allow", "L8"]);
    let Some(azure) = super::vectors("azure-vtpm") else { return };
    let (quote, ak) = (azure.join("quote.bin"), azure.join("akpub.pem"));
    let bound = ["--ak", text(&ak), "--bind", "6368616c6c656e6765"];
    done(&[&["evidence", "verify", "--kind", "tpm2", text(&quote)], &bound[..]].concat());
}
