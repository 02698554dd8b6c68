//! Row S10 against published answers: those of the `sev` crate's tests (`tests/measurement.rs`), which are those of
//! sev-snp-measure. They are over an OVMF of which the last page is known: its digest alone is needed, and what its
//! table and metadata say, which is written here anew.

use super::*;

/// The launch digest after the last page of that OVMF (`AmdSev`).
const AFTER_OVMF: &str =
    "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74";

/// A firmware of one page with this table and metadata.
struct Image {
    sections: Vec<[u32; 3]>,
    reset: Option<u32>,
    hashes: Option<u32>,
    metadata: Option<u32>,
    signature: [u8; 4],
    version: u32,
    count: Option<u32>,
}

fn amd_sev() -> Image {
    Image {
        sections: vec![
            [0x80_0000, 0x9000, 1],
            [0x80_a000, 0x3000, 1],
            [0x80_d000, 0x1000, 2],
            [0x80_e000, 0x1000, 3],
            [0x80_f000, 0x1000, 4],
            [0x81_0000, 0x1000, 0x10],
            [0x81_1000, 0xf000, 1],
        ],
        reset: Some(0x80_b004),
        hashes: Some(0x81_0c00),
        metadata: Some(0x800),
        signature: *b"ASEV",
        version: 1,
        count: None,
    }
}

impl Image {
    fn bytes(&self) -> Vec<u8> {
        let mut table = Vec::new();
        let mut entry = |id: [u8; 16], value: &[u8]| {
            table.extend(value);
            table.extend(u16::try_from(value.len() + 18).unwrap().to_le_bytes());
            table.extend(id);
        };
        entry([0x55; 16], &[0; 8]);
        if let Some(metadata) = self.metadata {
            entry(METADATA, &metadata.to_le_bytes());
        }
        if let Some(hashes) = self.hashes {
            entry(HASHES, &[&hashes.to_le_bytes()[..], &[0, 4, 0, 0]].concat());
        }
        if let Some(reset) = self.reset {
            entry(RESET, &reset.to_le_bytes());
        }
        let length = u16::try_from(table.len() + 18).unwrap();
        table.extend(length.to_le_bytes());
        table.extend(TABLE);
        let mut metadata = self.signature.to_vec();
        let count = u32::try_from(self.sections.len()).unwrap();
        for word in [16 + 12 * count, self.version, self.count.unwrap_or(count)] {
            metadata.extend(word.to_le_bytes());
        }
        metadata.extend(self.sections.iter().flatten().flat_map(|word| word.to_le_bytes()));
        let mut page = vec![0; PAGE];
        page[PAGE - 0x800..][..metadata.len()].copy_from_slice(&metadata);
        let end = PAGE - AFTER_TABLE;
        page[end - table.len()..end].copy_from_slice(&table);
        page
    }
}

fn inputs<'a>(firmware: &'a [u8], kernel: Option<Kernel<'a>>) -> LaunchInputs<'a> {
    LaunchInputs { firmware, kernel, cpus: 1, cpu_type: "EPYC-v4", guest_features: 1, monitor: Monitor::Qemu }
}

/// What follows that OVMF.
fn after_ovmf(image: &Image, change: impl FnOnce(&mut LaunchInputs<'_>)) -> String {
    let bytes = image.bytes();
    let mut inputs = inputs(&bytes, None);
    change(&mut inputs);
    let start = Digest(hex::decode(AFTER_OVMF).unwrap().try_into().unwrap());
    hex::encode(after_firmware(start, &Firmware::parse(&bytes).unwrap(), &inputs).unwrap())
}

const EMPTY: Kernel<'static> = Kernel { image: b"", initrd: b"", command_line: "" };

#[test]
fn s10_published_measurements_come_out() {
    let kernel = |features: u64, kernel: Kernel<'static>| {
        move |inputs: &mut LaunchInputs<'_>| (inputs.guest_features, inputs.kernel) = (features, Some(kernel))
    };
    let image = amd_sev();
    let of = |change: &dyn Fn(&mut LaunchInputs<'_>)| after_ovmf(&image, change);
    assert_eq!(
        of(&kernel(1, EMPTY)),
        "ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e9fc98646d4a07a9079397fa3852819b5"
    );
    assert_eq!(
        of(&kernel(0x21, EMPTY)),
        "329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683632b9b50e4e1d7fa41179ef98a7ef198"
    );
    let console = Kernel { command_line: "console=ttyS0 loglevel=7", ..EMPTY };
    assert_eq!(
        of(&kernel(1, console)),
        "6d287813eb5222d770f75005c664e34c204f385ce832cc2ce7d0d6f354454362f390ef83a92046c042e706363b4b08fa"
    );
    assert_eq!(
        of(&kernel(0x21, console)),
        "803f691094946e42068aaa3a8f9e26a5c89f36f7b73ecfb28c653360fe4b3aba7e534442e7e1e17895dfe778d0228977"
    );
    // Without a kernel, and with four CPUs.
    assert_eq!(
        of(&|_| {}),
        "19358ba9a7615534a9a1e2f0dfc29384dcd4dcb7062ff9c6013b26869a5fc6ecabe033c48dd6f6db5d6d76e7c5df632d"
    );
    assert_eq!(
        of(&|inputs| inputs.guest_features = 0x21),
        "e1e1ca029dd7973ab9513295be68198472dcd4fc834bd9af9b63f6e8a1674dbf281a9278a4a2ebe0eed9f22adbcd0e2b"
    );
    assert_eq!(
        of(&|inputs| (inputs.cpus, inputs.kernel) = (4, Some(EMPTY))),
        "5061fffb019493a903613d56d54b94912a1a2f9e4502385f5c194616753720a92441310ba6c4933de877c36e23046ad5"
    );
    // Amazon's monitor.
    assert_eq!(
        of(&|inputs| (inputs.monitor, inputs.kernel) = (Monitor::Ec2, Some(EMPTY))),
        "7d3756157c805bf6adf617064c8552e8c1688fa1c8756f11cbf56ba5d25c9270fb69c0505c1cbe1c5c66c0e34c6ed3be"
    );
    assert_eq!(
        of(&|inputs| (inputs.monitor, inputs.kernel, inputs.guest_features) = (Monitor::Ec2, Some(EMPTY), 0x21)),
        "6ae80856486b1396af8c82a40351d6ed76a20c785e9c7fa4ffa27c22d5d6313b4b3b458cd3c9968e6f89fb5d8450d7a6"
    );
}

/// The whole, beside the `sev` crate, which reads the same bytes from files.
#[test]
fn s10_the_sev_crate_comes_to_the_same_over_the_same_files() {
    use sev::measurement::snp::{SnpMeasurementArgs, snp_calc_launch_digest};
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let firmware = [vec![0x5a; 3 * PAGE], amd_sev().bytes()].concat();
    let kernel = Kernel { image: b"kernel", initrd: b"initrd", command_line: "root=/dev/vda" };
    for (cpus, with_kernel) in [(1, false), (1, true), (7, true)] {
        let theirs = snp_calc_launch_digest(SnpMeasurementArgs {
            vcpus: cpus,
            vcpu_type: CpuType::EpycV4,
            ovmf_file: file("ovmf", &firmware),
            guest_features: GuestFeatures(1),
            kernel_file: with_kernel.then(|| file("kernel", kernel.image)),
            initrd_file: with_kernel.then(|| file("initrd", kernel.initrd)),
            append: with_kernel.then_some(kernel.command_line),
            ovmf_hash_str: None,
            vmm_type: None,
        });
        let inputs = LaunchInputs { cpus, ..inputs(&firmware, with_kernel.then_some(kernel)) };
        assert_eq!(hex::encode(measurement(&inputs).unwrap()), theirs.unwrap().get_hex_ld());
    }
}

#[test]
fn s10_every_input_counts() {
    let firmware = [vec![0; PAGE], amd_sev().bytes()].concat();
    let kernel = Some(Kernel { image: b"kernel", initrd: b"initrd", command_line: "quiet" });
    let base = inputs(&firmware, kernel);
    let first = measurement(&base).unwrap();
    let mut changed = firmware.clone();
    changed[17] = 1;
    let others = [
        LaunchInputs { firmware: &changed, ..base },
        LaunchInputs { kernel: None, ..base },
        LaunchInputs { kernel: kernel.map(|kernel| Kernel { image: b"other", ..kernel }), ..base },
        LaunchInputs { kernel: kernel.map(|kernel| Kernel { initrd: b"other", ..kernel }), ..base },
        LaunchInputs { kernel: kernel.map(|kernel| Kernel { command_line: "quiet ", ..kernel }), ..base },
        LaunchInputs { cpus: 2, ..base },
        LaunchInputs { cpu_type: "EPYC-Milan", ..base },
        LaunchInputs { guest_features: 0x21, ..base },
        LaunchInputs { monitor: Monitor::Krun, ..base },
        LaunchInputs { monitor: Monitor::Ec2, ..base },
    ];
    for other in others {
        assert_ne!(measurement(&other).unwrap(), first);
    }
}

#[test]
fn s10_what_cannot_be_launched_is_refused() {
    let good = amd_sev().bytes();
    assert!(measurement(&inputs(&good, Some(EMPTY))).is_ok());
    let refused = |image: Image| measurement(&inputs(&image.bytes(), None)).unwrap_err();
    for image in [
        Image { reset: None, ..amd_sev() },
        Image { metadata: None, ..amd_sev() },
        Image { metadata: Some(0), ..amd_sev() },
        Image { metadata: Some(u32::MAX), ..amd_sev() },
        Image { signature: *b"ASEW", ..amd_sev() },
        Image { version: 2, ..amd_sev() },
        Image { count: Some(u32::MAX), ..amd_sev() },
        Image { count: Some(65), ..amd_sev() },
        Image { sections: vec![[0, 0x1000, 5]], ..amd_sev() },
        Image { sections: vec![[0, 0x1001, 1]], ..amd_sev() },
        Image { sections: vec![[0, 0x2000, 0x10]], ..amd_sev() },
        Image { sections: vec![[0, 0xffff_f000, 1]], ..amd_sev() },
    ] {
        assert!(matches!(refused(image), LaunchRefused::S10Firmware { .. }));
    }
    let other = |change: fn(&mut LaunchInputs<'_>)| {
        let mut inputs = inputs(&good, None);
        change(&mut inputs);
        measurement(&inputs).unwrap_err()
    };
    assert_eq!(other(|inputs| inputs.cpus = 0), LaunchRefused::S10Cpus { got: 0 });
    assert_eq!(other(|inputs| inputs.cpus = 4097), LaunchRefused::S10Cpus { got: 4097 });
    assert!(matches!(other(|inputs| inputs.cpu_type = "486"), LaunchRefused::S10CpuType { .. }));
    for size in [0, 1, PAGE - 1, MAX_FIRMWARE + PAGE] {
        let refused = measurement(&inputs(&vec![0; size], None)).unwrap_err();
        assert_eq!(refused, LaunchRefused::S10Size { actual: size });
        assert_eq!(refused.row(), "S10");
    }
    assert!(matches!(measurement(&inputs(&[0; PAGE], None)), Err(LaunchRefused::S10Firmware { .. })));
    for image in [
        Image { hashes: None, ..amd_sev() },
        Image { hashes: Some(0), ..amd_sev() },
        Image { sections: vec![[0, 0x1000, 1]], ..amd_sev() },
    ] {
        let bytes = image.bytes();
        assert!(measurement(&inputs(&bytes, None)).is_ok());
        assert_eq!(measurement(&inputs(&bytes, Some(EMPTY))), Err(LaunchRefused::S10NoKernelHashes));
    }
    let edge = Image { hashes: Some(0x81_0ff0), ..amd_sev() }.bytes();
    assert!(matches!(measurement(&inputs(&edge, Some(EMPTY))), Err(LaunchRefused::S10Firmware { .. })));
}

proptest::proptest! {
    #[test]
    fn s10_no_firmware_is_a_panic(at in 0_usize..PAGE, byte in 0_u8..=255, more in proptest::collection::vec(0_u8..=255, 0..64)) {
        let mut page = amd_sev().bytes();
        page[at] = byte;
        let end = PAGE - AFTER_TABLE;
        let start = end - more.len();
        let _ = Firmware::parse(&page);
        page[start..end].copy_from_slice(&more);
        let _ = Firmware::parse(&page);
    }
}
