//! Launch measurements ahead of time, and sets of them.

use super::Desk;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use strongroom_attest::snp::launch::{Kernel, LaunchInputs, Monitor, measurement};
use strongroom_hardware::snp::Snp;
use strongroom_protocol::admin::ReferenceValues;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An OVMF of one page, as far as a launch reads one: the table at its end, and the metadata of SEV.
pub(super) fn ovmf(hashes: bool) -> Vec<u8> {
    let id = |digits: &str| hex::decode(digits).unwrap();
    let mut table = Vec::new();
    let mut entry = |value: &[u8], digits: &str| {
        table.extend(value);
        table.extend(u16::try_from(value.len() + 18).unwrap().to_le_bytes());
        table.extend(id(digits));
    };
    entry(&0x800_u32.to_le_bytes(), "666588dc4a989847a75e5585a7bf67cc");
    if hashes {
        entry(&[&0x81_0c00_u32.to_le_bytes()[..], &[0, 4, 0, 0]].concat(), "1f3755723b3a044b927b1da6efa8d454");
    }
    entry(&0x80_b004_u32.to_le_bytes(), "de71f7007e1acb4f890e68c77e2fb44e");
    let length = u16::try_from(table.len() + 18).unwrap();
    table.extend(length.to_le_bytes());
    table.extend(id("de82b596b21ff745baeaa366c55a082d"));
    let mut sections = vec![[0x80_0000_u32, 0x9000, 1], [0x80_d000, 0x1000, 2], [0x80_e000, 0x1000, 3]];
    sections.extend(hashes.then_some([0x81_0000, 0x1000, 0x10]));
    let mut metadata = b"ASEV".to_vec();
    let count = u32::try_from(sections.len()).unwrap();
    metadata.extend([16 + 12 * count, 1, count].iter().flat_map(|word| word.to_le_bytes()));
    metadata.extend(sections.iter().flatten().flat_map(|word| word.to_le_bytes()));
    let mut page = vec![0; 4096];
    page[0x800..][..metadata.len()].copy_from_slice(&metadata);
    let end = page.len() - 32;
    page[end - table.len()..end].copy_from_slice(&table);
    page
}

impl Desk {
    fn launch(&self, arguments: &[&str]) -> super::Ran {
        self.cli.run(["--json", "reference", "from-snp-image"].iter().chain(arguments)).unwrap()
    }

    #[track_caller]
    fn measurements(&self, arguments: &[&str]) -> Vec<String> {
        let ran = self.launch(arguments).done().unwrap();
        let values: ReferenceValues = serde_json::from_str(&ran.stdout).unwrap();
        assert!(values.pcrs.0.is_empty() && values.tdx.mrtds.is_empty());
        values.snp.measurements.into_iter().map(String::from).collect()
    }

    fn refused(&self, arguments: &[&str], words: &str) {
        let ran = self.launch(arguments);
        assert!(ran.code == Some(2) && ran.stderr.contains(words), "{arguments:?}: {:?} {}", ran.code, ran.stderr);
    }
}

#[test]
fn a_launch_is_predicted_for_each_number_of_cpus() {
    let desk = Desk::new();
    let firmware = ovmf(true);
    let image = desk.file("OVMF.fd", &firmware);
    let (kernel, initrd) = (desk.file("vmlinuz", "a kernel"), desk.file("initrd", "files"));
    let base = ["--ovmf", text(&image), "--vcpu-type", "EPYC-v4"];
    let of = |more: &[&str]| desk.measurements(&[&base[..], more].concat());
    let expected = |change: &dyn Fn(&mut LaunchInputs<'_>)| {
        let mut inputs = LaunchInputs {
            firmware: &firmware,
            kernel: None,
            cpus: 1,
            cpu_type: "EPYC-v4",
            guest_features: 1,
            monitor: Monitor::Qemu,
        };
        change(&mut inputs);
        hex::encode(measurement(&inputs).unwrap())
    };
    let with = |command_line| Kernel { image: b"a kernel", initrd: b"files", command_line };
    assert_eq!(of(&["--vcpus", "1"]), [expected(&|_| {})]);
    let mut both = vec![expected(&|_| {}), expected(&|inputs| inputs.cpus = 4)];
    both.sort();
    assert_eq!(of(&["--vcpus", "1,4"]), both);
    assert_eq!(of(&["--vcpus", "4", "--vcpus", "1"]), both);
    assert_eq!(of(&["--vcpus", "1", "--guest-features", "0x21"]), [expected(&|inputs| inputs.guest_features = 0x21)]);
    assert_eq!(of(&["--vcpus", "1", "--vmm", "ec2"]), [expected(&|inputs| inputs.monitor = Monitor::Ec2)]);
    assert_ne!(of(&["--vcpus", "1", "--vmm", "ec2"]), of(&["--vcpus", "1"]));
    let boot = ["--vcpus", "1", "--kernel", text(&kernel), "--initrd", text(&initrd)];
    let line = expected(&|inputs| inputs.kernel = Some(with("root=/dev/vda")));
    for option in ["--cmdline", "--append"] {
        assert_eq!(of(&[&boot[..], &[option, "root=/dev/vda"]].concat()), [line.as_str()]);
    }
    let words =
        ["reference", "from-snp-image", "--ovmf", text(&image), "--kernel", text(&kernel), "--initrd", text(&initrd)];
    let words = words.into_iter().chain(["--cmdline", "root=/dev/vda", "--vcpus", "1", "--vcpu-type", "EPYC-v4"]);
    let told: ReferenceValues = serde_json::from_str(&desk.cli.run(words).unwrap().done().unwrap().stdout).unwrap();
    assert_eq!(told.snp.measurements.into_iter().map(String::from).collect::<Vec<_>>(), [line.as_str()]);
    // A line feed at the end of a file is no part of the line; a second one is.
    let file = desk.file("cmdline", "root=/dev/vda\n");
    assert_eq!(of(&[&boot[..], &["--append-file", text(&file)]].concat()), [line.as_str()]);
    let file = desk.file("cmdline", "root=/dev/vda\n\n");
    assert_ne!(of(&[&boot[..], &["--append-file", text(&file)]].concat()), [line.as_str()]);
    assert_eq!(of(&boot), [expected(&|inputs| inputs.kernel = Some(with("")))]);
}

#[test]
fn what_cannot_be_launched_is_named() {
    let desk = Desk::new();
    let image = desk.file("OVMF.fd", ovmf(true));
    let kernel = desk.file("vmlinuz", "a kernel");
    let good = ["--vcpus", "1", "--vcpu-type", "EPYC-v4"];
    let of = |image: &Path, more: &[&str], words: &str| {
        desk.refused(&[&["--ovmf", text(image)], &good[..], more].concat(), words);
    };
    desk.launch(&[&["--ovmf", text(&image)], &good[..]].concat()).done().unwrap();
    of(&desk.file("a", vec![0; 100]), &[], "has 100 bytes");
    of(&desk.file("b", vec![0; 4096]), &[], "table at its end is missing");
    of(&desk.file("c", vec![0; (64 << 20) + 1]), &[], "over");
    let mut without = ovmf(true);
    without[0x800] = b'X';
    of(&desk.file("d", without), &[], "metadata of SEV cannot be read");
    of(&desk.path("nowhere"), &[], "nowhere");
    let plain = desk.file("plain.fd", ovmf(false));
    desk.launch(&[&["--ovmf", text(&plain)], &good[..]].concat()).done().unwrap();
    of(&plain, &["--kernel", text(&kernel)], "no page for the kernel's hashes");
    of(&image, &["--cmdline", "quiet"], "--kernel");
    of(&image, &["--initrd", text(&kernel)], "--kernel");
    of(&image, &["--guest-features", "x"], "hexadecimal");
    let image = text(&image);
    desk.refused(&["--ovmf", image, "--vcpus", "0", "--vcpu-type", "EPYC-v4"], "--vcpus");
    desk.refused(&["--ovmf", image, "--vcpus", "1,5000", "--vcpu-type", "EPYC-v4"], "--vcpus");
    desk.refused(&["--ovmf", image, "--vcpus", "1", "--vcpu-type", "Xeon"], "--vcpu-type");
    desk.refused(&["--ovmf", image, "--vcpu-type", "EPYC-v4"], "--vcpus");
}

/// A set of measurements is written, imported, compared; and a report is held against it.
#[test]
fn a_set_of_measurements_goes_where_other_sets_go() {
    let desk = Desk::new();
    let image = desk.file("OVMF.fd", ovmf(true));
    let from = |cpus: &str, output: &Path| {
        let words = ["reference", "from-snp-image", "--ovmf", text(&image), "--vcpus", cpus, "--vcpu-type", "EPYC-v4"];
        desk.cli.run(words.into_iter().chain(["--output", text(output)])).unwrap()
    };
    let (one, two): (PathBuf, PathBuf) = (desk.path("one.json"), desk.path("two.json"));
    from("1,2", &one).done().unwrap();
    from("2,3", &two).done().unwrap();
    let again = from("1", &one);
    assert!(again.code != Some(0), "{}", again.stdout);
    let values: ReferenceValues = serde_json::from_slice(&std::fs::read(&one).unwrap()).unwrap();
    assert_eq!(values.snp.measurements.len(), 2);
    let imported: ReferenceValues = desk.cli.ask(["reference", "import", text(&one)]).unwrap();
    assert_eq!(imported, values);

    let diff = |a: &Path, b: &Path| desk.cli.run(["--json", "reference", "diff", text(a), text(b)]).unwrap();
    assert_eq!(diff(&one, &one).code, Some(0));
    let ran = diff(&one, &two);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &document["launch"][0]["of"]), (Some(1), &json!("snp")), "{document:#}");
    assert_eq!(document["launch"][0]["only_first"].as_array().map(Vec::len), Some(1));
    // A set that has values of PCRs in another bank beside them can be compared all the same.
    let more = json!({ "bank": "sha384", "pcrs": { "0": "ab".repeat(48) }, "snp": values.snp });
    let more = desk.json("more.json", &more);
    let document: Value = serde_json::from_str(&diff(&one, &more).stdout).unwrap();
    assert_eq!((&document["launch"], &document["pcrs"][0]["pcr"]), (&Value::Null, &json!(0)), "{document:#}");

    let mut snp = Snp::default();
    snp.report.measurement = values.snp.measurements.last().unwrap().0;
    let report = desk.file("report.bin", snp.report_bytes());
    let judged = desk.verify("sev-snp", &[&report], &["--reference", text(&one)]);
    judged.holds();
    assert_eq!(judged.document["reference"]["matches"], true);
    snp.report.measurement[0] ^= 1;
    let report = desk.file("report.bin", snp.report_bytes());
    desk.verify("sev-snp", &[&report], &["--reference", text(&one)]).refused_by(&[]);
}
