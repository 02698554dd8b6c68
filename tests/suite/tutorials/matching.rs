//! Expected output and what was printed.

/// What stands for anything.
const ANY: &str = "…";

/// The expected line that nothing fits, counted from 0: the one behind the last if more was printed than
/// is expected.
pub(super) fn differs(expected: &str, printed: &str) -> Option<usize> {
    let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let mut furthest = 0;
    (!lines_fit(&expected, &printed, 0, &mut furthest)).then_some(furthest)
}

fn lines_fit(expected: &[&str], printed: &[&str], at: usize, furthest: &mut usize) -> bool {
    *furthest = at.max(*furthest);
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((&ANY, rest)), _) => (0..=printed.len()).any(|skip| lines_fit(rest, &printed[skip..], at + 1, furthest)),
        (Some((line, rest)), Some((found, others))) => {
            line_fits(line, found) && lines_fit(rest, others, at + 1, furthest)
        }
        _ => false,
    }
}

fn line_fits(expected: &str, printed: &str) -> bool {
    let Some((start, rest)) = expected.split_once(ANY) else { return expected == printed };
    let Some(mut left) = printed.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split(ANY).collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, behind)) => left = behind,
            None => return false,
        }
    }
    left.ends_with(end)
}

#[test]
fn any_stands_for_characters_and_for_lines() {
    for (expected, printed) in [
        ("a b\n", "a b\n"),
        ("a … c", "a b c"),
        ("…", ""),
        ("…", "a\nb"),
        ("a\n…\nc", "a\nb\nb\nc"),
        ("a\n…\nc", "a\nc"),
        ("…\nb\n…", "a\nb\nc"),
        ("node …: … in …", "node x: approved, in site fra"),
        ("a  ", "a"),
    ] {
        assert_eq!(differs(expected, printed), None, "{expected:?} {printed:?}");
    }
    for (expected, printed, at) in [
        ("a", "b", 0),
        ("a", "a\nb", 1),
        ("a\nb", "a", 1),
        ("a … c", "a b d", 0),
        ("a …", "b c", 0),
        ("a\n…\nc", "a\nb", 2),
        ("x… y…", "x y".strip_suffix('y').unwrap(), 0),
        ("", "a", 0),
        ("a", "", 0),
    ] {
        assert_eq!(differs(expected, printed), Some(at), "{expected:?} {printed:?}");
    }
}
