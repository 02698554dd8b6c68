//! The engine: compiled once a bundle, cloned for each evaluation.

use crate::{builtins::FORBIDDEN, bundle::RULES_SUFFIX, error::PolicyError};
use regorus::{
    Engine,
    utils::limits::{ExecutionTimerConfig, PolicyLengthConfig},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// The package that decides.
pub(crate) const PACKAGE: [&str; 2] = ["strongroom", "release"];
/// The one query of a decision.
pub(crate) const QUERY: &str = "data.strongroom.release";
/// The rules that it must have.
pub(crate) const RULES: [&str; 3] = ["allow", "deny", "obligations"];
/// An evaluation that lasts longer is a denial. The baseline takes some tens of microseconds, so
/// this is met by a policy that does not end, and hardly by a machine that is busy.
pub(crate) const TIME_LIMIT: Duration = Duration::from_millis(250);
/// Steps between two looks at the clock.
const TIME_CHECK_STEPS: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);
/// Columns of a line that the parser takes.
const COLUMNS: NonZeroU32 = NonZeroU32::MIN.saturating_add(511);
/// Lines of a file that the parser takes.
const LINES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7999);

/// Compiles files whose shape has been checked. Nothing is evaluated.
pub(crate) fn compile(files: &BTreeMap<String, String>, data: &Value) -> Result<Engine, PolicyError> {
    let mut engine = Engine::new();
    engine.set_rego_v0(false);
    engine.set_strict_builtin_errors(true);
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(ExecutionTimerConfig { limit: TIME_LIMIT, check_interval: TIME_CHECK_STEPS });
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: COLUMNS,
        max_lines: LINES,
        ..PolicyLengthConfig::default()
    });
    let refused = |error: String| PolicyError::Compile { detail: error.trim().to_owned() };
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(RULES_SUFFIX)) {
        engine.add_policy(path.clone(), text.clone()).map_err(|e| refused(e.to_string()))?;
    }
    engine.add_data(regorus::Value::from(data.clone())).map_err(|e| refused(e.to_string()))?;
    // A second fence behind the check of names: an extension takes precedence over the builtin.
    for (name, reason) in FORBIDDEN.iter().filter(|(name, _)| *name != "print") {
        let fenced = Fenced { name, reason };
        // A call with another number of arguments is an error as well.
        let refuse = move |_: Vec<regorus::Value>| Err(fenced.into());
        engine.add_extension((*name).to_owned(), 2, Box::new(refuse)).map_err(|e| refused(e.to_string()))?;
    }
    engine.compile_with_entrypoint(&format!("{QUERY}.allow").into()).map_err(|e| refused(e.to_string()))?;
    Ok(engine)
}

/// What a call of a forbidden builtin ends in.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{name} is refused: it {reason}")]
struct Fenced {
    name: &'static str,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(call: &str) -> Result<regorus::Value, String> {
        let rules = format!("package strongroom.release\nallow := true\nother := {call}\n");
        let files = [("release.rego".to_owned(), rules)].into();
        let mut engine = compile(&files, &serde_json::json!({})).map_err(|e| e.to_string())?;
        engine.eval_rule(format!("{QUERY}.other")).map_err(|e| e.to_string())
    }

    /// What got past the check of names would still end in an error.
    #[test]
    fn forbidden_builtins_are_fenced_in_the_engine_as_well() {
        assert_eq!(value_of("max([1, 2])"), Ok(2.into()));
        for call in ["rand.intn(\"a\", 3)", "numbers.range(1, 2)", "bits.lsh(1, 2)", "time.now_ns()", "trace(\"a\")"] {
            assert!(value_of(call).is_err(), "{call}");
        }
        assert!(value_of("rand.intn(\"a\", 3)").unwrap_err().contains("answers differently in a replay"));
    }
}
