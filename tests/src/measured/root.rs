//! The root disk: a shell, the first program, and what is under test with the libraries that it loads.

use super::Parts;
use crate::programs::{bare, built, run};
use anyhow::Context as _;
use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};
use strongroom_protocol::sha256;

/// Where `strongroom` lies in the guest.
pub const PROGRAM: &str = "/usr/bin/strongroom";
/// Where the job lies that the harness brings, `measured-job`.
pub const JOB: &str = "/usr/bin/job";
/// `strongroom` with a byte more, which changes nothing but its digest.
pub const ANOTHER: &str = "/usr/bin/another";
/// A file that nobody reads unless told to. There is no `/etc/passwd`, which tools read when it suits them: whether it
/// is measured would differ from boot to boot.
pub const NOTE: &str = "/etc/motd";
/// What libtss2 opens by itself to reach the kernel's TPM.
const TCTI: &str = "/usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0";
/// Size of the disk in MiB: room for the programs of an unoptimised build.
const SIZE: &str = "192M";

/// Makes the disk, an ext4 file system without a partition table, by way of a directory beside it. Needs no rights.
/// SHA-256 of the file that is [`ANOTHER`] in the guest, lower-case hexadecimal.
pub fn make(parts: &Parts, disk: &Path) -> anyhow::Result<String> {
    let tree = disk.with_extension("tree");
    for directory in ["bin", "sbin", "usr/bin", "etc", "proc", "sys", "dev", "tmp", "run"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    shell(parts, &tree)?;
    program(&tree.join("sbin/start"), include_bytes!("guest/start"))?;
    fs::write(within(&tree, Path::new(NOTE)), "welcome\n")?;

    let mut needed = BTreeSet::from([PathBuf::from(TCTI)]);
    needed.extend(libraries(Path::new(TCTI))?);
    for (name, place) in [("strongroom", PROGRAM), ("measured-job", JOB)] {
        let program = built(name)?;
        // As a package would: with line tables it is three times as long, and all of it is read and hashed.
        run(bare(Path::new("strip")).arg("-o").arg(within(&tree, Path::new(place))).arg(&program))?;
        needed.extend(libraries(&program)?);
    }
    let another = within(&tree, Path::new(ANOTHER));
    fs::copy(within(&tree, Path::new(PROGRAM)), &another)?;
    File::options().append(true).open(&another)?.write_all(b"\0")?;
    let digest = hex::encode(sha256(&fs::read(&another)?));
    for library in needed {
        let copy = within(&tree, &library);
        if let Some(directory) = copy.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::copy(&library, &copy).with_context(|| format!("copying {}", library.display()))?;
    }

    run(bare(Path::new("mke2fs")).args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(disk).arg(SIZE))?;
    fs::remove_dir_all(tree)?;
    Ok(digest)
}

/// Busybox under all its names.
fn shell(parts: &Parts, tree: &Path) -> anyhow::Result<()> {
    fs::copy(&parts.busybox, tree.join("bin/busybox"))?;
    let names = run(bare(&parts.busybox).arg("--list"))?;
    for name in String::from_utf8(names.stdout)?.lines().filter(|name| *name != "busybox") {
        symlink("/bin/busybox", tree.join("bin").join(name))?;
    }
    Ok(())
}

fn program(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    fs::write(path, content)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}

fn within(tree: &Path, path: &Path) -> PathBuf {
    tree.join(path.strip_prefix("/").unwrap_or(path))
}

/// The shared libraries that a program is linked with, and its loader, where the loader finds them here.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = String::from_utf8(run(bare(Path::new("ldd")).arg(program))?.stdout)?;
    let words = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}
