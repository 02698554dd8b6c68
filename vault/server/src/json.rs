//! Reading requests: strict JSON, under caps and deadlines.

use crate::problem::{Answer, Refused};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use std::{collections::HashSet, fmt, time::Duration};
use strongroom_protocol::{Code, Problem, limits};

/// How long a body may take, put into each request by the router.
#[derive(Debug, Clone, Copy)]
pub struct BodyTimeout(pub Duration);

/// A JSON body: of type `application/json`, at most 4 MiB, no unknown fields (the types see to
/// that), no name given twice in any object.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        require_json(request.headers())?;
        let bytes = read_body(request, limits::BODY).await?;
        parse(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => json_bytes(body),
            Err(error) => Refused::internal(error).into_response(),
        }
    }
}

/// Parameters of the path; what cannot be read is a problem document, as everything is.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Refused::malformed("path", rejection.body_text())),
        }
    }
}

/// A response of JSON that was written already.
pub fn json_bytes(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// Refuses another media type than JSON.
pub fn require_json(headers: &HeaderMap) -> Answer<()> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Refused::malformed("content-type", "send the body as application/json"))
    }
}

/// A request's body of at most `cap` bytes, within the deadline.
pub async fn read_body(request: Request, cap: usize) -> Answer<Bytes> {
    let timeout = request.extensions().get::<BodyTimeout>().map_or(Duration::from_secs(30), |t| t.0);
    let too_large = || Refused::from(Problem::new(Code::TooLarge).detail(format!("at most {cap} bytes")));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > cap) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    match tokio::time::timeout(timeout, axum::body::to_bytes(body, cap)).await {
        Err(_) => Err(Refused::malformed("body", format!("it did not arrive within {} seconds", timeout.as_secs()))),
        Ok(Ok(bytes)) => Ok(bytes),
        // The limit is the only error that is not a broken connection, to which nobody listens.
        Ok(Err(_)) => Err(too_large()),
    }
}

/// Parses strict JSON.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let malformed = |error: &serde_json::Error| {
        // The reader's message quotes at most a name or a short literal of the request itself.
        Refused::malformed("body", error.to_string())
    };
    refuse_repeated_names(bytes).map_err(|e| malformed(&e))?;
    serde_json::from_slice(bytes).map_err(|e| malformed(&e))
}

/// An error if any object of the text gives a name twice: readers differ in which of them counts.
pub fn refuse_repeated_names(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Distinct.deserialize(&mut reader)?;
    reader.end()
}

struct Distinct;

impl<'de> DeserializeSeed<'de> for Distinct {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Distinct)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if !names.insert(name.0) {
                return Err(de::Error::custom("an object gives a name twice"));
            }
            map.next_value_seed(Distinct)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    async fn read(content_type: &str, body: &'static str) -> Result<BTreeMap<String, u8>, Code> {
        let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(Body::from(body)).unwrap();
        Json::from_request(request, &()).await.map(|Json(v)| v).map_err(|e| e.code())
    }

    #[tokio::test]
    async fn a_body_is_json_and_says_so() {
        assert_eq!(read("application/json", r#"{"a":1}"#).await, Ok(BTreeMap::from([("a".into(), 1)])));
        assert!(read("application/json; charset=utf-8", "{}").await.is_ok());
        assert_eq!(read("text/plain", "{}").await, Err(Code::Malformed));
        assert_eq!(read("application/json", "{").await, Err(Code::Malformed));
        assert_eq!(read("application/json", "{} {}").await, Err(Code::Malformed));
    }

    #[tokio::test]
    async fn a_name_given_twice_is_refused_at_any_depth() {
        assert_eq!(read("application/json", r#"{"a":1,"a":2}"#).await, Err(Code::Malformed));
        assert!(refuse_repeated_names(br#"[{"b":[{"c":1,"d":{"c":1}}]},{"b":1}]"#).is_ok());
        assert!(refuse_repeated_names(br#"[{"b":[{"c":1,"\u0063":2}]}]"#).is_err());
    }

    #[tokio::test]
    async fn a_body_over_the_cap_is_refused_announced_or_not() {
        let request = |length: Option<usize>| {
            let builder = Request::builder();
            let builder = match length {
                Some(length) => builder.header(header::CONTENT_LENGTH, length),
                None => builder,
            };
            builder.body(Body::from(vec![b' '; 11])).unwrap()
        };
        assert_eq!(read_body(request(None), 11).await.unwrap().len(), 11);
        assert_eq!(read_body(request(None), 10).await.unwrap_err().code(), Code::TooLarge);
        assert_eq!(read_body(request(Some(11)), 10).await.unwrap_err().code(), Code::TooLarge);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>());
        let mut request = Request::new(body);
        request.extensions_mut().insert(BodyTimeout(Duration::from_millis(1)));
        assert_eq!(read_body(request, 10).await.unwrap_err().code(), Code::Malformed);
    }
}
