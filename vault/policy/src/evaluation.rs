//! One evaluation of one input: verdict, reasons and obligations together.

use crate::{
    bundle::{Bundle, check_cap},
    engine::QUERY,
    error::PolicyError,
    input::{INPUT_VERSION, PolicyInput},
};
use regorus::Engine;
use serde::Deserialize;
use serde_json::Value;
use strongroom_protocol::{audit::Denial, obligations::Obligations};

/// An input, bytes of JSON: 256 keys with their labels and references fit.
pub const INPUT_BYTES: usize = 2 << 20;
/// Denials that are kept of one evaluation.
pub const DENIALS: usize = 256;
/// A denial's message, bytes; the rest is cut off.
pub const MESSAGE_BYTES: usize = 512;
/// A denial's expected or got, bytes of JSON; longer values are replaced by a note.
pub const VALUE_BYTES: usize = 2048;
/// A denial's claim, bytes.
const CLAIM_BYTES: usize = 256;

/// Policy did not allow, and gave no reason.
pub const NOT_ALLOWED: &str = "not_allowed";
/// The evaluation failed: an error in a rule, a call that is refused, recursion, the time limit.
pub const POLICY_ERROR: &str = "policy_error";
/// The evaluation gave something that is not a decision.
pub const POLICY_MALFORMED: &str = "policy_malformed";
/// More denials than are kept.
pub const MORE_DENIALS: &str = "more_denials";

/// Whether keys may be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `allow` was true, `deny` was empty, and the obligations are known ones.
    Released,
    /// Anything else.
    Denied,
}

impl Verdict {
    /// The verdict as the ledger has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Denied => "denied",
        }
    }
}

/// A prepared policy: cheap to evaluate, shared between threads.
#[derive(Debug, Clone)]
pub struct Policy {
    bundle: Bundle,
}

impl Policy {
    /// Takes a bundle that was checked and compiled.
    pub fn prepare(bundle: Bundle) -> Self {
        Self { bundle }
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// SHA-256 of the bundle, as decisions name the policy.
    pub fn digest(&self) -> [u8; 32] {
        self.bundle.digest()
    }

    /// Evaluates the package `strongroom.release` once.
    ///
    /// What goes wrong in the policy is a denial with [`POLICY_ERROR`] or [`POLICY_MALFORMED`], so
    /// that it is recorded as one. An error is returned only for an input that is not one:
    /// another version, or more than [`INPUT_BYTES`]; then nothing was decided, and nothing may be
    /// released. Takes at most about 250 ms.
    pub fn evaluate(&self, input: &PolicyInput) -> Result<Evaluation, PolicyError> {
        if input.version != INPUT_VERSION {
            return Err(PolicyError::Input { problem: format!("version {}, not {INPUT_VERSION}", input.version) });
        }
        let value = serde_json::to_value(input).map_err(|e| PolicyError::Input { problem: e.to_string() })?;
        self.evaluate_value(value)
    }

    /// Evaluates an input as it was stored with a decision; it must be a [`PolicyInput`].
    pub fn replay(&self, input: &Value) -> Result<Evaluation, PolicyError> {
        let input = PolicyInput::deserialize(input).map_err(|e| PolicyError::Input { problem: e.to_string() })?;
        self.evaluate(&input)
    }

    fn evaluate_value(&self, input: Value) -> Result<Evaluation, PolicyError> {
        check_cap("the input's bytes", json_length(&input), INPUT_BYTES)?;
        let mut engine = self.bundle.engine.clone();
        engine.set_input(regorus::Value::from(input));
        Ok(match query(&mut engine) {
            Ok(document) => Evaluation::of(document),
            Err(detail) => Evaluation::failed(POLICY_ERROR, &format!("The evaluation failed: {detail}")),
        })
    }
}

/// The value of the one query.
fn query(engine: &mut Engine) -> Result<Value, String> {
    let mut results = engine.eval_query(QUERY.to_owned(), false).map_err(|e| e.to_string())?;
    let first = results.result.pop().and_then(|mut r| r.expressions.pop());
    let value = first.ok_or("the package has no value")?.value;
    serde_json::to_value(&value).map_err(|e| e.to_string())
}

fn json_length(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// The outcome of one evaluation. Only [`Policy`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    denials: Vec<Denial>,
    /// There exactly when released.
    obligations: Option<Obligations>,
}

impl Evaluation {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        if self.obligations.is_some() { Verdict::Released } else { Verdict::Denied }
    }

    /// Every reason of a denial, ordered by code; empty when released.
    pub fn denials(&self) -> &[Denial] {
        &self.denials
    }

    /// What a release obliges to; `None` when denied.
    pub fn obligations(&self) -> Option<&Obligations> {
        self.obligations.as_ref()
    }

    /// The codes of the denials, ascending, each once: all that the node learns.
    pub fn reason_codes(&self) -> Vec<String> {
        let mut codes: Vec<String> = self.denials.iter().map(|d| d.code.clone()).collect();
        codes.dedup();
        codes
    }

    fn of(document: Value) -> Self {
        let Value::Object(mut document) = document else {
            return Self::failed(POLICY_MALFORMED, "The package strongroom.release is not an object.");
        };
        let mut denials = Vec::new();
        match document.remove("deny") {
            Some(Value::Array(items)) => {
                let more = items.len().saturating_sub(DENIALS);
                denials.extend(items.into_iter().take(DENIALS).map(read_denial));
                if more > 0 {
                    denials.push(denial(MORE_DENIALS, &format!("{more} more denials are not shown.")));
                }
            }
            Some(other) => denials.push(malformed("deny", "a set of objects", other)),
            None => denials.push(malformed("deny", "a set of objects", Value::Null)),
        }
        let allowed = match document.remove("allow") {
            Some(Value::Bool(allowed)) => allowed,
            None => false,
            Some(other) => {
                denials.push(malformed("allow", "true or false", other));
                false
            }
        };
        if !allowed && denials.is_empty() {
            denials.push(denial(NOT_ALLOWED, "The policy does not allow this request, and no rule says why."));
        }
        if !denials.is_empty() {
            return Self::denied(denials);
        }
        let obligations = document.remove("obligations").unwrap_or_default();
        match Obligations::deserialize(&obligations) {
            Ok(known) if known.times_are_ordered() => Self { denials, obligations: Some(known) },
            Ok(_) => Self::denied(vec![malformed(
                "obligations",
                "1 <= renew_after <= reattest_after <= lease_seconds <= 604800",
                obligations,
            )]),
            Err(error) => Self::denied(vec![malformed("obligations", &error.to_string(), obligations)]),
        }
    }

    fn failed(code: &str, message: &str) -> Self {
        Self::denied(vec![denial(code, message)])
    }

    fn denied(mut denials: Vec<Denial>) -> Self {
        denials.sort_by(|a, b| (&a.code, &a.claim, &a.message).cmp(&(&b.code, &b.claim, &b.message)));
        Self { denials, obligations: None }
    }
}

/// An element of `deny`, as Rego must give it: every field but `code` and `message` may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    code: String,
    message: String,
    #[serde(default)]
    claim: Option<String>,
    #[serde(default)]
    expected: Option<Value>,
    #[serde(default)]
    got: Option<Value>,
}

fn read_denial(item: Value) -> Denial {
    let Ok(given) = Given::deserialize(&item) else {
        return malformed("deny", "{code, message, claim, expected, got}", item);
    };
    let is_code = (1..=64).contains(&given.code.len())
        && given.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !is_code {
        return malformed("deny.code", "1 to 64 of a-z, 0-9 and _", Value::String(given.code));
    }
    Denial {
        code: given.code,
        message: cut(&given.message, MESSAGE_BYTES),
        claim: given.claim.map(|claim| cut(&claim, CLAIM_BYTES)),
        expected: given.expected.map(bounded),
        got: given.got.map(bounded),
    }
}

fn denial(code: &str, message: &str) -> Denial {
    Denial { code: code.to_owned(), message: cut(message, MESSAGE_BYTES), claim: None, expected: None, got: None }
}

fn malformed(what: &str, expected: &str, got: Value) -> Denial {
    Denial {
        expected: Some(Value::String(cut(expected, MESSAGE_BYTES))),
        got: Some(bounded(got)),
        ..denial(POLICY_MALFORMED, &format!("The policy's `{what}` is not what a decision has."))
    }
}

fn bounded(value: Value) -> Value {
    match json_length(&value) {
        length if length <= VALUE_BYTES => value,
        length => Value::String(format!("a value of {length} bytes, not kept")),
    }
}

/// The text, cut at a character's start; control characters cannot reach a terminal from here.
fn cut(text: &str, limit: usize) -> String {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.get(..end).unwrap_or_default().chars().map(plain).collect()
}
