//! Listening: TLS with deadlines, `TCP_NODELAY`, a cap on connections, and an orderly end.

use crate::{
    admission::Peer,
    config::LimitsConfig,
    problem::Refused,
    shares::{Part, Shares},
};
use axum::{
    Router,
    extract::Request,
    http::{Version, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use axum_server::{
    Handle,
    accept::{Accept, NoDelayAcceptor},
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Service;

/// Serves until `handle` says otherwise.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: rustls::ServerConfig,
    limits: &LimitsConfig,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // TCP_NODELAY first: a release is one small answer, and must not wait for an acknowledgement.
    let capped = Capped {
        connections: Arc::new(Semaphore::new(limits.connections)),
        addresses: Shares::new(limits.connections_per_address),
    };
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(tls)))
        .handshake_timeout(Duration::from_secs(limits.handshake_timeout_s))
        .acceptor(capped);
    let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle).http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_timeout_s))
        .max_buf_size(64 << 10);
    let router = router.layer(from_fn(one_host));
    server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// Refuses a request that does not say whom it is for, or says it twice (RFC 9112, section 3.2). Of a
/// length given in two ways hyper believes the chunks, as section 6.3 has it.
async fn one_host(request: Request, next: Next) -> Response {
    if request.version() >= Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
        return Refused::malformed("host", "exactly one Host header").into_response();
    }
    next.run(request).await
}

/// Accepts at most so many connections at one time, and fewer of one address; further ones are closed at once.
#[derive(Clone)]
struct Capped {
    connections: Arc<Semaphore>,
    addresses: Shares,
}

/// A connection's place among those of its address, and among all.
type Place = (Part, OwnedSemaphorePermit);

impl Capped {
    fn place(&self, stream: &TcpStream) -> io::Result<Place> {
        let peer = Peer::address(stream.peer_addr()?.ip());
        let of_address = self.addresses.try_take(peer, 1).ok_or_else(|| refused("address"))?;
        let of_all = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| refused("all"))?;
        Ok((of_address, of_all))
    }
}

fn refused(full: &'static str) -> io::Error {
    metrics::counter!("strongroom_connections_refused_total", "full" => full).increment(1);
    io::Error::other("too many connections")
}

impl<S: Send + 'static> Accept<TcpStream, S> for Capped {
    type Stream = TcpStream;
    type Service = Held<S>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TcpStream, Held<S>)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = self.place(&stream);
        Box::pin(async move {
            let place = Arc::new(place?);
            let (stream, inner) = NoDelayAcceptor::new().accept(stream, service).await?;
            Ok((stream, Held { inner, _place: place }))
        })
    }
}

/// A connection's service, which holds the connection's place.
#[derive(Clone)]
struct Held<S> {
    inner: S,
    _place: Arc<Place>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Held<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request)
    }
}
