//! The units that ship: what they may use at the most, and how systemd rates what they are kept from.

use std::{fs, path::Path, process::Command};
use strongroom_tests::programs;

/// Exposure in tenths, as `systemd-analyze security` rates it, from 0 to 100: what is left is what the
/// programs need, and addresses, which only an operator can name.
const UNITS: [(&str, u32); 2] = [("strongroomd.service", 15), ("strongroom-agent.service", 15)];

fn is_rated(unit: &Path, at_most: u32) -> std::io::Result<bool> {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager", &format!("--threshold={at_most}")]).arg(unit);
    analyze.output().map(|run| run.status.success())
}

#[test]
fn the_units_are_bounded_and_kept_from_what_they_do_not_need() {
    let directory = tempfile::tempdir().unwrap();
    for (name, at_most) in UNITS {
        let text = fs::read_to_string(programs::project().join("deploy/systemd").join(name)).unwrap();
        for bound in ["\nMemoryMax=", "\nMemorySwapMax=0\n", "\nTasksMax=", "\nLimitCORE=0\n"] {
            assert!(text.contains(bound), "{name} has no line {}", bound.trim());
        }
        let path = directory.path().join(name);
        fs::write(&path, &text).unwrap();
        match is_rated(&path, at_most) {
            Ok(rated) => assert!(rated, "{name} is rated worse than {at_most}: see `systemd-analyze security`"),
            Err(_) => return programs::skip("units", "systemd-analyze is not installed"),
        }
        // Each of these costs nothing, and its absence is noticed.
        for line in ["NoNewPrivileges=yes", "ProtectHome=yes", "PrivateMounts=yes", "PrivateTmp=yes"] {
            let without = text.replace(&format!("\n{line}\n"), "\n");
            assert_ne!(without, text, "{name} has no {line}");
            fs::write(&path, without).unwrap();
            assert!(!is_rated(&path, at_most).unwrap(), "{name} without {line} is rated the same");
        }
    }
}
