//! Walking a parsed document strictly: what is not asked for by name is not there.

use uppsala::{Document, NodeId, NodeKind};

/// SWID tags, ISO/IEC 19770-2:2015.
pub(super) const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
/// XML signatures, RFC 3275.
pub(super) const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// Parses what was screened.
pub(super) fn parse(text: &str) -> Result<Document<'_>, String> {
    let parser = uppsala::Parser::new().with_max_depth(32).with_forbid_dtd(true).with_forbid_entities(true);
    let document = parser.parse(text).map_err(|error| format!("it is no XML document: {error}"))?;
    match document.document_element() {
        Some(root) if is(&document, root, SWID, "SoftwareIdentity") => Ok(document),
        _ => Err("it is no SoftwareIdentity of ISO/IEC 19770-2:2015".to_owned()),
    }
}

/// Whether a node is an element of this name.
pub(super) fn is(document: &Document<'_>, node: NodeId, namespace: &str, name: &str) -> bool {
    document.element(node).is_some_and(|element| element.name.matches(Some(namespace), name))
}

/// The children that are elements; text between them must be white space.
pub(super) fn elements(document: &Document<'_>, node: NodeId) -> Result<Vec<NodeId>, String> {
    let mut found = Vec::new();
    for child in document.children(node) {
        match document.node_kind(child) {
            Some(NodeKind::Element(_)) => found.push(child),
            Some(NodeKind::Text(text)) if text.trim_ascii().is_empty() => {}
            _ => return Err("something other than elements stands where only elements may".to_owned()),
        }
    }
    Ok(found)
}

/// The text of an element that has nothing else, and no attribute.
pub(super) fn text(document: &Document<'_>, node: NodeId) -> Result<String, String> {
    attributes(document, node, &[])?;
    let only_text =
        document.children(node).into_iter().all(|child| matches!(document.node_kind(child), Some(NodeKind::Text(_))));
    if only_text {
        Ok(document.text_content_deep(node))
    } else {
        Err("an element of text has other content".to_owned())
    }
}

/// Exactly these attributes with these values, none of them in a namespace.
pub(super) fn attributes(document: &Document<'_>, node: NodeId, wanted: &[(&str, &str)]) -> Result<(), String> {
    let found = document.element(node).map(|element| element.attributes.as_slice()).unwrap_or_default();
    let right = found.len() == wanted.len()
        && wanted
            .iter()
            .all(|(name, value)| found.iter().any(|found| found.name.matches(None, name) && found.value == *value));
    if right {
        return Ok(());
    }
    let name = document.element(node).map(|element| element.name.local_name.to_string()).unwrap_or_default();
    let wanted: Vec<_> = wanted.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    Err(format!(
        "has a {name} that is not exactly {}",
        if wanted.is_empty() { "bare".into() } else { wanted.join(" ") }
    ))
}
