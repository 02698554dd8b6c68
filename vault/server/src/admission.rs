//! Fair and bounded admission: a token bucket for each peer, in bounded memory.

use crate::{
    config::LimitsConfig,
    problem::{Answer, Refused},
};
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};
use std::{
    collections::HashMap,
    convert::Infallible,
    hash::Hash,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};
use strongroom_protocol::{Code, Fixed, NodeId, Problem};
use tokio::time::Instant;

/// Buckets kept of a kind. When there are more, those that are full again are forgotten: to forget
/// them changes nothing. If none is, newcomers are refused until one is.
const BUCKETS: usize = 65_536;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address; of IPv6 its /64, which one host can have whole.
    Address(IpAddr),
    /// A node's AK, once it is known.
    Ak(Fixed<32>),
    /// A node that is known by another identity of its record.
    Node(NodeId),
}

impl Peer {
    /// The peer of an address.
    pub fn address(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => v4.into(),
                None => IpAddr::from((v6.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
            },
        })
    }
}

/// Where a request comes from, as it is counted: an address, or nothing where it is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(pub String);

impl<S: Sync> FromRequestParts<S> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(match info.map(|info| Peer::address(info.0.ip())) {
            Some(Peer::Address(address)) => address.to_string(),
            _ => String::new(),
        }))
    }
}

/// Lets requests in, or says when to come back.
pub struct Admission {
    rate: f64,
    burst: f64,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    of: HashMap<Peer, Bucket>,
    /// When they were last looked through: at most once a second, for it takes a while.
    swept: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Admission {
    /// Admission at the configured rate.
    pub fn new(limits: &LimitsConfig) -> Self {
        Self { rate: f64::from(limits.requests_per_second), burst: f64::from(limits.burst), buckets: Mutex::default() }
    }

    /// Takes one token of `peer`, or answers 429 with the seconds until there is one.
    pub fn admit(&self, peer: Peer) -> Answer<()> {
        self.admit_at(peer, Instant::now())
    }

    fn admit_at(&self, peer: Peer, now: Instant) -> Answer<()> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.of.contains_key(&peer) && buckets.of.len() >= BUCKETS {
            if buckets.swept.is_none_or(|at| now.duration_since(at).as_secs() >= 1) {
                buckets.swept = Some(now);
                buckets.of.retain(|_, bucket| self.filled(*bucket, now) < self.burst);
            }
            if buckets.of.len() >= BUCKETS {
                return Err(too_many(1));
            }
        }
        let bucket = buckets.of.entry(peer).or_insert(Bucket { tokens: self.burst, at: now });
        let tokens = self.filled(*bucket, now);
        if tokens < 1.0 {
            // At least one second; the cast saturates, and the value is small and positive.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and a few seconds"
            )]
            return Err(too_many(((1.0 - tokens) / self.rate).ceil().max(1.0) as u64));
        }
        *bucket = Bucket { tokens: tokens - 1.0, at: now };
        Ok(())
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * self.rate).min(self.burst)
    }
}

fn too_many(seconds: u64) -> Refused {
    Problem::new(Code::TooMany).detail("this peer asks too often").retry_after(seconds).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn admission(requests_per_second: u32, burst: u32) -> Admission {
        Admission::new(&LimitsConfig { requests_per_second, burst, ..LimitsConfig::default() })
    }

    #[test]
    fn a_peer_has_its_burst_and_then_its_rate() {
        let admission = admission(1, 2);
        let start = Instant::now();
        let (a, b) = (Peer::Ak(Fixed([1; 32])), Peer::Ak(Fixed([2; 32])));
        assert!(admission.admit_at(a, start).is_ok());
        assert!(admission.admit_at(a, start).is_ok());
        let refused = admission.admit_at(a, start).unwrap_err();
        assert_eq!((refused.code(), refused.0.retry_after), (Code::TooMany, Some(1)));
        assert!(admission.admit_at(b, start).is_ok(), "another peer is not touched by it");
        let later = start + Duration::from_secs(1);
        assert!(admission.admit_at(a, later).is_ok());
        assert!(admission.admit_at(a, later).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let admission = admission(1, 2);
        let start = Instant::now();
        for i in 0..u32::try_from(BUCKETS).unwrap() {
            admission.admit_at(Peer::address(IpAddr::from(i.to_be_bytes())), start).unwrap();
        }
        let newcomer = Peer::Ak(Fixed([0; 32]));
        assert!(admission.admit_at(newcomer, start).is_err());
        assert!(admission.admit_at(newcomer, start + Duration::from_secs(2)).is_ok());
        assert_eq!(admission.buckets.lock().unwrap().of.len(), 1);
    }

    #[test]
    fn one_host_has_one_bucket_whatever_address_it_takes() {
        let peer = |text: &str| Peer::address(text.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }
}
