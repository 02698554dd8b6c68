//! A denial for people: what was wanted, what was there.

use serde_json::Value;
use std::fmt::Write as _;
use strongroom_protocol::audit::Denial;

/// Text of all denials, one paragraph each; values are shown for who may see them only.
///
/// ```text
/// 1. reference_mismatch: llama-70b: no reference set matches.
///      claim     tpm.pcrs.9
///      expected  "3f…"
///      got       "00…"
/// ```
pub fn explain(denials: &[Denial]) -> String {
    let mut out = String::new();
    for (i, denial) in denials.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}. {}: {}", i + 1, plain(&denial.code), plain(&denial.message));
        let claim = denial.claim.as_ref().map(|c| plain(c));
        let expected = denial.expected.as_ref().map(value);
        let got = denial.got.as_ref().map(value);
        for (name, text) in [("claim", claim), ("expected", expected), ("got", got)] {
            if let Some(text) = text {
                let _ = writeln!(out, "     {name:<9} {text}");
            }
        }
    }
    out
}

fn value(value: &Value) -> String {
    plain(&value.to_string())
}

/// Denials may hold what a node said of itself: nothing of it may steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_denial_is_a_paragraph_and_cannot_steer_a_terminal() {
        let denials = [
            Denial {
                code: "reference_mismatch".to_owned(),
                message: "No set matches\u{1b}[2J.".to_owned(),
                claim: Some("tpm.pcrs.9".to_owned()),
                expected: Some(json!("aa")),
                got: Some(json!(["bb\n", null])),
            },
            Denial {
                code: "not_allowed".to_owned(),
                message: "No.".to_owned(),
                claim: None,
                expected: None,
                got: None,
            },
        ];
        assert_eq!(
            explain(&denials),
            "1. reference_mismatch: No set matches\u{fffd}[2J.\n     claim     tpm.pcrs.9\n     expected  \"aa\"\n     \
             got       [\"bb\\n\",null]\n2. not_allowed: No.\n"
        );
    }
}
