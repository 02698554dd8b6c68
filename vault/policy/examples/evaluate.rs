//! Prints what an evaluation of the baseline costs: `cargo run --release -p strongroom-policy --example evaluate`.

use std::{error::Error, path::Path, time::Instant};
use strongroom_policy::{Bundle, Policy, PolicyInput, load_dir};

fn main() -> Result<(), Box<dyn Error>> {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let sources = load_dir(&policies.join("baseline"))?;
    let mut input: PolicyInput = serde_json::from_str(&std::fs::read_to_string(policies.join("input.example.json"))?)?;
    let start = Instant::now();
    let policy = Policy::prepare(Bundle::from_files(sources.files)?);
    println!("loading the bundle                     {:>9.1} µs", start.elapsed().as_secs_f64() * 1e6);
    measure("one key, released", &policy, &input)?;
    let one = input.keys.clone();
    for i in 1..64 {
        input.keys.extend(
            one.iter().cloned().map(|key| strongroom_policy::input::KeyFacts { asset: format!("asset-{i}"), ..key }),
        );
    }
    measure("64 keys of 64 assets, released", &policy, &input)?;
    input.keys = one;
    input.node.jurisdiction = Some("US".to_owned());
    measure("one key, denied", &policy, &input)
}

fn measure(what: &str, policy: &Policy, input: &PolicyInput) -> Result<(), Box<dyn Error>> {
    let mut micros = Vec::with_capacity(2000);
    for _ in 0..2000 {
        let start = Instant::now();
        std::hint::black_box(policy.evaluate(std::hint::black_box(input))?);
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: usize| micros.get(micros.len() * share / 100).copied().unwrap_or_default();
    println!("{what:<38} {:>9.1} µs median, {:.1} µs p99 of {}", at(50), at(99), micros.len());
    Ok(())
}
