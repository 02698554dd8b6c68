//! Keys of a JSON document, from its schema (2020-12, as `schemars` writes it).

use crate::cell;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::fmt::Write as _;

/// Deepest nesting that is followed: a schema may refer to itself.
const DEPTH: usize = 8;

/// One key of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it is: `node.site`, `keys[].asset` of a list's entries, `references.NAME.bank` of a map's.
    pub path: String,
    /// What it holds, in words: `list of strings`, `"read" or "write"`.
    pub kind: String,
    /// What it means: the comment of its field, then those of the values that it may have.
    pub meaning: String,
}

/// Every key that a schema describes, those of inner objects after the object's own.
pub fn keys(schema: &Value) -> anyhow::Result<Vec<Key>> {
    // By name, whatever else is built with it: dependencies may have JSON keep the order of insertion.
    let mut schema = schema.clone();
    schema.sort_all_objects();
    let mut found = Vec::new();
    inner(&schema, &schema, "", &mut found, 0)?;
    Ok(found)
}

/// A table of them.
pub fn table(keys: &[Key]) -> String {
    let mut out = String::from("| key | holds | meaning |\n|---|---|---|\n");
    for key in keys {
        let _ = writeln!(out, "| `{}` | {} | {} |", key.path, cell(&key.kind), cell(&key.meaning));
    }
    out
}

/// The first paragraph of a description, with references to Rust items as plain code.
pub fn first(description: &str) -> String {
    description.split("\n\n").next().unwrap_or_default().replace("[`", "`").replace("`]", "`")
}

fn inner(root: &Value, object: &Value, prefix: &str, found: &mut Vec<Key>, depth: usize) -> anyhow::Result<()> {
    let properties = object.get("properties").and_then(Value::as_object).context("a schema without properties")?;
    for (name, schema) in properties {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let target = target(root, schema)?;
        let mut meaning = described(schema).or_else(|| described(target)).unwrap_or_default();
        for value in target.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            let key = value.get("properties").and_then(Value::as_object).and_then(|one| one.keys().next());
            let word = value.get("const").and_then(Value::as_str).or(key.map(String::as_str));
            if let (Some(word), Some(said)) = (word, described(value)) {
                let _ = write!(meaning, " `{word}`: {}", going_on(&said));
            }
        }
        found.push(Key { path: path.clone(), kind: kind(root, schema, false)?, meaning });
        if depth == DEPTH {
            bail!("{path}: nested too deeply");
        }
        let entries = target.get("items").map(|items| (items, format!("{path}[]")));
        let values = target.get("additionalProperties").map(|values| (values, format!("{path}.NAME")));
        for (schema, path) in [Some((target, path)), entries, values].into_iter().flatten() {
            let object = if schema.is_object() { self::target(root, schema)? } else { schema };
            if object.get("properties").is_some() {
                inner(root, object, &path, found, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// What a schema means, past references and past `or null`.
fn target<'a>(root: &'a Value, schema: &'a Value) -> anyhow::Result<&'a Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').context("a reference to another document")?;
        return target(root, root.pointer(pointer).with_context(|| format!("there is no {reference}"))?);
    }
    match schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one, null]) if named(null) == Some("null") => target(root, one),
        _ => Ok(schema),
    }
}

/// A sentence behind a colon: small, unless it begins with an abbreviation.
fn going_on(sentence: &str) -> String {
    let mut letters = sentence.chars();
    match letters.next() {
        Some(first) if letters.as_str().starts_with(|c: char| c.is_lowercase() || c == ' ') => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => sentence.to_owned(),
    }
}

fn described(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).map(first).filter(|text| !text.is_empty())
}

/// What a value may be; `many` in the plural, for a list's entries.
fn kind(root: &Value, schema: &Value, many: bool) -> anyhow::Result<String> {
    let ending = if many { "s" } else { "" };
    let several = schema.get("type").and_then(Value::as_array);
    let or_null = schema.get("anyOf").is_some() || several.is_some_and(|all| all.contains(&Value::from("null")));
    let schema = target(root, schema)?;
    let mut values = Vec::new();
    for value in schema.get("enum").or(schema.get("oneOf")).and_then(Value::as_array).into_iter().flatten() {
        values.push(choice(root, value)?);
    }
    let mut out = if values.is_empty() {
        match named(schema) {
            Some("array") => {
                let what = if schema.get("uniqueItems").is_some() { "set" } else { "list" };
                format!("{what}{ending} of {}", kind(root, schema.get("items").unwrap_or(&Value::Null), true)?)
            }
            Some("object") => match schema.get("additionalProperties").filter(|values| values.is_object()) {
                Some(values) => format!("object{ending} of {}", kind(root, values, true)?),
                None => format!("object{ending}"),
            },
            Some(simple) => format!("{simple}{ending}"),
            None if schema.get("anyOf").is_some() => bail!("one of several shapes: {schema}"),
            None => "any value".to_owned(),
        }
    } else {
        values.join(" or ")
    };
    if or_null {
        out.push_str(" or null");
    }
    Ok(out)
}

/// One of several values: a word, or an object with one key.
fn choice(root: &Value, value: &Value) -> anyhow::Result<String> {
    if let Some(word) = value.get("const").or(Some(value)).filter(|word| word.is_string()) {
        return Ok(format!("`{word}`"));
    }
    let properties = value.get("properties").and_then(Value::as_object).filter(|properties| properties.len() == 1);
    match properties.and_then(|properties| properties.iter().next()) {
        Some((name, inner)) => Ok(format!("`{{\"{name}\": {}}}`", kind(root, inner, false)?)),
        None => bail!("a choice that is no word: {value}"),
    }
}

fn named(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(one) => Some(one),
        Value::Array(several) => several.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inner_objects_lists_and_choices_are_followed() {
        let schema = json!({
            "$defs": {
                "Access": { "oneOf": [
                    { "const": "read", "description": "Open it." }, { "const": "write", "description": "Make it." },
                ]},
                "Key": { "description": "A key.\n\nMore of it.", "type": "object", "properties": {
                    "access": { "$ref": "#/$defs/Access", "description": "What [`for`]." },
                }},
            },
            "type": "object",
            "properties": {
                "keys": { "type": "array", "items": { "$ref": "#/$defs/Key" }, "description": "Keys." },
                "how": { "oneOf": [{ "const": "none" }, {
                    "type": "object", "properties": { "file": { "type": "string" } }, "description": "This one.",
                }]},
                "last": { "anyOf": [{ "$ref": "#/$defs/Key" }, { "type": "null" }] },
                "names": { "type": "object", "additionalProperties": { "type": "string" }, "description": "N." },
                "sets": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Key" } },
                "site": { "type": ["string", "null"], "description": "S." },
            },
        });
        let found: Vec<_> = keys(&schema).unwrap().into_iter().map(|k| (k.path, k.kind, k.meaning)).collect();
        let row = |path: &str, kind: &str, meaning: &str| (path.to_owned(), kind.to_owned(), meaning.to_owned());
        let access =
            |path: &str| row(path, "`\"read\"` or `\"write\"`", "What `for`. `read`: open it. `write`: make it.");
        let expected = [
            row("how", "`\"none\"` or `{\"file\": string}`", " `file`: this one."),
            row("keys", "list of objects", "Keys."),
            access("keys[].access"),
            row("last", "object or null", "A key."),
            access("last.access"),
            row("names", "object of strings", "N."),
            row("sets", "object of objects", ""),
            access("sets.NAME.access"),
            row("site", "string or null", "S."),
        ];
        assert_eq!(found, expected);
        assert!(table(&keys(&schema).unwrap()).contains("\n| `site` | string or null | S. |\n"));
    }

    #[test]
    fn abbreviations_stay() {
        for (said, expected) in [
            ("Opens it.", "opens it."),
            ("A file.", "a file."),
            ("AEAD tags.", "AEAD tags."),
            ("P-256.", "P-256."),
            ("", ""),
        ] {
            assert_eq!(going_on(said), expected);
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for wrong in [
            json!({}),
            json!({ "properties": { "a": { "$ref": "#/$defs/None" } } }),
            json!({ "properties": { "a": { "oneOf": [{ "type": "string" }, { "type": "object" }] } } }),
            json!({ "properties": { "a": { "$ref": "#" } }, "type": "object" }),
        ] {
            assert!(keys(&wrong).is_err(), "{wrong}");
        }
    }
}
