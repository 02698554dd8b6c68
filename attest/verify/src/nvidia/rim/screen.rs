//! What is refused of a manifest before an XML parser sees it.
//!
//! NVIDIA's manifests are plain: elements, attributes, text. Without DTD, entities, comments, CDATA sections and
//! processing instructions there is nothing that two readers could understand in two ways, and nothing that grows.

use super::MAX_BYTES;

/// Deepest nesting of elements: NVIDIA's have six.
const DEPTH: usize = 16;
/// Most tags, opening and closing.
const TAGS: usize = 2048;
/// Most attributes, namespace declarations included, of one element.
const ATTRIBUTES: usize = 80;
/// Most namespace declarations in the whole document: each weighs on every element below it.
const NAMESPACES: usize = 24;
/// Most bytes of one tag.
const TAG: usize = 16 << 10;

/// The text of a manifest that a parser may see.
pub(super) fn screen(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("{} bytes are more than the {MAX_BYTES} that a manifest may have", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let body = match text.strip_prefix("<?xml ") {
        Some(rest) => rest.split_once("?>").map(|(_, body)| body).ok_or("its XML declaration has no end")?,
        None => text,
    };
    for (mark, what) in
        [("<!", "a DTD, a comment or a CDATA section"), ("<?", "a processing instruction"), ("&", "an entity")]
    {
        if body.contains(mark) {
            return Err(format!("it has {what}"));
        }
    }
    if body.bytes().any(|byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) {
        return Err("it has control characters".to_owned());
    }
    if body.matches("xmlns").count() > NAMESPACES {
        return Err(format!("it declares more than {NAMESPACES} namespaces"));
    }
    check_tags(body)?;
    Ok(text)
}

/// Bounds of tags, from one `<` to its `>`, which may also stand between quotes.
fn check_tags(body: &str) -> Result<(), String> {
    let (mut depth, mut tags) = (0_usize, 0_usize);
    let mut rest = body;
    while let Some((_, after)) = rest.split_once('<') {
        tags += 1;
        if tags > TAGS {
            return Err(format!("it has more than {TAGS} tags"));
        }
        let (length, attributes) = tag(after.as_bytes())?;
        if attributes > ATTRIBUTES {
            return Err(format!("an element has more than {ATTRIBUTES} attributes"));
        }
        let (inside, next) = after.split_at_checked(length).ok_or("a tag has no end")?;
        if inside.starts_with('/') {
            depth = depth.checked_sub(1).ok_or("an element ends that did not begin")?;
        } else if !inside.ends_with('/') {
            depth += 1;
        }
        if depth > DEPTH {
            return Err(format!("its elements are nested deeper than {DEPTH}"));
        }
        rest = next;
    }
    Ok(())
}

/// How long a tag is, and how many attributes it has.
fn tag(bytes: &[u8]) -> Result<(usize, usize), String> {
    let (mut quote, mut attributes) = (None, 0);
    for (length, &byte) in bytes.iter().take(TAG).enumerate() {
        match (quote, byte) {
            (None, b'>') => return Ok((length, attributes)),
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'=') => attributes += 1,
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    Err(format!("a tag has no end within {TAG} bytes"))
}
