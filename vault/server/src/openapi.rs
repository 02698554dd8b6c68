//! The OpenAPI document, generated from the table of endpoints.

use crate::{
    authority::Access,
    routes::{Endpoint, Says, SchemaOf, endpoints},
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use strongroom_protocol::Problem;

/// The document as it is checked in: pretty JSON with a newline at its end.
pub fn document_text() -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&document()).map(|text| text + "\n")
}

/// The document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let problem = generator.subschema_for::<Problem>().to_value();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints() {
        let operation = operation(&endpoint, &problem, &mut generator);
        let path = paths.entry(endpoint.path.replace("{*", "{")).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.as_str().to_lowercase(), operation);
        }
    }
    let schemas = generator.take_definitions(true);
    let mut document = json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Strongroom",
            "version": "1",
            "description": "Keys for attested nodes. Byte strings are base64url without padding; unknown and repeated fields are refused; every error is a problem document (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of `POST /v1/tokens`." },
                "possession": {
                    "type": "apiKey", "in": "header", "name": "Strongroom-Possession",
                    "description": "`nonce.client_random.mac`, base64url each.",
                },
            },
        },
    });
    // By name, whatever else is built with it: dependencies may have JSON keep the order of insertion.
    document.sort_all_objects();
    document
}

fn operation(endpoint: &Endpoint, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let mut schema = |of: SchemaOf| of(generator).to_value();
    let mut parameters: Vec<Value> = endpoint
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    if let Some(query) = endpoint.query {
        parameters
            .push(json!({ "name": "query", "in": "query", "style": "form", "explode": true, "schema": schema(query) }));
    }
    let content = match endpoint.says {
        Says::Json(of) => json!({ "application/json": { "schema": schema(of) } }),
        Says::Media(media) => json!({ media: {} }),
    };
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": operation_id(endpoint),
        "responses": {
            "200": { "description": "Done.", "content": content },
            "default": {
                "description": "A problem document.",
                "content": { "application/problem+json": { "schema": problem } },
            },
        },
    });
    if let Some(fields) = operation.as_object_mut() {
        if !parameters.is_empty() {
            fields.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = endpoint.body {
            let content = json!({ "application/json": { "schema": schema(body) } });
            fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        }
        match endpoint.access {
            Access::Roles(roles) => {
                let names: Vec<_> = roles.iter().map(|r| r.as_str()).collect();
                fields.insert("security".to_owned(), json!([{ "token": [] }]));
                fields.insert("x-strongroom-roles".to_owned(), json!(names));
            }
            Access::Possession => {
                fields.insert("security".to_owned(), json!([{ "possession": [] }]));
            }
            Access::Always | Access::Public | Access::Evidence => {}
        }
    }
    operation
}

fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.split(['/', '{', '}', '*', '.']).filter(|w| !w.is_empty() && *w != "v1");
    std::iter::once(endpoint.method.as_str().to_lowercase())
        .chain(words.map(str::to_owned))
        .collect::<Vec<_>>()
        .join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_own_id_and_every_reference_its_schema() {
        let document = document();
        let mut ids = std::collections::HashSet::new();
        for path in document["paths"].as_object().unwrap().values() {
            for operation in path.as_object().unwrap().values() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            }
        }
        assert_eq!(ids.len(), endpoints().len());
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
