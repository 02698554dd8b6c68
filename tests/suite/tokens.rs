//! Tokens as their holders use them: whose they are, rotation, last use.

use crate::world::World;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};
use strongroom_protocol::admin::{Role, TokenState, TokenView};
use strongroom_tests::Cli;

#[test]
fn a_holder_sees_and_replaces_the_token_that_he_has() {
    let world = World::found::<0>(&[]);
    let admin = world.vault.cli(Role::Admin).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("olga.token");
    let text = file.to_str().unwrap();
    let create = ["token", "create", "--person", "olga", "--role", "operator", "--expires-in", "30d", "--out", text];
    admin.run(create).unwrap().done().unwrap();
    let olga = Cli::new(dir.path().join("home")).unwrap().with_token(file.clone());
    olga.join(&world.vault.join_path()).unwrap();
    let me: TokenView = olga.ask(["whoami"]).unwrap();
    assert_eq!(
        (me.person.as_str(), me.roles.as_slice(), me.state),
        ("olga", &[Role::Operator][..], TokenState::Active)
    );
    let said = olga.run(["whoami"]).unwrap().done().unwrap().stdout;
    for word in ["olga", "operator", &me.id, &me.expires_at, "last used"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }

    let first = fs::read_to_string(&file).unwrap();
    let rotated: Value = olga.ask(["token", "rotate", "--grace", "5m"]).unwrap();
    let second = fs::read_to_string(&file).unwrap();
    assert_ne!(first, second);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let renewed: TokenView = olga.ask(["whoami"]).unwrap();
    assert_eq!((renewed.id.as_str(), &renewed.expires_at), (rotated["id"].as_str().unwrap(), &me.expires_at));
    let old = dir.path().join("old.token");
    fs::write(&old, &first).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
    let as_before = Cli::new(dir.path().join("home")).unwrap().with_token(old);
    let replaced: TokenView = as_before.ask(["whoami"]).unwrap();
    assert_eq!((replaced.state, replaced.replaced_by.as_deref()), (TokenState::Replaced, rotated["id"].as_str()));
    let ran = as_before.run(["token", "rotate"]).unwrap();
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);

    // At once, into another file; the one that asked is over.
    let other = dir.path().join("other.token");
    olga.run(["token", "rotate", "--at-once", "--out", other.to_str().unwrap()]).unwrap().done().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), second, "it was left as it was");
    let ran = olga.run(["whoami"]).unwrap();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("unauthenticated"), "{}", ran.stderr);
    let olga = Cli::new(dir.path().join("home")).unwrap().with_token(other);
    olga.ask::<TokenView, _>(["whoami"]).unwrap();
    for bad in [&["token", "rotate", "--grace", "2h"][..], &["token", "rotate", "--grace", "1m", "--at-once"]] {
        assert_ne!(olga.run(bad).unwrap().code, Some(0), "{bad:?}");
    }
    olga.ask::<TokenView, _>(["whoami"]).unwrap();

    let listed: Vec<TokenView> = admin.ask(["token", "list"]).unwrap();
    for state in [TokenState::Replaced, TokenState::Revoked, TokenState::Active] {
        let those = listed.iter().filter(|t| t.person == "olga" && t.state == state);
        assert_eq!(those.count(), 1, "{state:?}");
    }
    let acts = world.records(&["--actor", "person:olga"]);
    assert_eq!(
        acts.iter().map(|r| r["action"].as_str().unwrap()).collect::<Vec<_>>(),
        ["token.rotated", "token.rotated"]
    );
}
