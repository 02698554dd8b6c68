//! A server that does not outlive the test process.

use anyhow::{Context as _, bail};
use std::{
    fs::File,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Who servers run as when tests run as root, which PostgreSQL and pgbouncer refuse.
const ACCOUNT: &str = "postgres";
/// A server starts in a second; a loaded machine may take many.
const PATIENCE: Duration = Duration::from_mins(1);
/// Starts the server, and ends it by a signal when standard input ends. Who ends it in order says `keep`;
/// without that word nobody is there any more, and the server's directory goes too, as soon as its last
/// process does not write there any more.
const WATCH: &str = r#"signal=$1; directory=$2; shift 2; "$@" </dev/null & pid=$!; read -r word
kill -"$signal" "$pid"; wait "$pid"; [ "$word" = keep ] && exit
for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$directory" && exit; sleep 0.2; done"#;

/// A running server.
pub struct Server {
    watch: Child,
    /// While this is open, the server runs.
    alive: Option<ChildStdin>,
    log: PathBuf,
}

impl Server {
    /// Starts a program without rights, with its messages in `log` in its directory.
    pub(crate) fn start(program: &Path, arguments: &[String], signal: &str, directory: &Path) -> anyhow::Result<Self> {
        let mut command = unprivileged(Path::new("bash"));
        command.args(["-c", WATCH, "bash", signal]).arg(directory).arg(program).args(arguments);
        command.stdin(Stdio::piped());
        let log = directory.join("log");
        let messages = File::options().append(true).create(true).open(&log)?;
        command.stdout(messages.try_clone()?).stderr(messages);
        let mut watch = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let alive = watch.stdin.take();
        Ok(Self { watch, alive, log })
    }

    /// Waits until it serves.
    pub(crate) fn wait_until(&self, serves: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !serves()? {
            if begun.elapsed() > PATIENCE {
                bail!("it does not serve: {}", std::fs::read_to_string(&self.log).unwrap_or_default());
            }
            // Nobody tells when a server is ready: it has to be asked.
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut alive) = self.alive.take() {
            // An error means that it has ended already.
            let _ = alive.write_all(b"keep\n");
        }
        // Gone already if it ended by itself.
        let _ = self.watch.wait();
    }
}

/// A command without rights and without an environment.
pub(crate) fn unprivileged(program: &Path) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={ACCOUNT}")).arg(format!("--regid={ACCOUNT}")).arg("--clear-groups").arg("--");
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").current_dir("/");
    command
}

/// Makes a file or directory that of whom servers run as.
pub(crate) fn give_away(path: &Path) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        let status = Command::new("chown").arg(format!("{ACCOUNT}:{ACCOUNT}")).arg(path).status()?;
        if !status.success() {
            bail!("{} cannot be given to {ACCOUNT}: is PostgreSQL installed? run `make setup`", path.display());
        }
    }
    Ok(())
}

/// Writes a file that only whom servers run as may read.
pub(crate) fn give_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    give_away(path)
}

/// A port of loopback that nobody listens on now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
