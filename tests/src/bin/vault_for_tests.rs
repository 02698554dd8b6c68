//! `vault-for-tests`: a vault with an enrolled node, for tests in other languages.
//!
//! Prints one line of JSON when it serves: `{"join", "home", "assets", "forbidden"}`, the join file, the home
//! of the node's command line, and what may be opened on it or not. Then it reads commands, one a line, and answers each
//! with a line: `revoke LEASE`, `stop`, `serve`. It takes everything away when its input ends.

use anyhow::{Context as _, bail};
use std::io::{BufRead as _, Write as _};
use strongroom_protocol::{
    admin::{CreateAsset, Integrity, RecordReference, Recorded, Role, Site},
    lease::RevokeLease,
};
use strongroom_tests::{Machine, Member, Vault, member};

/// Assets that the node may open, and what they demand.
const ASSETS: [(&str, Integrity); 4] = [
    ("model", Integrity::Plain),
    ("minilm", Integrity::Plain),
    ("other", Integrity::Plain),
    ("hashed", Integrity::Hashed),
];
/// An asset that the node may not open.
const FORBIDDEN: &str = "elsewhere";

fn main() -> anyhow::Result<()> {
    let [node] = member::boot(&Machine::default())?;
    let mut vault = Vault::init()?;
    vault.trust(&node)?;
    vault.serve()?;
    let member = found(&vault, node)?;
    let told = serde_json::json!({
        "join": vault.join_path(), "home": member.cli.home(), "assets": ASSETS.map(|(name, _)| name),
        "forbidden": FORBIDDEN,
    });
    let mut out = std::io::stdout();
    writeln!(out, "{told}")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((line.as_str(), "")) {
            ("revoke", lease) => {
                let reason = RevokeLease { reason: "a test".into() };
                let path = format!("/v1/leases/{lease}/revoke");
                let _: Recorded = vault.admin(Role::Custodian)?.post(&path, &reason)?;
            }
            ("stop", _) => drop(vault.stop()?),
            ("serve", _) => drop(vault.serve()?),
            (other, _) => bail!("no command {other}"),
        }
        writeln!(out, "done")?;
        out.flush()?;
    }
    Ok(())
}

/// Sites, the node, references, policy, assets.
fn found(vault: &Vault, node: strongroom_tests::Node) -> anyhow::Result<Member> {
    let operator = vault.admin(Role::Operator)?;
    let site = Site { name: "fra-1".into(), jurisdiction: "DE".into() };
    let _: Recorded = operator.post("/v1/sites", &site)?;
    let member = Member::enrol(vault, node, "python")?;
    member.approve(vault, "fra-1").context("approving the node")?;
    let reference = RecordReference { name: "usual".into(), from_node: Some(member.id), values: None };
    vault.refer(&reference)?;
    vault.enforce_baseline(&[])?;
    let custodian = vault.admin(Role::Custodian)?;
    let allowed = ASSETS.map(|(name, integrity)| (name, integrity, "DE"));
    for (name, integrity, jurisdiction) in allowed.into_iter().chain([(FORBIDDEN, Integrity::Plain, "US")]) {
        let asset = CreateAsset {
            name: name.into(),
            labels: [].into(),
            jurisdictions: vec![jurisdiction.into()],
            reference_sets: vec!["usual".into()],
            integrity,
            max_leases: None,
        };
        let _: Recorded = custodian.post("/v1/assets", &asset)?;
    }
    Ok(member)
}
