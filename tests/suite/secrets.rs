//! Nothing that is written, printed, logged, measured or shown to other users holds a secret.

use crate::{
    attacks::key_tree,
    sealing::{open, read_lease, seal_once},
    world::{World, eventually},
};
use base64::{Engine as _, engine::general_purpose};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
};
use strongroom::Request;
use strongroom_protocol::{admin::Role, release::ReleaseResponse};
use strongroom_tests::{Cli, Wire, ports::free_port, programs, wire::writer_key};

/// A secret, by its name, in every form in which it could be written.
struct Canary {
    name: String,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    fn of(name: impl Into<String>, bytes: &[u8]) -> Self {
        let hex = hex::encode(bytes);
        let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
        let forms = vec![
            bytes.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            general_purpose::STANDARD_NO_PAD.encode(bytes).into_bytes(),
            general_purpose::URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
            decimal.join(",").into_bytes(),
            decimal.join(", ").into_bytes(),
        ];
        Self { name: name.into(), forms }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(text, form))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    let (first, mut rest) = (part[0], text);
    while let Some(at) = rest.iter().position(|b| *b == first) {
        if rest[at..].starts_with(part) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Everything that somebody could read, by where it was found.
#[derive(Default)]
struct Found(Vec<(String, Vec<u8>)>);

impl Found {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn ran(&mut self, cli: &Cli, arguments: &[&str]) {
        let ran = cli.run(arguments).unwrap();
        self.add(format!("the output of strongroom {}", arguments.join(" ")), ran.stdout + &ran.stderr);
    }

    /// Every file below that others may read, and every database whoever may read it.
    fn files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.metadata().unwrap());
            if kind.is_dir() {
                self.files(&path);
            } else if kind.is_file() {
                let database = path.to_string_lossy().contains("vault.db");
                if database || kind.permissions().mode() & 0o044 != 0 {
                    self.add(path.display().to_string(), fs::read(&path).unwrap());
                }
            }
        }
    }

    fn process(&mut self, name: &str, pid: u32) {
        for what in ["cmdline", "environ"] {
            match fs::read(format!("/proc/{pid}/{what}")) {
                Ok(bytes) => self.add(format!("{what} of {name}"), bytes),
                // What is hidden even from its owner holds no secret that can be read there.
                Err(error) => println!("{what} of {name} cannot be read: {error}"),
            }
        }
    }
}

fn http_get(address: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).unwrap();
    page
}

/// Root, TLS key, tokens, key versions, lease secrets: what the vault keeps.
fn secrets_of(world: &World) -> Vec<Canary> {
    let vault = &world.vault;
    let root = fs::read(vault.dir().join("root.key")).unwrap();
    let mut canaries = Vec::new();
    if root.len() == 32 {
        canaries.push(Canary::of("the root key", &root));
    } else {
        let text = String::from_utf8(root).unwrap();
        canaries.push(Canary::of("the root key's file", text.trim().as_bytes()));
    }
    let pem = fs::read_to_string(vault.dir().join("tls/server.key")).unwrap();
    for line in pem.lines().filter(|line| !line.starts_with("---")) {
        canaries.push(Canary { name: "a line of the TLS key".into(), forms: vec![line.into()] });
    }
    let body: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    canaries.push(Canary::of("the TLS key", &general_purpose::STANDARD.decode(body).unwrap()));
    for role in Role::ALL {
        let token = fs::read_to_string(vault.token(role).unwrap()).unwrap();
        let secret = token.trim().strip_prefix("srt_").unwrap();
        canaries.push(Canary::of(format!("the token of {}", role.as_str()), token.trim().as_bytes()));
        let bytes = general_purpose::URL_SAFE_NO_PAD.decode(secret).unwrap();
        canaries.push(Canary::of(format!("the bytes of the token of {}", role.as_str()), &bytes));
    }
    canaries
}

#[test]
fn no_secret_is_found_where_anybody_looks() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let listen = format!("\"{metrics}\"");
    let world = World::configured::<1>(&[], &[("log_level", "\"debug\""), ("metrics_listen", &listen)]);
    world.asset("secret", |_| ());
    let (vault, node) = (&world.vault, world.node());
    let dir = tempfile::tempdir().unwrap();
    let marker = b"what was sealed must not be found anywhere but in memory: 93be3a4b-6b4a-4d3c";
    let plaintext = marker.repeat(20_000);
    let mut found = Found::default();

    // The command line, as loud as it can be.
    let plain = dir.path().join("model");
    fs::write(&plain, &plaintext).unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o600)).unwrap();
    let sealed = dir.path().join("model.sealed");
    let (plain, sealed_path) = (plain.to_str().unwrap(), sealed.to_str().unwrap());
    found.ran(&node.cli, &["-vv", "seal", plain, "--asset", "secret"]);
    found.ran(&node.cli, &["-vv", "open", sealed_path, "--asset", "secret", "--digest"]);
    found.ran(&node.cli, &["-vv", "--json", "open", sealed_path, "--asset", "secret"]);
    found.ran(&node.cli, &["-vv", "seal", plain, "--asset", "no-such"]);
    {
        let _alone = node.turn.take();
        let mut command = node.cli.command(["-vv", "open", sealed_path, "--asset", "secret", "--digest"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Until then it is the shell that starts it.
        let started = |exe: std::path::PathBuf| exe.ends_with("strongroom").then_some(());
        let exe = format!("/proc/{}/exe", child.id());
        if programs::is_root() {
            eventually("the client's start", || fs::read_link(&exe).ok().and_then(started));
        }
        found.process("a running client", child.id());
        child.wait().unwrap();
    }
    // The SDK, and the protocol by hand.
    let (room, devices) = (node.room(vault).unwrap(), node.devices().unwrap());
    let other = dir.path().join("other.sealed");
    seal_once(&room, &devices, "secret", 1, &plaintext, &other);
    fs::remove_file(other.with_extension("plain")).unwrap();
    let lease = read_lease(&room, &devices, "secret", &other).unwrap();
    let opened = open(&lease, "secret", &other).unwrap();
    lease.renew().unwrap();
    lease.reattest(&room, &devices).unwrap();
    let wire = Wire::to(&vault.join_file().unwrap()).unwrap();
    let asking = wire.ask(vec![writer_key("secret", 1)]).unwrap();
    let response: ReleaseResponse = asking.send(&wire, &devices).unwrap().json().unwrap();
    let payload = asking.open(&response).unwrap();
    assert!(room.release(&devices, Request::new().version("secret", 1)).is_err());
    // People.
    let custodian = vault.cli(Role::Custodian).unwrap();
    found.ran(&custodian, &["-vv", "lease", "revoke", &lease.id().to_string(), "--reason", "a drill"]);
    found.ran(&custodian, &["-vv", "key", "rotate", "secret"]);
    let admin = vault.cli(Role::Admin).unwrap();
    let fresh = dir.path().join("fresh.token");
    let create = ["-vv", "token", "create", "--person", "eve", "--role", "auditor", "--out", fresh.to_str().unwrap()];
    found.ran(&admin, &create);
    found.ran(&admin, &["-vv", "token", "list"]);
    let auditor = vault.cli(Role::Auditor).unwrap();
    let export = dir.path().join("ledger.jsonl");
    for arguments in [
        vec!["-vv", "--json", "audit", "query", "--last", "1h", "--limit", "1000"],
        vec!["-vv", "audit", "export", "--out", export.to_str().unwrap()],
        vec!["-vv", "audit", "verify", export.to_str().unwrap()],
        vec!["-vv", "node", "list"],
        vec!["-vv", "asset", "list"],
    ] {
        found.ran(&auditor, &arguments);
    }
    for record in world.records(&["--action", "release.decided"]) {
        found.ran(&auditor, &["-vv", "--json", "explain", record["id"].as_str().unwrap()]);
    }
    let mut wrong = Cli::new(vault.beside("wrong")).unwrap();
    wrong.join(&vault.join_path()).unwrap();
    wrong = wrong.with_token(fresh.clone());
    found.ran(&wrong, &["-vv", "site", "create", "x", "--jurisdiction", "DE"]);

    let export_bytes = fs::read(&export).unwrap();
    found.add("the export", export_bytes);
    found.add("the metrics page", http_get(&metrics));
    found.process("strongroomd", vault.pid().unwrap());
    found.add("the vault's log", fs::read(vault.log()).unwrap());
    found.add("the vault's output", fs::read(vault.output()).unwrap());
    found.files(&vault.dir());
    found.files(&vault.beside("nodes"));
    found.files(dir.path());

    let mut canaries = secrets_of(&world);
    canaries.push(Canary { name: "the plaintext".into(), forms: vec![marker.to_vec()] });
    let token = fs::read_to_string(&fresh).unwrap();
    canaries.push(Canary::of("a fresh token", token.trim().as_bytes()));
    canaries.push(Canary::of("a lease's secret", payload.lease_secret.expose()));
    canaries.push(Canary::of("a writer key", payload.keys[0].key.expose()));
    canaries.push(Canary::of("a recipient's private key", asking.recipient.seed().expose()));
    canaries.push(Canary::of("the key of a version", &version_key(&world, "secret", 1)));
    drop(opened);

    check_that_looking_finds(&found, &wire.vault.to_string());
    let (places, bytes) = (found.0.len(), found.0.iter().map(|(_, b)| b.len()).sum::<usize>());
    println!("looked for {} secrets in {places} places, {bytes} bytes", canaries.len());
    for (place, bytes) in &found.0 {
        for canary in &canaries {
            assert!(!canary.is_in(bytes), "{} is in {place}", canary.name);
        }
    }
}

/// A search that could not find anything would be no proof: what is no secret is found.
fn check_that_looking_finds(found: &Found, vault_id: &str) {
    let in_place = |place: &str, what: &str| {
        let places: Vec<_> = found.0.iter().filter(|(name, _)| name.contains(place)).collect();
        assert!(!places.is_empty(), "nobody looked at {place}");
        assert!(places.iter().any(|(_, bytes)| contains(bytes, what.as_bytes())), "{what} is not in {place}");
    };
    in_place("the vault's log", "DEBUG");
    in_place("the vault's log", "/v1/releases");
    in_place("the metrics page", "strongroom_decisions_total");
    in_place("the export", "ledger_verifier_key");
    in_place("cmdline of strongroomd", "strongroomd.toml");
    in_place("vault.db", "fra-1");
    in_place("join.json", vault_id);
    if programs::is_root() {
        in_place("environ of strongroomd", "PATH=");
    }
    let planted = Canary::of("planted", &[0xfa, 0xce, 0xb0, 0x0c, 1, 2, 3, 4]);
    for form in &planted.forms {
        assert!(planted.is_in(&[b"before ", form.as_slice(), b" after"].concat()));
    }
}

/// The key of a version, as only the vault has it.
pub(crate) fn version_key(world: &World, asset: &str, version: u32) -> Vec<u8> {
    use strongroom_store::{SqliteStore, Store as _};
    let tree = key_tree(&world.vault);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let row = runtime.block_on(async {
        let store = SqliteStore::open(&world.vault.dir().join("vault.db")).await.unwrap();
        store.key(asset, version).await.unwrap().unwrap().row
    });
    tree.version_key(asset, version, &row.wrapped.0).unwrap().expose().to_vec()
}
