//! What the crate itself refuses, whatever a bundle says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_collect,
    reason = "tests speak by failing"
)]

use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, time::Instant};
use strongroom_policy::{
    Bundle, DATA_FILE, DENIALS, Outcome, Policy, PolicyError, PolicyInput, Sources, Verdict, load_dir, test_bundle,
};

const DATA: &str = include_str!("../../../policies/baseline/data.json");
const EXAMPLE: &str = include_str!("../../../policies/input.example.json");
/// Rules that release anything: each test breaks one thing in them.
const OPEN: &str = r#"package strongroom.release

allow := true

deny contains {"code": "never", "message": "Never."} if false

obligations := {
	"lease_seconds": 600,
	"renew_after": 60,
	"reattest_after": 300,
	"handling": ["no_swap"],
	"plaintext_to_disk": false,
}
"#;

fn files(rules: &str) -> BTreeMap<String, String> {
    [("release.rego", rules), (DATA_FILE, DATA)].map(|(p, t)| (p.to_owned(), t.to_owned())).into()
}

fn load(rules: &str) -> Result<Bundle, PolicyError> {
    Bundle::from_files(files(rules))
}

fn input() -> PolicyInput {
    serde_json::from_str(EXAMPLE).unwrap()
}

/// Codes of the denials; empty when released.
fn decide(rules: &str) -> Vec<String> {
    let evaluation = Policy::prepare(load(rules).unwrap()).evaluate(&input()).unwrap();
    assert_eq!(evaluation.verdict() == Verdict::Released, evaluation.obligations().is_some());
    assert_eq!(evaluation.verdict() == Verdict::Released, evaluation.denials().is_empty());
    evaluation.reason_codes()
}

fn refusal(rules: &str) -> String {
    load(rules).unwrap_err().to_string()
}

/// `OPEN` with further rules.
fn with(more: &str) -> String {
    format!("{OPEN}\n{more}\n")
}

#[test]
fn the_open_rules_release_so_that_each_refusal_below_has_one_cause() {
    assert_eq!(decide(OPEN), Vec::<String>::new());
}

#[test]
fn an_empty_bundle_does_not_load_so_it_releases_nothing() {
    assert!(matches!(Bundle::from_files(BTreeMap::new()), Err(PolicyError::Data { .. })));
    let only_data = [(DATA_FILE.to_owned(), DATA.to_owned())].into();
    assert!(matches!(Bundle::from_files(only_data), Err(PolicyError::MissingRule { .. })));
    let only_rules = [("release.rego".to_owned(), OPEN.to_owned())].into();
    assert!(matches!(Bundle::from_files(only_rules), Err(PolicyError::Data { .. })));
    for rule in ["allow", "deny", "obligations"] {
        let text = refusal(&OPEN.replace(rule, "other"));
        assert!(text.contains(&format!("data.strongroom.release.{rule}")), "{text}");
    }
    assert!(refusal(&OPEN.replace("strongroom.release", "strongroom.releases")).contains("no rule"));
}

#[test]
fn rules_outside_the_package_do_not_decide() {
    assert!(
        refusal(&OPEN.replace("package strongroom.release", "package settings")).contains("begin with `strongroom`")
    );
    assert!(refusal(&OPEN.replace("package strongroom.release", "")).contains("no package"));
}

#[test]
fn an_allow_that_is_undefined_false_or_no_boolean_releases_nothing() {
    assert_eq!(decide(&OPEN.replace("allow := true", "allow if input.nothing")), ["not_allowed"]);
    assert_eq!(decide(&OPEN.replace("allow := true", "default allow := false")), ["not_allowed"]);
    for wrong in ["\"true\"", "1", "{\"value\": true}", "null"] {
        assert_eq!(
            decide(&OPEN.replace("allow := true", &format!("allow := {wrong}"))),
            ["policy_malformed"],
            "{wrong}"
        );
    }
}

#[test]
fn a_denial_goes_before_allow() {
    assert_eq!(decide(&OPEN.replace("if false", "if true")), ["never"]);
}

#[test]
fn a_deny_that_is_no_set_of_denials_refuses() {
    let deny = "deny contains {\"code\": \"never\", \"message\": \"Never.\"} if false";
    for wrong in [
        "deny := 3",
        "deny := {\"never\": {\"code\": \"never\", \"message\": \"Never.\"}}",
        "deny contains \"never\"",
        "deny contains {\"code\": \"never\"}",
        "deny contains {\"code\": \"Never\", \"message\": \"x\"}",
        "deny contains {\"code\": \"\", \"message\": \"x\"}",
        "deny contains {\"code\": 3, \"message\": \"x\"}",
        "deny contains {\"code\": \"never\", \"message\": \"x\", \"more\": 1}",
    ] {
        assert_eq!(decide(&OPEN.replace(deny, wrong)), ["policy_malformed"], "{wrong}");
    }
    assert_eq!(
        decide(&OPEN.replace(deny, &format!("deny contains {{\"code\": \"{}\", \"message\": \"x\"}}", "a".repeat(65)))),
        ["policy_malformed"]
    );
    assert_eq!(
        decide(&OPEN.replace(deny, &format!("deny contains {{\"code\": \"{}\", \"message\": \"x\"}}", "a".repeat(64)))),
        ["a".repeat(64)]
    );
    assert_eq!(decide(&OPEN.replace(deny, "deny if input.nothing")), ["policy_malformed"]);
}

#[test]
fn obligations_that_nobody_knows_refuse() {
    for (from, to) in [
        ("\"no_swap\"", "\"no_such\""),
        ("\"lease_seconds\": 600,", "\"lease_seconds\": 600, \"watermark\": true,"),
        ("\"lease_seconds\": 600,", ""),
        ("\"lease_seconds\": 600", "\"lease_seconds\": 604801"),
        ("\"renew_after\": 60", "\"renew_after\": 301"),
        ("\"reattest_after\": 300", "\"reattest_after\": 601"),
        ("\"plaintext_to_disk\": false", "\"plaintext_to_disk\": \"false\""),
        ("\"plaintext_to_disk\": false", "\"plaintext_to_disk\": input.nothing"),
    ] {
        assert!(OPEN.contains(from));
        assert_eq!(decide(&OPEN.replace(from, to)), ["policy_malformed"], "{from} -> {to}");
    }
}

#[test]
fn an_error_in_any_rule_refuses() {
    for wrong in [
        "other if to_number(\"three\") == 3",
        "allow := false",
        "other := a.b\na := [1][3] + 1\nclash := 1\nclash := 2",
        "deny contains {\"code\": \"x\", \"message\": sprintf(\"%d\", [])}",
    ] {
        assert_eq!(decide(&with(wrong)), ["policy_error"], "{wrong}");
    }
}

#[test]
fn syntax_of_rego_v0_and_other_errors_do_not_load() {
    for wrong in ["other { true }", "other if {", "other := ", "deny[x] { x := 1 }", "other if x == 1"] {
        assert!(load(&with(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn builtins_that_are_not_deterministic_or_reach_outside_do_not_load() {
    for call in [
        "time.now_ns()",
        "rand.intn(\"a\", 3)",
        "rand[\"intn\"](\"a\", 3)",
        "rand\n\t\t.intn(\"a\", 3)",
        "http.send({\"url\": \"http://localhost\"})",
        "opa.runtime()",
        "uuid.rfc4122(\"a\")",
        "net.lookup_ip_addr(\"localhost\")",
        "numbers.range(1, 2)",
        "bits.lsh(1, 2)",
        "print(\"a\")",
        "trace(\"a\")",
        "crypto.sha256(\"a\")",
        "no_such_function(1)",
        "input.node.f(1)",
        "input[\"x\"][0](1)",
    ] {
        let text = refusal(&with(&format!("other if {{\n\t{call} != 0\n}}")));
        assert!(text.starts_with("release.rego:"), "{call}: {text}");
        assert!(
            text.contains("refused") || text.contains("neither defined") || text.contains("write the"),
            "{call}: {text}"
        );
    }
    // In a string or a comment they are words.
    assert_eq!(decide(&with("# time.now_ns()\nother := \"rand.intn(1)\"")), Vec::<String>::new());
}

#[test]
fn an_import_cannot_stand_for_a_builtin() {
    let text = refusal(&OPEN.replace("\n\nallow", "\nimport data.tables as rand\nallow"));
    assert!(text.contains("as builtins are"), "{text}");
    assert!(
        refusal(&OPEN.replace("\n\nallow", "\nimport data.settings as input\nallow")).contains("as the document is")
    );
    assert!(refusal(&OPEN.replace("\n\nallow", "\nimport data.x.time\nallow")).contains("as builtins are"));
}

#[test]
fn rules_may_not_replace_the_input_that_is_decided_on() {
    let text = refusal(&with("other if inner with input as {}\ninner if input.node"));
    assert!(text.contains("only tests may use it"), "{text}");
}

#[test]
fn recursion_does_not_load() {
    for wrong in [
        "f(x) := f(x + 1)\nother if f(1) == 2",
        "f(x) := g(x)\ng(x) := h(x)\nh(x) := f(x)\nother if f(1) == 2",
        "f(x) := data.strongroom.release.f(x)\nother if f(1) == 2",
        "f(x) := data.strongroom[\"release\"].f(x)\nother if f(1) == 2",
        "  f(x) := 1\n  if { x > f(x)\n }",
        "a if b\nb if a",
        "default f(_) := 1\nf(x) := y if { y := f(x) }",
        "f(x) := 1 g(x) := h(x) h(x) := g(x)",
    ] {
        let text = refusal(&with(wrong));
        assert!(text.contains("refers to itself"), "{wrong}: {text}");
    }
}

#[test]
fn shapes_that_would_end_the_process_do_not_load() {
    for wrong in [
        format!("other := 1{}", " + 1\n".repeat(20_000)),
        format!("other := {}1{}", "[".repeat(11), "]".repeat(11)),
        format!("other := {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("other := {}", "[".repeat(20_000)),
        format!("other := input{}", ".a".repeat(30)),
        "other := input)".to_owned(),
        (0..600).map(|i| format!("r{i} := 1\n")).collect(),
        (0..300).map(|i| format!("f{i}(x) := f{}(x)\n", i + 1)).collect::<String>() + "f300(x) := 1",
        format!("other := \"{}\"", "a".repeat(600)),
        "\n".repeat(9000),
        (0..60).map(|i| format!("f{i}(x) := [y | y := [z | z := f{}(x)]][0]\n", i + 1)).collect::<String>()
            + "f60(x) := 1",
        format!("other if {{\n{}}}", (0..600).map(|i| format!("some a{i} in [1]\n")).collect::<String>()),
        // What cannot be read from the text cannot be bounded.
        "other := data.strongroom.release[concat(\"\", [\"a\", \"llow\"])]".to_owned(),
        "other := data[\"strongroom\"]".to_owned(),
        "other := [x | some x in data]".to_owned(),
        "other := data.strongroom.release".to_owned(),
    ] {
        let start = Instant::now();
        assert!(load(&with(&wrong)).is_err(), "{}", &wrong[..40]);
        assert!(start.elapsed().as_secs() < 5, "{}", &wrong[..40]);
    }
}

/// The largest shapes that load must fit the stack of a worker thread: 2 MiB.
#[test]
fn the_largest_shapes_that_load_evaluate() {
    let sums = |depth: usize| {
        let level = " + 1".repeat(32);
        format!("other := {}1{}", "(".repeat(depth), format!("{level})").repeat(depth))
    };
    // Functions that call the next: `f0(x) := ...f1(x)...`.
    let chain = |n: usize, body: &dyn Fn(&str) -> String| {
        let functions = (0..n).map(|i| format!("f{i}(x) := {}\n", body(&format!("f{}(x)", i + 1))));
        functions.collect::<String>() + &format!("f{n}(x) := 1\nother := f0(1)")
    };
    let worst = [
        sums(10).replace(" + 1)", "\n + 1)"),
        format!("other := {}1{}", "[".repeat(10), "]".repeat(10)),
        format!("other := {}1{}", "{".repeat(10), "}".repeat(10)),
        format!("other := {}1{}", "[x | x := ".repeat(10), "]".repeat(10)),
        chain(100, &|next| next.to_owned()),
        chain(50, &|next| format!("[x | x := {next}][0]")),
        chain(20, &|next| format!("[a | a := [b | b := [c | c := [d | d := {next}]]]][0]")),
        chain(18, &|next| format!("abs(abs(abs(abs({next} + 1 + 1 + 1)))) + 1 + 1 + 1 + 1 + 1")),
        chain(30, &|next| format!("x if {{ some a in [1]; some b in [2]; some c in [3]; some d in [4]; {next} }}")),
        (0..20)
            .map(|i| format!("r{i} := [a | a := [b | b := [c | c := [d | d := r{}]]]][0]\n", i + 1))
            .collect::<String>()
            + "r20 := 1",
    ];
    for rules in worst {
        let rules = with(&rules);
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
            let start = Instant::now();
            let policy = Policy::prepare(load(&rules).unwrap_or_else(|e| panic!("{e}")));
            let evaluation = policy.evaluate(&input()).unwrap();
            (start.elapsed(), evaluation)
        });
        let (took, evaluation) = thread.unwrap().join().unwrap();
        assert!(took.as_secs() < 5, "{took:?}");
        println!("{took:?} {:?}", evaluation.denials());
    }
}

#[test]
fn an_evaluation_that_does_not_end_is_a_denial() {
    let many = "xs := [x | some a in s; some b in s; some c in s; some d in s; some e in s; some f in s; x := a]";
    let rules = with(&format!("s := [{}]\n{many}", ["1"; 100].join(",")));
    let start = Instant::now();
    let evaluation = Policy::prepare(load(&rules).unwrap()).evaluate(&input()).unwrap();
    assert_eq!(evaluation.reason_codes(), ["policy_error"]);
    assert!(evaluation.denials()[0].message.contains("time limit"), "{:?}", evaluation.denials());
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn denials_are_bounded_in_number_and_size() {
    let rules = with(
        "deny contains {\"code\": \"big\", \"message\": sprintf(\"%d %s\", [i, text]), \"got\": text, \"claim\": \"a\\u001b[2J\"} if some i, _ in data.many\n\
         text := concat(\"\", [x | some _ in data.many; x := \"0123456789é\"])",
    );
    let mut files = files(&rules);
    let mut data: Value = serde_json::from_str(DATA).unwrap();
    data["many"] = json!(vec![1; 300]);
    files.insert(DATA_FILE.to_owned(), data.to_string());
    let evaluation = Policy::prepare(Bundle::from_files(files).unwrap()).evaluate(&input()).unwrap();
    assert_eq!(evaluation.reason_codes(), ["big", "more_denials"]);
    assert_eq!(evaluation.denials().len(), DENIALS + 1);
    let first = &evaluation.denials()[0];
    assert!(first.message.len() <= 512 && first.message.len() > 500, "{}", first.message.len());
    assert_eq!(first.got, Some(json!("a value of 3602 bytes, not kept")));
    assert_eq!(first.claim.as_deref(), Some("a [2J"));
    assert!(evaluation.denials().last().unwrap().message.contains("44 more"));
}

#[test]
fn files_that_are_no_bundle_are_refused() {
    let add = |path: &str, text: String| {
        let mut all = files(OPEN);
        all.insert(path.to_owned(), text);
        Bundle::from_files(all)
    };
    let library = "package strongroom.lib\nx := 1".to_owned();
    assert!(add("lib/x.rego", library.clone()).is_ok());
    for path in [
        "../x.rego",
        "/x.rego",
        "lib//x.rego",
        ".x.rego",
        "x.txt",
        "lib/data.json",
        "X.rego",
        ".rego",
        "a\\b.rego",
        "x_test.rego",
    ] {
        assert!(matches!(add(path, library.clone()), Err(PolicyError::Path { .. })), "{path}");
    }
    assert!(matches!(add(&format!("{}.rego", "a".repeat(130)), library.clone()), Err(PolicyError::Path { .. })));
    let comment = |bytes: usize| format!("{library}\n{}", "# a line of filling\n".repeat(bytes / 20));
    assert!(matches!(add("x.rego", comment(257 << 10)), Err(PolicyError::TooLarge { .. })));
    let mut many = files(OPEN);
    many.extend((0..6).map(|i| (format!("x{i}.rego"), comment(200 << 10))));
    assert!(matches!(Bundle::from_files(many), Err(PolicyError::TooLarge { .. })));
    let mut many = files(OPEN);
    many.extend((0..63).map(|i| (format!("x{i}.rego"), library.clone())));
    assert!(matches!(Bundle::from_files(many), Err(PolicyError::TooLarge { .. })));
}

#[test]
fn data_cannot_stand_in_for_rules() {
    let mut files = files(&OPEN.replace("allow := true", "default allow := false"));
    let text = DATA.replacen("\"settings\"", "\"strongroom\": {\"release\": {\"allow\": true}}, \"settings\"", 1);
    files.insert(DATA_FILE.to_owned(), text);
    assert!(matches!(Bundle::from_files(files), Err(PolicyError::Data { .. })));
}

/// Computed with Python's `hashlib` and `struct` from the words of `Bundle::digest`.
#[test]
fn the_digest_is_of_paths_and_texts() {
    let data = r#"{"settings":{"pcr_selection":{"bank":"sha256","pcrs":[0]},"lease_seconds":3,"renew_after":1,"reattest_after":2,"max_leases_per_node":1,"max_leases_per_asset":1,"max_objects_per_key":1,"version_scope_assets":[],"plaintext_to_disk":false,"handling":[]}}"#;
    let rules = "package strongroom.release\nallow := false\ndeny := set()\nobligations := {}\n";
    let of = |files: &[(&str, &str)]| {
        Bundle::from_files(files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect()).unwrap().digest()
    };
    let hex: String = of(&[("release.rego", rules), (DATA_FILE, data)]).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "0310eb0014f9f75cf97dfbc179eca94366b631c38980e29368910041a7448a03");
    assert_ne!(of(&[("release.rego", rules), (DATA_FILE, data)]), of(&[("releases.rego", rules), (DATA_FILE, data)]));
    let longer = format!("{rules}\n");
    assert_ne!(of(&[("release.rego", rules), (DATA_FILE, data)]), of(&[("release.rego", &longer), (DATA_FILE, data)]));
}

#[test]
fn a_policy_is_shared_between_threads() {
    let policy = Policy::prepare(load(OPEN).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(policy.evaluate(&input()).unwrap().verdict(), Verdict::Released);
                }
            });
        }
    });
}

#[test]
fn tests_pass_fail_or_end_in_an_error() {
    let tests = "package strongroom.release_test\n\
        import data.strongroom.release\n\
        test_good if release.allow with input as {}\n\
        test_bad if { print(\"seen\", 1); not release.allow }\n\
        test_false := false\n\
        test_number := 1\n\
        test_error if to_number(\"x\") == 1\n\
        helper_test_x if true\n";
    let tests: BTreeMap<_, _> = [("release_test.rego".to_owned(), tests.to_owned())].into();
    let report = test_bundle(&files(OPEN), &tests).unwrap();
    let outcomes: BTreeMap<_, _> = report
        .results
        .iter()
        .map(|r| (r.name.strip_prefix("strongroom.release_test.").unwrap(), r.outcome.clone()))
        .collect();
    assert_eq!(outcomes.len(), 5);
    assert_eq!(outcomes["test_good"], Outcome::Passed);
    assert_eq!(outcomes["test_bad"], Outcome::Failed);
    assert_eq!(outcomes["test_false"], Outcome::Failed);
    assert_eq!(outcomes["test_number"], Outcome::Failed);
    assert!(matches!(&outcomes["test_error"], Outcome::Error(text) if text.contains("number")));
    assert!(!report.passed());
    // Where each stands, and what it was instead of true.
    let told: BTreeMap<_, _> = report
        .results
        .iter()
        .map(|r| (r.name.rsplit_once('.').unwrap().1, (r.at.as_str(), r.got.as_deref())))
        .collect();
    assert_eq!(told["test_good"], ("release_test.rego:3", None));
    assert_eq!(told["test_bad"], ("release_test.rego:4", Some("undefined")));
    assert_eq!(told["test_false"], ("release_test.rego:5", Some("false")));
    assert_eq!(told["test_number"], ("release_test.rego:6", Some("1")));
    assert_eq!(told["test_error"], ("release_test.rego:7", None));
    let bad = report.results.iter().find(|r| r.name.ends_with("test_bad")).unwrap();
    assert!(bad.prints.len() == 1 && bad.prints[0].ends_with("seen 1"), "{:?}", bad.prints);
    assert!(!test_bundle(&files(OPEN), &BTreeMap::new()).unwrap().passed());
}

#[test]
fn tests_cannot_repair_a_bundle_that_does_not_load() {
    let tests: BTreeMap<_, _> =
        [("x_test.rego".to_owned(), "package strongroom.release\nallow := true\n".to_owned())].into();
    let broken = OPEN.replace("allow := true", "");
    assert!(matches!(test_bundle(&files(&broken), &tests), Err(PolicyError::MissingRule { .. })));
    let misnamed: BTreeMap<_, _> = [("x.rego".to_owned(), "package strongroom.x\ntest_x := true\n".to_owned())].into();
    assert!(matches!(test_bundle(&files(OPEN), &misnamed), Err(PolicyError::Path { .. })));
}

#[test]
fn a_directory_gives_bundle_and_tests_and_no_links() {
    let directory = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("release.rego", OPEN);
    put(DATA_FILE, DATA);
    put("release_test.rego", "package strongroom.release_test\ntest_x := true\n");
    put("lib/x.rego", "package strongroom.lib\nx := 1\n");
    put("README.md", "Text.");
    put(".git/x.rego", "no");
    let sources = load_dir(directory.path()).unwrap();
    assert_eq!(sources.files.keys().collect::<Vec<_>>(), [DATA_FILE, "lib/x.rego", "release.rego"]);
    assert_eq!(sources.tests.keys().collect::<Vec<_>>(), ["release_test.rego"]);
    assert!(test_bundle(&sources.files, &sources.tests).unwrap().passed());
    let rules_and_tests: BTreeMap<_, _> = sources.files.clone().into_iter().chain(sources.tests.clone()).collect();
    assert_eq!(Sources::split(rules_and_tests), sources);

    put("lib/big.rego", &"# a line of filling\n".repeat(14_000));
    assert!(matches!(load_dir(directory.path()), Err(PolicyError::TooLarge { .. })));
    std::fs::remove_file(directory.path().join("lib/big.rego")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", directory.path().join("lib/link.rego")).unwrap();
    let refused = load_dir(directory.path()).unwrap_err().to_string();
    assert!(refused.contains("symbolic link"), "{refused}");
    std::fs::remove_file(directory.path().join("lib/link.rego")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("lib/pipe.rego")).unwrap();
    let refused = load_dir(directory.path()).unwrap_err().to_string();
    assert!(refused.contains("it is no file"), "{refused}");
    assert!(matches!(load_dir(Path::new("/no/such/place")), Err(PolicyError::Read { .. })));
}
