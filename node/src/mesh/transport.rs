//! TCP, DNS, WebSocket, Noise, Yamux, with the limits that libp2p's own builder does not let one set.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::{PeerId, Transport, dns, identity, noise, tcp, websocket, yamux};
use miner_ctrl_protocol::codec::MAX_MESSAGE;

/// TCP, WebSocket, Noise and Yamux together. 5 000 rigs that connect at once on two cores need 8 s.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Substreams of a connection: one link, identify and ping, a pairing. More is a flood.
const MAX_STREAMS: usize = 32;

/// Bytes gathered before they go to TCP in one write: soketto writes a frame's header and its payload apart.
const GATHER: usize = 16 * 1024;

pub(crate) fn build(keypair: &identity::Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let mut websocket = websocket::Config::new(with_dns());
    // The default lets a stranger announce a frame of 256 MiB, which is zero-filled before a byte of it arrives.
    websocket.set_max_data_size(MAX_MESSAGE);
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    Ok(websocket
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux)
        .timeout(HANDSHAKE)
        .boxed())
}

fn with_dns() -> impl Transport<
    Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Error: Send + Sync + 'static,
    Dial: Send + 'static,
    ListenerUpgrade: Send + 'static,
> + Send
+ Unpin
+ 'static {
    let tcp =
        || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)).map(|stream, _| Gathered::new(stream));
    dns::tokio::Transport::system(tcp()).unwrap_or_else(|error| {
        // A machine without resolv.conf still reaches rigs by address.
        tracing::warn!(%error, "no DNS configuration: peers are reached by IP address only");
        dns::tokio::Transport::custom(tcp(), dns::ResolverConfig::default(), dns::ResolverOpts::default())
    })
}

/// A stream that hands bytes to the one below when flushed, or when [`GATHER`] of them wait.
pub(crate) struct Gathered<S> {
    inner: S,
    waiting: Vec<u8>,
    written: usize,
}

impl<S> Gathered<S> {
    const fn new(inner: S) -> Self {
        Self { inner, waiting: Vec::new(), written: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.waiting[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        // Freed, not cleared: thousands of idle connections would each keep their largest burst.
        self.waiting = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, bytes)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= GATHER {
            ready!(self.poll_drain(cx))?;
        }
        let count = bytes.len().min(GATHER);
        self.waiting.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
