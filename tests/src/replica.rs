//! Another replica of a vault, as an operator makes one: a copy of the directory, with a name and an
//! address of its own.

use anyhow::{Context as _, ensure};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};
use strongroom_protocol::join::JoinFile;

/// Copies a vault's directory `from` one replica `to` another, which is called `name` and listens on a
/// port of loopback. With the copy goes the checkpoint kept outside: the new replica trusts the ledger
/// from there on.
pub fn copy(from: &Path, to: &Path, name: &str, port: u16) -> anyhow::Result<()> {
    copy_tree(from, to)?;
    let (configuration, url) = (to.join("strongroomd.toml"), format!("https://127.0.0.1:{port}"));
    let values = [
        ("replica", format!("\"{name}\"")),
        ("listen", format!("\"127.0.0.1:{port}\"")),
        ("url", format!("\"{url}\"")),
    ];
    let mut text = fs::read_to_string(&configuration)?;
    for (key, value) in values {
        let start = format!("{key} = ");
        let line = text.lines().find(|line| line.starts_with(&start)).map(str::to_owned);
        let line = line.with_context(|| format!("the configuration has no line `{start}`"))?;
        text = text.replacen(&line, &format!("{start}{value}"), 1);
    }
    fs::write(&configuration, text)?;
    let join = to.join("join.json");
    let told: JoinFile = serde_json::from_slice(&fs::read(&join)?)?;
    Ok(fs::write(&join, serde_json::to_vec_pretty(&JoinFile { url, ..told })?)?)
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
            continue;
        }
        ensure!(entry.file_type()?.is_file(), "{} is no file", entry.path().display());
        let mode = entry.metadata()?.permissions().mode() & 0o777;
        let bytes = fs::read(entry.path())?;
        File::options().write(true).create_new(true).mode(mode).open(&target)?.write_all(&bytes)?;
    }
    Ok(())
}
