//! Reading requests: strict JSON, under caps and deadlines.

use crate::{
    bodies::Terms,
    config::LimitsConfig,
    problem::{Answer, Refused},
};
use axum::{
    body::{BodyDataStream, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use std::{collections::HashSet, fmt, time::Duration};
use strongroom_protocol::{Code, Problem, limits, objects};
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt;

/// Bytes of a refused request's body that are still read: as many as the largest body twice.
const DISCARDED: usize = 2 * limits::BODY;
/// For how long they are read.
const DISCARDING: Duration = Duration::from_secs(5);

/// A JSON body: of type `application/json`, no larger than its endpoint reads, no unknown fields (the types see to
/// that), no array in an object's place, no name given twice in any object.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        if let Err(refused) = require_json(request.headers()) {
            discard(request).await;
            return Err(refused);
        }
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

/// A request's body of at most `cap` bytes, and no more than its endpoint reads, as fast as it has to come.
pub async fn read_body(request: Request, cap: usize) -> Answer<Bytes> {
    let terms = request.extensions().get::<Terms>().copied();
    let terms = terms.unwrap_or_else(|| Terms::new(&LimitsConfig::default(), cap));
    let cap = cap.min(terms.limit);
    let too_large = || Refused::from(Problem::new(Code::TooLarge).detail(format!("at most {cap} bytes")));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > cap) {
        discard(request).await;
        return Err(too_large());
    }
    let mut body = request.into_body().into_data_stream();
    match collect(&mut body, cap, announced.unwrap_or_default(), terms).await {
        Collected::Whole(bytes) => Ok(bytes),
        Collected::TooSlow => {
            let (within, rate) = (terms.within.as_secs(), terms.bytes_per_second);
            let detail = format!("it did not arrive within {within} seconds, or slower than {rate} bytes a second");
            Err(Refused::malformed("body", detail))
        }
        Collected::TooLarge => {
            drain(body, DISCARDING).await;
            Err(too_large())
        }
    }
}

/// What became of a body.
enum Collected {
    Whole(Bytes),
    /// It is over its cap, or its connection broke: then nobody listens.
    TooLarge,
    TooSlow,
}

/// Reads a body of which `announced` bytes were announced, at most `cap`: no more is taken of the memory than it is
/// to have.
async fn collect(body: &mut BodyDataStream, cap: usize, announced: usize, terms: Terms) -> Collected {
    let start = Instant::now();
    let mut whole = Vec::with_capacity(announced.min(cap));
    loop {
        let part = match timeout_at(start + terms.patience(whole.len()), body.next()).await {
            Err(_) => return Collected::TooSlow,
            Ok(None) => return Collected::Whole(whole.into()),
            Ok(Some(Err(_))) => return Collected::TooLarge,
            Ok(Some(Ok(part))) => part,
        };
        if part.len() > cap - whole.len() {
            return Collected::TooLarge;
        }
        whole.extend_from_slice(&part);
    }
}

/// Reads what is left of a refused request's body, within bounds, and forgets it. A requester that is
/// still sending when its connection closes gets a reset and not the refusal.
pub async fn discard(request: Request) {
    // Who waits for `100 Continue` has sent nothing, and reading would ask for it.
    if !request.headers().contains_key(header::EXPECT) {
        drain(request.into_body().into_data_stream(), DISCARDING).await;
    }
}

async fn drain(mut body: BodyDataStream, within: Duration) {
    let drained = async {
        let mut left = DISCARDED;
        while let Some(Ok(part)) = body.next().await {
            match left.checked_sub(part.len()) {
                Some(fewer) => left = fewer,
                None => return,
            }
        }
    };
    // Whether it came to its end does not matter.
    let _ = tokio::time::timeout(within, drained).await;
}

/// Parses strict JSON: structs are objects, and no object gives a name twice.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let malformed = |error: &serde_json::Error| {
        // The reader's message quotes at most a name or a short literal of the request itself.
        Refused::malformed("body", error.to_string())
    };
    refuse_repeated_names(bytes).map_err(|e| malformed(&e))?;
    objects::from_slice(bytes).map_err(|e| malformed(&e))
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
    use axum::body::Body;
    use std::{
        collections::BTreeMap,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

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

    #[test]
    fn an_array_is_no_request() {
        use strongroom_protocol::challenge::ChallengeRequest;
        assert!(parse::<ChallengeRequest>(br#"{"purpose":"release"}"#).is_ok());
        assert_eq!(parse::<ChallengeRequest>(br#"["release"]"#).unwrap_err().code(), Code::Malformed);
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

    /// A body of parts of 1 KiB, and how many of them were read.
    fn counted(parts: usize) -> (Body, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let parts = std::iter::repeat_n(Bytes::from_static(&[b' '; 1024]), parts);
        let stream = tokio_stream::iter(parts).map(move |part| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(part)
        });
        (Body::from_stream(stream), read)
    }

    #[tokio::test]
    async fn a_body_over_the_cap_is_read_on_within_bounds() {
        let (body, read) = counted(100);
        assert_eq!(read_body(Request::new(body), 2048).await.unwrap_err().code(), Code::TooLarge);
        assert_eq!(read.load(Ordering::SeqCst), 100);

        let (body, read) = counted(1 << 20);
        let announced = Request::builder().header(header::CONTENT_LENGTH, 1 << 30).body(body).unwrap();
        assert_eq!(read_body(announced, 2048).await.unwrap_err().code(), Code::TooLarge);
        assert_eq!(read.load(Ordering::SeqCst), DISCARDED / 1024 + 1);

        let (body, read) = counted(100);
        let waiting = Request::builder()
            .header(header::CONTENT_LENGTH, 100 << 10)
            .header(header::EXPECT, "100-continue")
            .body(body)
            .unwrap();
        assert_eq!(read_body(waiting, 2048).await.unwrap_err().code(), Code::TooLarge);
        assert_eq!(read.load(Ordering::SeqCst), 0, "who waits for leave to send is answered at once");
    }

    #[tokio::test]
    async fn a_refused_body_that_does_not_end_is_given_up() {
        let body = Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>());
        drain(body.into_data_stream(), Duration::from_millis(1)).await;
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>());
        let mut request = Request::new(body);
        request.extensions_mut().insert(Terms { within: Duration::from_millis(1), ..terms(10) });
        assert_eq!(read_body(request, 10).await.unwrap_err().code(), Code::Malformed);
    }

    fn terms(limit: usize) -> Terms {
        Terms::new(&LimitsConfig::default(), limit)
    }

    /// One part of so many bytes, and then nothing.
    fn stalled(bytes: usize) -> Request {
        let first = tokio_stream::once(Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes])));
        Request::new(Body::from_stream(first.chain(tokio_stream::pending())))
    }

    #[tokio::test]
    async fn a_body_that_falls_behind_is_given_up_long_before_its_deadline() {
        let read = async |bytes: usize| {
            let mut request = stalled(bytes);
            let short = Terms { grace: Duration::from_millis(1), bytes_per_second: 1000, ..terms(1 << 20) };
            request.extensions_mut().insert(Terms { within: Duration::from_mins(1), ..short });
            let start = Instant::now();
            (read_body(request, 1 << 20).await.map(|body| body.len()).map_err(|r| r.code()), start.elapsed())
        };
        let (nothing, at_once) = read(0).await;
        let (some, later) = read(500).await;
        assert_eq!((nothing, some), (Err(Code::Malformed), Err(Code::Malformed)));
        assert!(later >= Duration::from_millis(500), "what came earned it half a second: {later:?}");
        assert!(at_once + later < Duration::from_secs(30), "{at_once:?} {later:?}");
    }

    #[tokio::test]
    async fn an_endpoint_that_takes_little_reads_no_more() {
        let read = async |length: usize| {
            let mut request = Request::new(Body::from(vec![b' '; length]));
            request.extensions_mut().insert(terms(10));
            read_body(request, limits::BODY).await.map(|body| body.len()).map_err(|refused| refused.code())
        };
        assert_eq!((read(10).await, read(11).await), (Ok(10), Err(Code::TooLarge)));
    }
}
