//! TCP, DNS, WebSocket, Noise, Yamux, with the limits that libp2p's own builder does not let one set.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::upgrade::Version;
use libp2p::{PeerId, Transport, dns, identity, noise, tcp, websocket, yamux};
use miner_ctrl_protocol::codec::MAX_MESSAGE;

/// TCP, WebSocket, Noise and Yamux together. 5 000 rigs that connect at once on two cores need 8 s.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// TCP alone: what is asked for is asked for again after 1 s and 3 s. Waiting for more would be worse than to dial again:
/// a network that comes back in the meantime would not be seen for as long as TCP doubles its pauses.
pub(super) const CONNECT: Duration = Duration::from_secs(4);

/// Substreams of a connection: one link, identify and ping, a pairing. More is a flood.
const MAX_STREAMS: usize = 32;

/// Bytes gathered before they go to TCP in one write: soketto writes a frame's header and its payload apart.
const GATHER: usize = 16 * 1024;

/// Bytes taken from TCP in one read, where less is asked for: soketto asks for a frame's header two bytes at a time, and
/// once more to see that nothing follows. Most messages have a few hundred.
const AHEAD: usize = 2 * 1024;

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
    let tcp = || {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        TransportTimeout::with_outgoing_timeout(tcp, CONNECT).map(|stream, _| Gathered::new(stream)).map_err(tcp_error)
    };
    dns::tokio::Transport::system(tcp()).unwrap_or_else(|error| {
        // A machine without resolv.conf still reaches rigs by address.
        tracing::warn!(%error, "no DNS configuration: peers are reached by IP address only");
        dns::tokio::Transport::custom(tcp(), dns::ResolverConfig::default(), dns::ResolverOpts::default())
    })
}

/// In words for an operator, where the library's say only that there was a timeout.
fn tcp_error(error: TransportTimeoutError<io::Error>) -> io::Error {
    match error {
        TransportTimeoutError::Timeout => {
            io::Error::new(io::ErrorKind::TimedOut, format!("nobody answered within {} s", CONNECT.as_secs()))
        }
        TransportTimeoutError::TimerError(error) | TransportTimeoutError::Other(error) => error,
    }
}

/// A stream that hands bytes to the one below when flushed, or when [`GATHER`] of them wait, and takes as many from it as
/// there are, up to [`AHEAD`].
pub(crate) struct Gathered<S> {
    inner: S,
    waiting: Vec<u8>,
    written: usize,
    ahead: Vec<u8>,
    read: usize,
}

impl<S> Gathered<S> {
    const fn new(inner: S) -> Self {
        Self { inner, waiting: Vec::new(), written: 0, ahead: Vec::new(), read: 0 }
    }

    /// Some of what was read ahead.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let rest = &self.ahead[self.read..];
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        if self.read == self.ahead.len() {
            // Freed, as what is written is.
            self.ahead = Vec::new();
            self.read = 0;
        }
        count
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
        if self.ahead.is_empty() {
            if bytes.is_empty() || bytes.len() >= AHEAD {
                return Pin::new(&mut self.inner).poll_read(cx, bytes);
            }
            let mut read = [0; AHEAD];
            let count = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
            if count <= bytes.len() {
                bytes[..count].copy_from_slice(&read[..count]);
                return Poll::Ready(Ok(count));
            }
            self.ahead = read[..count].to_vec();
        }
        Poll::Ready(Ok(self.take(bytes)))
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

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt};
    use libp2p::core::Endpoint;
    use libp2p::core::transport::{DialOpts, PortUse};
    use proptest::prelude::*;

    use super::*;

    /// Gives `bytes` in parts of at most `part`, and counts how often it is asked.
    struct Below {
        bytes: Vec<u8>,
        at: usize,
        part: usize,
        asked: usize,
        taken: Vec<Vec<u8>>,
    }

    impl Below {
        const fn new(bytes: Vec<u8>, part: usize) -> Self {
            Self { bytes, at: 0, part, asked: 0, taken: Vec::new() }
        }
    }

    impl AsyncRead for Below {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
            self.asked += 1;
            if self.asked.is_multiple_of(3) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = (self.bytes.len() - self.at).min(bytes.len()).min(self.part);
            bytes[..count].copy_from_slice(&self.bytes[self.at..][..count]);
            self.at += count;
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Below {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.taken.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn every_byte_is_read_once_and_in_order(
            length in 0..3 * AHEAD,
            part in 1..2 * AHEAD,
            asked in prop::collection::vec(1..2 * AHEAD, 1..20),
        ) {
            let bytes: Vec<u8> = (0..length).map(|place| place.to_le_bytes()[0] ^ place.to_le_bytes()[1]).collect();
            let mut stream = Gathered::new(Below::new(bytes.clone(), part));
            let mut read = Vec::new();
            futures::executor::block_on(async {
                for want in asked.iter().cycle() {
                    let mut buffer = vec![0; *want];
                    let count = stream.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    read.extend_from_slice(&buffer[..count]);
                }
            });
            prop_assert_eq!(read, bytes);
            prop_assert_eq!(stream.ahead.capacity(), 0);
        }
    }

    /// Linux lets one connection wait at a socket that listens for none, and does not answer the next.
    #[tokio::test]
    async fn a_dial_that_tcp_does_not_answer_is_given_up_before_tcp_gives_up() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let _full = socket.listen(0).unwrap();
        let _waits = tokio::net::TcpStream::connect(address).await.unwrap();

        let mut transport = build(&identity::Keypair::generate_ed25519()).unwrap();
        let dialled = std::time::Instant::now();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        let dial = transport.dial(format!("/ip4/127.0.0.1/tcp/{}/ws", address.port()).parse().unwrap(), options);
        let error = dial.unwrap().await.err().unwrap();
        assert!(format!("{error:?}").contains("nobody answered within 4 s"), "{error:?}");
        let (took, soon) = (dialled.elapsed(), HANDSHAKE / 2);
        assert!(CONNECT <= took && took < soon, "{took:?}");
    }

    #[test]
    fn a_frame_is_one_read_and_one_write() {
        let frame = [&[0x82, 0x7e, 0x02, 0x6a][..], &[7; 618]].concat();
        let mut stream = Gathered::new(Below::new(frame.clone(), usize::MAX));
        futures::executor::block_on(async {
            let (mut head, mut length, mut payload) = ([0; 2], [0; 2], vec![0; 618]);
            stream.read_exact(&mut head).await.unwrap();
            stream.read_exact(&mut length).await.unwrap();
            stream.read_exact(&mut payload).await.unwrap();
            assert_eq!([&head[..], &length, &payload].concat(), frame);
            stream.write_all(&head).await.unwrap();
            stream.write_all(&length).await.unwrap();
            stream.write_all(&payload).await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(stream.inner.asked, 1);
        assert_eq!(stream.inner.taken, [frame]);
    }
}
