//! TCP, names, WebSocket, Noise, Yamux, with the limits that libp2p's own builder does not let one set.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::upgrade::Version;
use libp2p::{PeerId, Transport, identity, noise, tcp};
use libp2p_websocket as websocket;
use miner_ctrl_protocol::codec::MAX_MESSAGE;

use super::guard::Guard;
use super::muxer::Yamux;
use super::names::Named;

/// TCP, WebSocket, Noise and Yamux together. 5 000 rigs that connect at once on two cores need 8 s.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// TCP alone: what is asked for is asked for again after 1 s and 3 s. Waiting for more would be worse than to dial again:
/// a network that comes back in the meantime would not be seen for as long as TCP doubles its pauses.
pub(super) const CONNECT: Duration = Duration::from_secs(4);

/// Bytes gathered before they go to TCP in one write: soketto writes a frame's header and its payload apart.
const GATHER: usize = 16 * 1024;

/// Bytes taken from TCP in one read, where less is asked for: soketto asks for a frame's header two bytes at a time, and
/// once more to see that nothing follows. Most messages have a few hundred.
const AHEAD: usize = 2 * 1024;

pub(crate) fn build(keypair: &identity::Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let mut websocket = websocket::Config::new(Named::new(tcp));
    // For what it listens to alone; [`Guard`] holds for what it dials, too, and sooner.
    websocket.set_max_data_size(MAX_MESSAGE);
    Ok(websocket
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(Yamux)
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}

fn tcp() -> impl Transport<
    Output = Gathered<tcp::tokio::TcpStream>,
    Error = io::Error,
    Dial: Send + 'static,
    ListenerUpgrade: Send + 'static,
> + Send
+ Unpin
+ 'static {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    TransportTimeout::with_outgoing_timeout(tcp, CONNECT).map(|stream, _| Gathered::new(stream)).map_err(tcp_error)
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
/// there are, up to [`AHEAD`]. What it takes is WebSocket, and kept back as its [`Guard`] says.
pub(crate) struct Gathered<S> {
    inner: S,
    waiting: Vec<u8>,
    written: usize,
    ahead: Vec<u8>,
    read: usize,
    guard: Guard,
}

impl<S> Gathered<S> {
    const fn new(inner: S) -> Self {
        let guard = Guard::new(MAX_MESSAGE);
        Self { inner, waiting: Vec::new(), written: 0, ahead: Vec::new(), read: 0, guard }
    }

    /// Some of what was read ahead and may be handed on.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let open = self.ahead.len().saturating_sub(self.guard.held()).max(self.read);
        let rest = &self.ahead[self.read..open];
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        if self.read == self.ahead.len() {
            // Freed, as what is written is.
            self.ahead = Vec::new();
            self.read = 0;
        } else if self.read == open {
            // What is held stays alone: more comes behind it, perhaps without end.
            self.ahead.drain(..self.read);
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

impl<S: AsyncRead + Unpin> Gathered<S> {
    /// Takes more of a long frame, of which much may be there at once.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let have = self.ahead.len();
        self.ahead.resize(have + GATHER, 0);
        let read = Pin::new(&mut self.inner).poll_read(cx, &mut self.ahead[have..]);
        self.ahead.truncate(have + if let Poll::Ready(Ok(count)) = &read { *count } else { 0 });
        let count = ready!(read)?;
        self.guard.see(&self.ahead[have..])?;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let taken = self.take(bytes);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            if self.ahead.is_empty() && bytes.len() >= AHEAD {
                let count = ready!(Pin::new(&mut self.inner).poll_read(cx, bytes))?;
                self.guard.see(&bytes[..count])?;
                let open = count - self.guard.held().min(count);
                if open == count {
                    return Poll::Ready(Ok(count));
                }
                self.ahead = bytes[open..count].to_vec();
                if open > 0 {
                    return Poll::Ready(Ok(open));
                }
                continue;
            }
            if self.guard.held() > AHEAD {
                if ready!(self.poll_more(cx))? == 0 {
                    return Poll::Ready(Ok(0));
                }
                continue;
            }
            let mut read = [0; AHEAD];
            let count = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            self.guard.see(&read[..count])?;
            if self.ahead.is_empty() && self.guard.held() == 0 && count <= bytes.len() {
                bytes[..count].copy_from_slice(&read[..count]);
                return Poll::Ready(Ok(count));
            }
            self.ahead.extend_from_slice(&read[..count]);
        }
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

    /// Everything, in reads of these lengths in turn.
    fn read_all(stream: &mut Gathered<Below>, asked: &[usize]) -> Vec<u8> {
        let mut read = Vec::new();
        futures::executor::block_on(async {
            for want in asked.iter().cycle() {
                let mut buffer = vec![0; *want];
                let count = stream.read(&mut buffer).await.unwrap();
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..count]);
                assert!(stream.ahead.len() <= 32 * 1024 + GATHER, "{}", stream.ahead.len());
            }
        });
        read
    }

    /// Each read ends in the middle of a header: what was handed on does not stay for it.
    #[test]
    fn what_was_handed_on_is_not_kept() {
        for shift in 0..7 {
            let mut bytes = [&[b'x'; 7][shift..], b"\n\n"].concat();
            bytes.extend([0x82, 5, 1, 2, 3, 4, 5].repeat(20_000));
            let mut stream = Gathered::new(Below::new(bytes.clone(), 7));
            assert!(read_all(&mut stream, &[100]) == bytes, "{shift}");
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
            prop_assert_eq!(read_all(&mut stream, &asked), bytes);
            prop_assert_eq!(stream.ahead.capacity(), 0);
        }
    }

    proptest! {
        #[test]
        fn frames_pass_whole_whatever_their_length(
            lengths in prop::collection::vec(prop_oneof![0..300_u16, 4000..4200_u16, 0..30_000_u16], 1..6),
            part in 1..20_000_usize,
            asked in prop::collection::vec(1..2 * AHEAD, 1..10),
        ) {
            let mut bytes = b"GET / HTTP/1.1\r\n\r\n".to_vec();
            for length in &lengths {
                bytes.extend_from_slice(&[0x82, 126]);
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.resize(bytes.len() + usize::from(*length), 7);
            }
            let mut stream = Gathered::new(Below::new(bytes.clone(), part));
            prop_assert_eq!(read_all(&mut stream, &asked), bytes);
            prop_assert_eq!(stream.ahead.capacity(), 0);
        }
    }

    /// It announces 256 MiB where it was dialled, as an old address of a rig may.
    #[tokio::test]
    async fn a_frame_that_is_too_large_is_refused_by_the_dialer_at_its_header() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut transport = build(&identity::Keypair::generate_ed25519()).unwrap();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(format!("/ip4/127.0.0.1/tcp/{}/ws", address.port()).parse().unwrap(), options);
        let (error, ()) = tokio::join!(async { dial.unwrap().await.err().unwrap() }, async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = tokio_tungstenite::accept_async(stream).await.unwrap();
            let announced = [&[0x82, 127][..], &(256_u64 << 20).to_be_bytes()].concat();
            tokio::io::AsyncWriteExt::write_all(server.get_mut(), &announced).await.unwrap();
            // Kept open: only the announcement may end it.
            tokio::io::AsyncReadExt::read_to_end(server.get_mut(), &mut Vec::new()).await.ok();
        });
        assert!(format!("{error:?}").contains("more than 262144 bytes"), "{error:?}");
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
