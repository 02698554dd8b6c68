//! Users who have the kernel say of them what is not so, with what any user may do in a namespace of his own.

use super::{Desk, Rig, digest};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use strongroom_protocol::{DecisionId, admin::Role, audit::DecisionView};
use strongroom_tests::{
    Cli,
    programs::{self, AS_NOBODY, bare, built},
};

/// What starts a program as a user without rights.
fn as_a_user() -> Vec<&'static str> {
    if programs::is_root() { AS_NOBODY.to_vec() } else { vec!["env"] }
}

/// A command of such a user, in namespaces of his own where he is root.
fn as_its_root(more: &[&'static str]) -> Vec<&'static str> {
    [as_a_user(), vec!["unshare", "--user", "--map-root-user"], more.to_vec(), vec!["--"]].concat()
}

/// Whether users may make namespaces here; says so if not.
fn may_unshare() -> bool {
    let tried = command(&as_its_root(&[]), "true").output().unwrap();
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).into_owned();
        programs::skip("impostors", &format!("users may make no user namespaces here: {}", why.trim()));
    }
    tried.status.success()
}

fn command(starter: &[&str], program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = bare(Path::new(starter[0]));
    command.args(&starter[1..]).arg(program);
    command
}

#[test]
fn a_process_in_a_user_namespace_of_its_own_is_nobody() {
    let rig = Rig::new();
    rig.asset("of-users");
    let desk = Desk::of(&rig);
    let seal = ["seal", &desk.path("model"), "--asset", "of-users", "--replace"];
    desk.cli(&as_a_user()).run(seal).unwrap().done().unwrap();
    if !may_unshare() {
        return;
    }
    // There it could make `/proc/PID/exe` name any file (`PR_SET_MM_MAP`).
    let ran = desk.cli(&as_its_root(&[])).run(seal).unwrap();
    println!("in a user namespace: exit {:?}: {}", ran.code, ran.stderr.trim());
    assert_eq!(ran.code, Some(4));
    assert!(ran.stderr.contains("[unidentified]") && ran.stderr.contains("user namespace of its own"));
}

#[test]
fn who_names_his_child_as_the_sender_is_not_believed() {
    let rig = Rig::new();
    let desk = Desk::of(&rig);
    let program = desk.dir.path().join("impostor");
    fs::copy(built("impostor").unwrap(), &program).unwrap();
    let ask = |starter: &[&str], who: &[&str]| {
        let output = command(starter, &program).arg(rig.agent.socket()).args(who).output().unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };
    let (code, answer) = ask(&as_a_user(), &["self"]);
    assert_eq!((code, &answer["answer"]), (Some(0), &json!("caller")), "{answer}");
    // Who is nobody's root is refused by the kernel.
    assert_eq!(ask(&as_a_user(), &["child", "cat"]).0, Some(3));
    if !may_unshare() {
        return;
    }
    let (code, answer) = ask(&as_its_root(&["--pid", "--fork", "--mount-proc"]), &["child", "cat"]);
    println!("of a child of his: {answer}");
    assert_eq!((code, &answer["code"]), (Some(0), &json!("unidentified")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("user namespace of its own"), "{answer}");
}

/// A file system that a user mounted, with a copy of a program, for as long as this is not dropped.
struct Mounted {
    holder: Child,
    program: PathBuf,
}

impl Mounted {
    fn with(program: &str, at: &Path) -> Self {
        const MOUNT: &str = "mount -t tmpfs none \"$1\" && cp \"$2\" \"$1/program\" && echo $$ && exec cat";
        let mut mount = command(&as_its_root(&["--mount"]), "sh");
        mount.args(["-c", MOUNT, "sh"]).arg(at).arg(program);
        let mut holder = mount.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        // The way in from the machine's namespaces; a descriptor that was handed over would be another.
        let root = Path::new("/proc").join(pid.trim()).join("root");
        Self { holder, program: root.join(at.strip_prefix("/").unwrap()).join("program") }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_program_from_a_file_system_that_its_user_mounted_has_no_digest() {
    let rig = Rig::new();
    let desk = Desk::of(&rig);
    let listed = desk.path("strongroom");
    for asset in ["by-program", "open-to-all"] {
        rig.asset(asset);
    }
    rig.limit_callers(&json!({ "by-program": { "exe_sha256": [digest(Path::new(&listed))] } }));
    let model = desk.path("model");
    let seal = |asset| ["seal", &model, "--asset", asset, "--replace"];
    desk.cli(&as_a_user()).run(seal("by-program")).unwrap().done().unwrap();
    if !may_unshare() {
        return;
    }
    let mounted = Mounted::with(&listed, &desk.dir.path().join("home"));
    // In the machine's user namespace itself, from a file with the listed program's very content.
    let cli = Cli::new(desk.dir.path().join("home")).unwrap().started_by(mounted.program.clone(), &as_a_user());
    assert_eq!(cli.refused(seal("by-program")).unwrap().reasons, ["caller_not_allowed"]);
    let sealed: Value = cli.ask(seal("open-to-all")).unwrap();
    let id: DecisionId = serde_json::from_value(sealed["decision"].clone()).unwrap();
    let view: DecisionView = rig.world.vault.admin(Role::Auditor).unwrap().get(&format!("/v1/decisions/{id}")).unwrap();
    assert_eq!(view.input["caller"]["exe"]["sha256"], Value::Null, "{}", view.input["caller"]);
}
