//! Where a reader begins: a project that is built, a home with nothing in it, no rights.

use anyhow::Context as _;
use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use strongroom_tests::{
    ports::free_port,
    programs::{NOBODY, bare, built, is_root, project, run},
};

/// What a login of Debian 12 may lock, bytes: tutorials have to do with that.
const MEMLOCK: &str = "--memlock=8388608:8388608";
/// A user without any right.
const NOBODY_AT_ALL: [&str; 8] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--bounding-set=-all",
];

pub(super) struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    /// With programs, policies and wheels.
    pub(super) fn make() -> anyhow::Result<Self> {
        let stage = Self::bare()?;
        let debug = stage.project().join("target/debug");
        fs::create_dir_all(&debug)?;
        for name in ["strongroom", "strongroomd", "standin-tpm", "boot-standin"] {
            link(&built(name)?, &debug.join(name))?;
        }
        let policies = stage.project().join("policies");
        fs::create_dir(&policies)?;
        run(Command::new("cp").arg("-r").arg(project().join("policies/baseline")).arg(policies))?;
        // Our wheel, of the build that is tested, and what a package index would give.
        let wheels = stage.project().join("target/wheels");
        fs::create_dir(&wheels)?;
        run(Command::new(project().join(".ci/python")).arg("development-wheel").arg(wheels))?;
        fs::create_dir(stage.wheelhouse())?;
        for wheel in fs::read_dir(project().join("target/wheelhouse")).context("run `make setup`")? {
            let wheel = wheel?.path();
            link(&wheel, &stage.wheelhouse().join(wheel.file_name().unwrap_or_default()))?;
        }
        Ok(stage)
    }

    /// With nothing but a home.
    pub(super) fn bare() -> anyhow::Result<Self> {
        let stage = Self { dir: tempfile::tempdir()? };
        fs::set_permissions(stage.dir.path(), fs::Permissions::from_mode(0o755))?;
        for directory in [stage.project(), stage.home(), stage.printed()] {
            fs::create_dir(&directory)?;
            if is_root() {
                std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY))?;
            }
        }
        Ok(stage)
    }

    /// The project, as its users built it.
    fn project(&self) -> PathBuf {
        self.dir.path().join("strongroom")
    }

    /// The reader's home.
    pub(super) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// What each step printed.
    pub(super) fn printed(&self) -> PathBuf {
        self.dir.path().join("printed")
    }

    /// What the package index would give.
    fn wheelhouse(&self) -> PathBuf {
        self.dir.path().join("wheelhouse")
    }

    /// A shell of the reader, in a group of processes of its own, that runs a script.
    pub(super) fn shell(&self, script: &Path) -> anyhow::Result<Child> {
        let mut command = if is_root() {
            let mut command = bare(Path::new("prlimit"));
            command.arg(MEMLOCK).args(NOBODY_AT_ALL).arg("bash");
            command
        } else {
            bare(Path::new("bash"))
        };
        command.arg(script).current_dir(self.project()).process_group(0);
        command.env_remove("TSS2_LOG").env("HOME", self.home()).env("TMPDIR", self.home()).env("LANG", "C.UTF-8");
        command.env("PORT", free_port().to_string());
        command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", self.wheelhouse()).env("PIP_NO_CACHE_DIR", "1");
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }
}

/// Without a copy where that can be: the programs are large.
fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
    }
    Ok(())
}
