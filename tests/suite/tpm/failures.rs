//! What goes wrong is named.

use super::{claims, collect, selection};
use std::{fs, os::unix::fs::PermissionsExt as _};
use strongroom_collect::{
    Attester as _, CollectError, Collector, CollectorConfig, EkChoice, LogSource, TctiConfig, TpmDevice, Wanted,
};
use strongroom_tests::{Machine, Node, swtpm_ports};

#[test]
fn no_tpm_is_said_with_the_device_and_the_remedy() {
    let device = "device:/dev/strongroom-has-no-such-tpm".parse::<TctiConfig>().unwrap();
    let error = TpmDevice::open(&device).unwrap_err();
    assert!(matches!(error, CollectError::DeviceMissing { .. }));
    assert_eq!(
        error.to_string(),
        "device:/dev/strongroom-has-no-such-tpm: no such device; is the TPM enabled in the firmware, and is the path right?"
    );
    let nobody = format!("swtpm:host=127.0.0.1,port={}", swtpm_ports::guess()).parse().unwrap();
    assert!(matches!(TpmDevice::open(&nobody), Err(CollectError::SwtpmUnreachable { .. })));
}

#[test]
fn a_tpm_that_goes_away_is_an_error_and_one_that_comes_back_is_not() {
    let mut node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    claims(&collector);
    let dir = node.tpm.dir().to_owned();
    let port = node.config().unwrap().tcti.to_string().rsplit_once('=').unwrap().1.parse().unwrap();
    strongroom_tests::Swtpm::stop(port).unwrap();
    let gone = collector.collect(b"{}", None, Wanted::whole(&selection())).unwrap_err();
    assert!(matches!(gone, CollectError::SwtpmUnreachable { .. }), "{gone}");
    assert!(dir.join("state").exists());
    node.tpm.pull_plug().unwrap();
    collect(&collector, None);
}

#[test]
fn an_ak_of_another_tpm_is_refused() {
    let (node, other) = (Node::boot(&Machine::default()).unwrap(), Node::boot(&Machine::default()).unwrap());
    node.collector().unwrap();
    let moved = CollectorConfig { state_dir: node.state_dir(), ..other.config().unwrap() };
    let error = Collector::open(&moved).err().unwrap();
    assert!(matches!(error, CollectError::AkOfAnotherTpm { .. }), "{error}");
    assert!(error.to_string().contains("ak.blob away and enrol the node again"), "{error}");
    // Its own state directory still does.
    claims(&other.collector().unwrap());
}

#[test]
fn the_ak_is_kept_and_kept_private() {
    let node = Node::boot(&Machine::default()).unwrap();
    let first = node.collector().unwrap();
    let again = node.collector().unwrap();
    assert!(first.ak() == again.ak());
    let file = node.state_dir().join("ak.blob");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(node.collector().err().unwrap().downcast_ref(), Some(CollectError::AkFileExposed { .. })));
}

#[test]
fn an_ek_without_a_certificate_is_said_with_its_index() {
    let node = Node::boot(&Machine::default()).unwrap();
    let config = CollectorConfig { ek: EkChoice::EccP256, ..node.config().unwrap() };
    let error = Collector::open(&config).err().unwrap();
    assert!(matches!(error, CollectError::NoEkCertificate { .. }));
    assert!(error.to_string().contains("no EK certificate in NV index 0x01c0000a"), "{error}");
}

#[test]
fn a_missing_boot_log_is_an_error_where_one_was_named() {
    let node = Node::boot(&Machine::default()).unwrap();
    let config = node.config().unwrap();
    let missing = CollectorConfig { boot_log: LogSource::File("/nonexistent".into()), ..config.clone() };
    let collector = Collector::open(&missing).unwrap();
    let error = collector.collect(b"{}", None, Wanted::whole(&selection())).unwrap_err();
    assert!(matches!(error, CollectError::BootLog { .. }));
    let without = Collector::open(&CollectorConfig { boot_log: LogSource::Omit, ..config }).unwrap();
    assert!(collect(&without, None).boot_log.is_none());
}
