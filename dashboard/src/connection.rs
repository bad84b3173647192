//! One connection: what it speaks, how long it may take, and what it is answered.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Response, StatusCode, Version, header};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use futures::future::Either;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::access::client::Via;
use crate::access::guard::Rules;
use crate::surround;
use crate::tls::HTTP2;

/// How long the head of a request may take, and a TLS handshake, and how long a connection may stay without either.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Head of a request that is always taken: a browser's has a few KiB. Over HTTP/1 it bounds what is kept when more is read, so
/// that, as the packets fall, up to the double passes, and never more.
const HEAD_LIMIT: u32 = 32 * 1024;

/// Requests of one HTTP/2 connection at once: a page has a handful under way, and its streams.
const MAX_STREAMS: u32 = 64;

/// How often an HTTP/2 client must show that it is there while a stream is open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a reader may leave unread what was sent: a phone that was put away leaves nothing behind but this.
const STALLED: Duration = Duration::from_secs(30);

/// What the kernel keeps of a stream that is not read, and what HTTP/2 keeps of each.
const SEND_BUFFER: usize = 256 * 1024;

/// What HTTP/2 is given of a body at once. It takes a whole piece where a single byte has room, and a body counts as sent
/// with its last one. The size of its frames.
const PIECE: usize = 16 * 1024;

/// How long an idle HTTP/2 connection may take to say goodbye: what it still sends is [`SEND_BUFFER`] and a [`PIECE`] at most.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a TLS connection begins with (RFC 8446, section 5.1: a record with a handshake). No method of HTTP does.
const HANDSHAKE: u8 = 22;

/// What is answered on connections.
#[derive(Clone)]
pub(crate) struct Answers {
    web: Router,
    /// With TLS: for who does not know of it yet.
    tls: Option<(TlsAcceptor, Router)>,
}

impl Answers {
    pub(crate) fn new(web: Router, rules: Arc<Rules>, tls: Option<TlsAcceptor>) -> Self {
        Self { web, tls: tls.map(|tls| (tls, elsewhere(rules))) }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self, stream: TcpStream, from: SocketAddr, stop: CancellationToken) {
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, "a connection keeps the system's settings");
        }
        let via = Via { address: from, tls: false };
        let ended = match self.tls {
            None => http1(stream, self.web, via, Then::Next, stop).await,
            Some((acceptor, elsewhere)) => match timeout(HEAD_TIMEOUT, begin(stream, acceptor)).await {
                Err(_) => Err("no TLS handshake in time".into()),
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(Either::Left(plain))) => http1(plain, elsewhere, via, Then::Close, stop).await,
                Ok(Ok(Either::Right(secured))) => {
                    let via = Via { tls: true, ..via };
                    if secured.get_ref().1.alpn_protocol() == Some(HTTP2) {
                        http2(*secured, self.web, via, stop).await
                    } else {
                        http1(*secured, self.web, via, Then::Next, stop).await
                    }
                }
            },
        };
        if let Err(error) = ended {
            tracing::debug!(error, %from, "a connection to the dashboard ended");
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// TLS, or not: told by the first byte.
async fn begin(stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<Either<TcpStream, Box<TlsStream<TcpStream>>>> {
    let mut first = [0];
    // Zero bytes: the other side closed already, which HTTP notices at once.
    if stream.peek(&mut first).await? > 0 && first[0] == HANDSHAKE {
        return Ok(Either::Right(Box::new(acceptor.accept(stream).await?)));
    }
    Ok(Either::Left(stream))
}

/// What plain HTTP is told on a port with TLS: the same page, encrypted.
fn elsewhere(rules: Arc<Rules>) -> Router {
    Router::new().fallback(redirect).with_state(rules).layer(from_fn(surround::surround))
}

async fn redirect(State(rules): State<Arc<Rules>>, request: Request) -> axum::response::Response {
    let (parts, _) = request.into_parts();
    let host = match rules.check_host(&parts) {
        Ok(host) => host,
        Err(refused) => return refused.into_response(),
    };
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, format!("https://{host}{path}"))]).into_response()
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    Next,
}

async fn http1<S>(stream: S, router: Router, via: Via, then: Then, stop: CancellationToken) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(router.clone(), request, via));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_LIMIT as usize);
    builder.keep_alive(then == Then::Next);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    Ok(ended?)
}

async fn http2<S>(stream: S, router: Router, via: Via, stop: CancellationToken) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let under_way = watch::Sender::new(0);
    let idle = idle(under_way.subscribe());
    let service = service_fn(move |request| {
        let (router, held) = (router.clone(), Held::new(&under_way));
        async move { Ok::<_, Infallible>(answer(router, request, via).await?.map(|body| Counted::new(body, held))) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(HEAD_LIMIT)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(HEAD_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        // HTTP/2 itself knows no end of waiting for a head.
        () = idle => {
            connection.as_mut().graceful_shutdown();
            timeout(GOODBYE, connection).await.unwrap_or(Ok(()))
        }
    };
    Ok(ended?)
}

async fn answer(router: Router, request: Request<Incoming>, via: Via) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    // HTTP/2 has the host in the request's own address; from here on it stands where HTTP/1 has it.
    if request.version() == Version::HTTP_2
        && !request.headers().contains_key(header::HOST)
        && let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    request.extensions_mut().insert(via);
    router.oneshot(request).await
}

/// Ends when nothing has been under way for [`HEAD_TIMEOUT`].
async fn idle(mut under_way: watch::Receiver<usize>) {
    loop {
        if under_way.wait_for(|count| *count == 0).await.is_err() {
            return;
        }
        if timeout(HEAD_TIMEOUT, under_way.wait_for(|count| *count > 0)).await.is_err() {
            return;
        }
    }
}

/// A request under way, until it is dropped.
struct Held(watch::Sender<usize>);

impl Held {
    fn new(under_way: &watch::Sender<usize>) -> Self {
        under_way.send_modify(|count| *count += 1);
        Self(under_way.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A body in pieces, whose request is under way until HTTP/2 has taken the last of them: what has no room there stays here.
struct Counted {
    body: Body,
    rest: Bytes,
    _held: Held,
}

impl Counted {
    fn new(body: Body, held: Held) -> Self {
        Self { body, rest: Bytes::new(), _held: held }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                self.rest = data;
                Some(Ok(self.piece()))
            }
            Some(Ok(Err(other))) => Some(Ok(other)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        // The upper bound first: none is below the lower.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    let stalled = u32::try_from(STALLED.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, stalled)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tokio::time::{Instant, advance};

    #[tokio::test]
    async fn a_large_answer_is_under_way_until_its_last_piece_is_taken() {
        let under_way = watch::Sender::new(0);
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(3 * PIECE + 5).collect();
        let mut body = Counted::new(Body::from(sent.clone()), Held::new(&under_way));
        let mut taken = Vec::new();
        while !hyper::body::Body::is_end_stream(&body) {
            let left = (sent.len() - taken.len()) as u64;
            assert_eq!((hyper::body::Body::size_hint(&body).exact(), *under_way.borrow()), (Some(left), 1));
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!((1..=PIECE).contains(&piece.len()));
            taken.extend_from_slice(&piece);
        }
        assert_eq!(taken, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_has_been_under_way_for_ten_seconds() {
        let under_way = watch::Sender::new(0);
        let (begun, watched) = (Instant::now(), tokio::spawn(idle(under_way.subscribe())));
        tokio::task::yield_now().await;
        advance(HEAD_TIMEOUT - Duration::from_secs(1)).await;
        let request = Held::new(&under_way);
        let body = Counted::new(Body::from("x"), Held::new(&under_way));
        drop(request);
        tokio::task::yield_now().await;
        advance(6 * HEAD_TIMEOUT).await;
        tokio::task::yield_now().await;
        assert!(!watched.is_finished(), "an answer is on its way");
        drop(body);
        watched.await.unwrap();
        assert_eq!(begun.elapsed(), 8 * HEAD_TIMEOUT - Duration::from_secs(1));
    }
}
