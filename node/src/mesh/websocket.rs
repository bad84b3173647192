//! WebSocket over TCP (RFC 6455): what is written goes out in binary frames, and what binary frames carry is read.
//!
//! soketto reads and writes the upgrade and the frames' headers. Between them a payload passes through and is never
//! gathered, so that what a frame announces costs nothing. libp2p's own transport keeps 10 KB for each connection, sets
//! memory aside for whatever a frame announces where it dials, and takes frames that a client did not mask.

use std::future::Future;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport};
use miner_ctrl_protocol::codec::MAX_MESSAGE;
use soketto::base::{Codec, Header, OpCode};
use soketto::handshake::server::Response;
use soketto::handshake::{self, Client, Server, ServerResponse};
use soketto::{Mode, Parsing};

/// Payload gathered before it goes to TCP as one frame, in one write.
const GATHER: usize = 16 * 1024;

/// Bytes taken from TCP in one read, frames' headers among them. Most messages have a few hundred.
const AHEAD: usize = 2 * 1024;

/// Reads in one turn that bring no payload: a frame's header may come in parts. Pings without end, from whoever is on the
/// way, would take the turns of the link on this connection.
const READS: usize = 16;

/// Two bytes, eight of length, four of the mask (section 5.2).
const LONGEST_HEADER: usize = 14;

/// An upgrade's request or answer: what most servers take. soketto reads an answer for as long as it goes on.
const LONGEST_UPGRADE: usize = 8 * 1024;

/// Section 7.4.1: the purpose is fulfilled.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
/// … and the peer broke the protocol.
const WRONG: [u8; 2] = 1002_u16.to_be_bytes();

/// Upgrades what `T` dials and hears to WebSocket. `/ws` is the last part of its addresses.
pub(super) struct WebSocket<T> {
    tcp: T,
}

impl<T> WebSocket<T> {
    pub(super) const fn new(tcp: T) -> Self {
        Self { tcp }
    }
}

type Upgrade<S> = Pin<Box<dyn Future<Output = io::Result<Frames<S>>> + Send>>;

impl<T, S> Transport for WebSocket<T>
where
    T: Transport<Output = S, Error = io::Error, ListenerUpgrade: Send + 'static, Dial: Send + 'static> + Unpin,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Frames<S>;
    type Error = io::Error;
    type ListenerUpgrade = Upgrade<S>;
    type Dial = Upgrade<S>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let Some(tcp) = beneath(&address) else { return Err(TransportError::MultiaddrNotSupported(address)) };
        self.tcp.listen_on(id, tcp)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.tcp.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let found = beneath(&address).and_then(|tcp| Some((host_of(&tcp)?, tcp)));
        let Some((host, tcp)) = found else { return Err(TransportError::MultiaddrNotSupported(address)) };
        let dial = self.tcp.dial(tcp, options)?;
        Ok(Box::pin(async move { ask_to_upgrade(dial.await?, &host).await }))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let mut event = ready!(Pin::new(&mut self.tcp).poll(cx));
        match &mut event {
            TransportEvent::NewAddress { listen_addr, .. } | TransportEvent::AddressExpired { listen_addr, .. } => {
                listen_addr.push(Protocol::Ws("/".into()));
            }
            TransportEvent::Incoming { local_addr, send_back_addr, .. } => {
                local_addr.push(Protocol::Ws("/".into()));
                send_back_addr.push(Protocol::Ws("/".into()));
            }
            TransportEvent::ListenerClosed { .. } | TransportEvent::ListenerError { .. } => {}
        }
        let upgrade = |tcp: T::ListenerUpgrade| -> Upgrade<S> { Box::pin(async move { upgrade(tcp.await?).await }) };
        Poll::Ready(event.map_upgrade(upgrade))
    }
}

/// The address without its `/ws`; a peer id at the end stays. No other path: it would go into the request as it is.
fn beneath(address: &Multiaddr) -> Option<Multiaddr> {
    let mut tcp = address.clone();
    let mut last = tcp.pop()?;
    let peer = if matches!(last, Protocol::P2p(_)) { Some(std::mem::replace(&mut last, tcp.pop()?)) } else { None };
    matches!(last, Protocol::Ws(path) if path == "/").then(|| tcp.into_iter().chain(peer).collect())
}

/// What the `Host` header says (RFC 9110, section 7.2).
fn host_of(tcp: &Multiaddr) -> Option<String> {
    let mut parts = tcp.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => format!("[{ip}]"),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => name.into_owned(),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    Some(format!("{host}:{port}"))
}

/// The client's part (section 4.1).
async fn ask_to_upgrade<S: AsyncRead + AsyncWrite + Unpin>(tcp: S, host: &str) -> io::Result<Frames<S>> {
    let mut client = Client::new(Head { tcp, left: LONGEST_UPGRADE }, host, "/");
    match client.handshake().await.map_err(not_upgraded)? {
        ServerResponse::Accepted { .. } => {
            let ahead = client.take_buffer().to_vec();
            Ok(Frames::new(client.into_inner().tcp, Mode::Client, ahead))
        }
        ServerResponse::Redirect { status_code, .. } | ServerResponse::Rejected { status_code } => {
            Err(invalid(format!("it answers with HTTP {status_code}: is that the port of the mesh?")))
        }
    }
}

/// The server's part (section 4.2). Any path is taken.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(tcp: S) -> io::Result<Frames<S>> {
    let mut server = Server::new(Head { tcp, left: LONGEST_UPGRADE });
    let asked = server.receive_request().await.map(|request| request.key());
    let key = match asked {
        Ok(key) => key,
        Err(error) => {
            // A browser, or a proxy without its part of the upgrade. It may be gone.
            if !matches!(error, handshake::Error::Io(_)) {
                let _ = server.send_response(&Response::Reject { status_code: 400 }).await;
            }
            return Err(not_upgraded(error));
        }
    };
    server.send_response(&Response::Accept { key, protocol: None }).await.map_err(not_upgraded)?;
    Ok(Frames::new(server.into_inner().tcp, Mode::Server, Vec::new()))
}

fn not_upgraded(error: handshake::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error {
        handshake::Error::Io(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => {
            io::Error::new(error.kind(), "it closed the connection: is that the port of the mesh?")
        }
        handshake::Error::Io(error) => error,
        error => invalid(format!("it does not speak WebSocket ({error}): is that the port of the mesh?")),
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A connection in its upgrade, of which no more than [`LONGEST_UPGRADE`] is read.
struct Head<S> {
    tcp: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Head<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = self.left.min(bytes.len());
        if most == 0 {
            return Poll::Ready(Err(invalid("an upgrade to WebSocket that does not end")));
        }
        let count = ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut bytes[..most]))?;
        self.left -= count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Head<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_close(cx)
    }
}

/// A connection after its upgrade, as a stream of bytes: where one frame ends and the next begins means nothing.
/// Its buffers are freed when they are empty: thousands of idle connections would each keep their largest burst.
pub(super) struct Frames<S> {
    tcp: S,
    mode: Mode,
    /// Taken from TCP, and of that how much was read: payload for which there was no room, or a part of a header or of a
    /// control frame. At most [`AHEAD`] and one of those, or what came with the upgrade.
    ahead: Vec<u8>,
    read: usize,
    /// Of the frame that is being read: payload to come, and what it is masked with (nothing is changed by 0).
    left: usize,
    mask: u32,
    /// Between the fragments of a message (section 5.4).
    fragmented: bool,
    /// The peer said goodbye: nothing comes or goes any more but the answer to it.
    ended: bool,
    /// To be sent in the next frame, behind room for its header.
    payload: Vec<u8>,
    /// The answer to a ping or to a goodbye, the last alone (section 5.5.3).
    answer: Option<(OpCode, Vec<u8>)>,
    /// A frame on its way, and how much of it is gone.
    frame: Vec<u8>,
    written: usize,
    /// We said goodbye.
    closing: bool,
}

impl<S> Frames<S> {
    const fn new(tcp: S, mode: Mode, ahead: Vec<u8>) -> Self {
        Self {
            tcp,
            mode,
            ahead,
            read: 0,
            left: 0,
            mask: 0,
            fragmented: false,
            ended: false,
            payload: Vec::new(),
            answer: None,
            frame: Vec::new(),
            written: 0,
            closing: false,
        }
    }

    /// Takes frames from `input` and puts what they carry into `bytes`. How much of each was used: all of `input`, unless
    /// there is no room or only a part of a header or of a control frame is left.
    ///
    /// # Errors
    /// Something that RFC 6455 forbids, when all before it was read.
    fn unframe(&mut self, input: &[u8], bytes: &mut [u8]) -> io::Result<(usize, usize)> {
        let (mut used, mut made) = (0, 0);
        while !self.ended {
            let rest = &input[used..];
            if self.left > 0 {
                let count = self.left.min(rest.len()).min(bytes.len() - made);
                if count == 0 {
                    break;
                }
                let part = &mut bytes[made..][..count];
                part.copy_from_slice(&rest[..count]);
                self.passed(part);
                (used, made) = (used + count, made + count);
                continue;
            }
            match self.begin(rest) {
                Ok(Some(count)) => used += count,
                Ok(None) => break,
                Err(_) if made > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok((if self.ended { input.len() } else { used }, made))
    }

    /// The part of a payload that was read.
    fn passed(&mut self, part: &mut [u8]) {
        mask_with(part, self.mask);
        self.left -= part.len();
        let turned = u32::try_from(part.len() % 4).unwrap_or_default() * 8;
        self.mask = self.mask.rotate_left(turned);
    }

    /// Reads the header of a data frame, or a whole control frame; its length, if all of that is there.
    fn begin(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        let mut codec = Codec::new();
        let parsed = codec.set_max_data_size(MAX_MESSAGE).decode_header(input);
        let Parsing::Done { value: header, offset } = parsed.map_err(refused)? else { return Ok(None) };
        if header.is_masked() == self.mode.is_client() {
            return Err(invalid("a WebSocket frame that is masked by a server, or not by a client"));
        }
        let length = header.payload_len();
        match header.opcode() {
            opcode @ (OpCode::Binary | OpCode::Continue) if self.fragmented == (opcode == OpCode::Continue) => {
                self.fragmented = !header.is_fin();
                (self.left, self.mask) = (length, header.mask());
                Ok(Some(offset))
            }
            OpCode::Ping | OpCode::Pong | OpCode::Close => {
                let Some(payload) = input.get(offset..offset + length) else { return Ok(None) };
                let mut payload = payload.to_vec();
                mask_with(&mut payload, header.mask());
                match header.opcode() {
                    OpCode::Ping => self.answer = Some((OpCode::Pong, payload)),
                    OpCode::Close => {
                        self.ended = true;
                        // Nothing when it was we who began (section 5.5.1).
                        self.answer = (!self.closing).then(|| (OpCode::Close, farewell(&payload)));
                    }
                    _ => {}
                }
                Ok(Some(offset + length))
            }
            _ => Err(invalid("a WebSocket frame of text, or out of its message's order")),
        }
    }

    /// Makes a frame the one on its way. `payload` has [`LONGEST_HEADER`] bytes before it.
    fn seal(&mut self, opcode: OpCode, mut payload: Vec<u8>) {
        let mut header = Header::new(opcode);
        header.set_payload_len(payload.len() - LONGEST_HEADER);
        if self.mode.is_client() {
            header.set_masked(true);
            header.set_mask(rand::random());
            mask_with(&mut payload[LONGEST_HEADER..], header.mask());
        }
        let mut codec = Codec::new();
        let header = codec.encode_header(&header);
        let begin = LONGEST_HEADER - header.len();
        payload[begin..LONGEST_HEADER].copy_from_slice(header);
        (self.frame, self.written) = (payload, begin);
    }
}

/// What a goodbye is answered with: its code alone, or that there is no such code (section 7.4).
fn farewell(theirs: &[u8]) -> Vec<u8> {
    match *theirs {
        [] => Vec::new(),
        [high, low, ..] if matches!(u16::from_be_bytes([high, low]), 1000..=1003 | 1007..=1014 | 3000..=4999) => {
            vec![high, low]
        }
        _ => WRONG.to_vec(),
    }
}

/// Each byte with one of the mask's, in turn (section 5.3).
fn mask_with(bytes: &mut [u8], mask: u32) {
    if mask == 0 {
        return;
    }
    let key = mask.to_be_bytes();
    let (whole, rest) = bytes.as_chunks_mut::<4>();
    for four in whole {
        *four = (u32::from_ne_bytes(*four) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

fn refused(error: soketto::base::Error) -> io::Error {
    match error {
        soketto::base::Error::PayloadTooLarge { maximum, .. } => {
            invalid(format!("a WebSocket frame of more than {maximum} bytes"))
        }
        error => invalid(error),
    }
}

fn behind_a_header(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LONGEST_HEADER + payload.len());
    bytes.resize(LONGEST_HEADER, 0);
    bytes.extend_from_slice(payload);
    bytes
}

impl<S: AsyncWrite + Unpin> Frames<S> {
    /// Hands everything that waits to TCP, answers first.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.written < self.frame.len() {
                match ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.frame[self.written..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => self.written += count,
                }
            }
            (self.frame, self.written) = (Vec::new(), 0);
            if let Some((opcode, payload)) = self.answer.take() {
                self.seal(opcode, behind_a_header(&payload));
            } else if self.payload.is_empty() || self.ended {
                return Poll::Ready(Ok(()));
            } else {
                let payload = take(&mut self.payload);
                self.seal(OpCode::Binary, payload);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Sends an answer, or what is left of a frame. Who does not take it is not heard the less: that the connection broke is
    /// told by the next read or flush.
    fn push(&mut self, cx: &mut Context<'_>) {
        if self.answer.is_some() || !self.frame.is_empty() {
            let _ = self.poll_drain(cx);
        }
    }

    /// As [`Self::unframe`], and answers what asks for it.
    fn take_in(&mut self, cx: &mut Context<'_>, input: &[u8], bytes: &mut [u8]) -> io::Result<(usize, usize)> {
        let taken = self.unframe(input, bytes)?;
        self.push(cx);
        Ok(taken)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.push(cx);
        for _ in 0..READS {
            if !this.ahead.is_empty() {
                let mut ahead = take(&mut this.ahead);
                let (used, made) = this.take_in(cx, &ahead[this.read..], bytes)?;
                this.read += used;
                if this.read < ahead.len() {
                    if made == 0 {
                        // A part of a header or of a control frame stays alone: more comes behind it, perhaps without end.
                        ahead.drain(..this.read);
                        this.read = 0;
                    }
                    this.ahead = ahead;
                }
                if made > 0 {
                    return Poll::Ready(Ok(made));
                }
            }
            if this.ended {
                return Poll::Ready(Ok(0));
            }
            if this.ahead.is_empty() && this.left > AHEAD && bytes.len() > AHEAD {
                let most = this.left.min(bytes.len());
                let count = ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut bytes[..most]))?;
                this.passed(&mut bytes[..count]);
                return Poll::Ready(Ok(count));
            }
            let mut read = [0; AHEAD];
            let count = ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut read))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            if !this.ahead.is_empty() {
                this.ahead.extend_from_slice(&read[..count]);
                continue;
            }
            let (used, made) = this.take_in(cx, &read[..count], bytes)?;
            (this.ahead, this.read) = (read[used..count].to_vec(), 0);
            if made > 0 {
                return Poll::Ready(Ok(made));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended || self.closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.payload.len() >= LONGEST_HEADER + GATHER {
            ready!(self.poll_drain(cx))?;
        }
        let part = &bytes[..bytes.len().min(GATHER)];
        if self.payload.is_empty() {
            self.payload = behind_a_header(part);
        } else {
            self.payload.extend_from_slice(part);
        }
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            ready!(self.poll_drain(cx))?;
            self.closing = true;
            if !self.ended {
                self.answer = Some((OpCode::Close, NORMAL.to_vec()));
            }
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
    use proptest::prelude::*;
    use tokio::io::DuplexStream;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode as Kind};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, Utf8Bytes};
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
    use tokio_tungstenite::tungstenite::{self, Message};
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    /// Gives `bytes` in parts of at most `part`, and counts how often it is asked.
    struct Below {
        bytes: Vec<u8>,
        at: usize,
        part: usize,
        asked: usize,
        taken: Vec<Vec<u8>>,
        /// Nobody takes anything.
        stuck: bool,
        /// What is written is refused: the other side has reset the connection.
        broken: bool,
        /// It never says that there is nothing for the moment.
        always: bool,
    }

    impl Below {
        const fn new(bytes: Vec<u8>, part: usize) -> Self {
            Self { bytes, at: 0, part, asked: 0, taken: Vec::new(), stuck: false, broken: false, always: false }
        }
    }

    impl AsyncRead for Below {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
            self.asked += 1;
            if !self.always && self.asked.is_multiple_of(3) {
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
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if self.stuck {
                return Poll::Pending;
            }
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

    /// As a peer sends it (section 5.2), written here by hand.
    fn frame(first: u8, payload: &[u8], mask: Option<u32>) -> Vec<u8> {
        let masked = if mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..126 => bytes.push(masked | length.to_le_bytes()[0]),
            length @ 126..65_536 => {
                bytes.push(masked | 126);
                bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                bytes.push(masked | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask = mask.map(u32::to_be_bytes);
        bytes.extend_from_slice(mask.as_ref().map_or(&[], |mask| mask));
        let key = mask.unwrap_or_default();
        bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    fn heard(bytes: Vec<u8>, part: usize, mode: Mode) -> Frames<Below> {
        Frames::new(Below::new(bytes, part), mode, Vec::new())
    }

    /// Everything, in reads of these lengths in turn.
    fn read_all(stream: &mut Frames<Below>, asked: &[usize]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        for want in asked.iter().cycle() {
            let mut buffer = vec![0; *want];
            let count = futures::executor::block_on(stream.read(&mut buffer))?;
            if count == 0 {
                break;
            }
            read.extend_from_slice(&buffer[..count]);
            assert!(stream.ahead.len() <= 2 * AHEAD, "{}", stream.ahead.len());
        }
        Ok(read)
    }

    proptest! {
        #[test]
        fn what_frames_carry_is_read_however_they_are_cut(
            frames in prop::collection::vec((prop_oneof![0..300_usize, 4000..4200_usize, 0..70_000_usize], any::<u32>()), 1..8),
            masked in any::<bool>(),
            fragments in any::<bool>(),
            pings in any::<bool>(),
            part in 1..20_000_usize,
            asked in prop::collection::vec(1..9000_usize, 1..10),
        ) {
            let (mut bytes, mut all) = (Vec::new(), Vec::new());
            let last = frames.len() - 1;
            for (place, (length, seed)) in frames.into_iter().enumerate() {
                let payload: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ seed.to_le_bytes()[at % 4]).collect();
                let first = match (fragments, place) {
                    (false, _) => 0x82,
                    (true, 0) => if last == 0 { 0x82 } else { 0x02 },
                    (true, place) => if place == last { 0x80 } else { 0x00 },
                };
                bytes.extend(frame(first, &payload, masked.then_some(seed)));
                if pings {
                    bytes.extend(frame(0x89, &payload[..length.min(125)], masked.then_some(seed)));
                    bytes.extend(frame(0x8a, b"", masked.then_some(seed)));
                }
                all.extend(payload);
            }
            let mode = if masked { Mode::Server } else { Mode::Client };
            let mut stream = heard(bytes, part, mode);
            prop_assert_eq!(read_all(&mut stream, &asked).unwrap(), all);
            prop_assert_eq!(stream.ahead.capacity(), 0);
            prop_assert_eq!(stream.payload.capacity() + stream.frame.capacity(), 0);
        }
    }

    /// Each read ends in the middle of a header: what was read does not stay for it.
    #[test]
    fn what_was_read_is_not_kept() {
        for part in [5, 7, 11] {
            let bytes = frame(0x82, &[1, 2, 3, 4, 5], None).repeat(20_000);
            let mut stream = heard(bytes, part, Mode::Client);
            assert!(read_all(&mut stream, &[3, 100]).unwrap() == [1, 2, 3, 4, 5].repeat(20_000), "{part}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_at_its_header_and_what_is_not_needs_no_memory() {
        for length in [MAX_MESSAGE as u64 + 1, 256 << 20, u64::MAX >> 1] {
            let header = [&[0x82, 127][..], &length.to_be_bytes()].concat();
            let error = read_all(&mut heard(header, 100, Mode::Client), &[100]).unwrap_err();
            assert_eq!(error.to_string(), "a WebSocket frame of more than 262144 bytes");
        }
        let mut header = heard(frame(0x82, &[7; MAX_MESSAGE], None)[..10].to_vec(), 100, Mode::Client);
        assert_eq!(read_all(&mut header, &[100]).unwrap(), b"");
        assert_eq!(header.ahead.capacity(), 0);
    }

    #[test]
    fn pings_without_end_leave_a_turn_to_others() {
        let ping = frame(0x89, &[3; 125], Some(5));
        let mut stream = heard(ping.repeat(10_000), usize::MAX, Mode::Server);
        stream.tcp.always = true;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut stream).poll_read(&mut cx, &mut [0; 100]).is_pending());
        assert_eq!(stream.tcp.asked, READS);
    }

    #[test]
    fn what_came_is_read_though_its_answer_cannot_be_sent() {
        for last in [frame(0x88, &[3, 232], None), frame(0x89, b"", None)] {
            let mut stream = heard([frame(0x82, b"last", None), last].concat(), usize::MAX, Mode::Client);
            stream.tcp.broken = true;
            assert_eq!(read_all(&mut stream, &[100]).unwrap(), b"last");
        }
    }

    #[test]
    fn a_goodbye_without_sense_is_not_said_again() {
        assert_eq!(farewell(b""), b"");
        for (theirs, ours) in
            [(1000, 1000), (4999, 4999), (999, 1002), (1005, 1002), (1006, 1002), (5000, 1002), (0, 1002)]
        {
            let said = [&u16::to_be_bytes(theirs)[..], b"why"].concat();
            assert_eq!(farewell(&said), u16::to_be_bytes(ours), "{theirs}");
        }
        assert_eq!(farewell(b"x"), WRONG);
    }

    /// What was sent before it is read first.
    #[test]
    fn what_the_rfc_forbids_is_refused_where_it_stands() {
        let wrong: [(&str, Vec<u8>); 9] = [
            ("a client does not mask (5.1)", frame(0x82, b"x", None)),
            ("a fragment of nothing (5.4)", frame(0x80, b"x", Some(7))),
            ("a message in a message (5.4)", [frame(0x02, b"", Some(7)), frame(0x82, b"x", Some(7))].concat()),
            ("text", frame(0x81, b"x", Some(7))),
            ("a reserved bit (5.2)", frame(0xc2, b"x", Some(7))),
            ("a reserved opcode (5.2)", frame(0x83, b"x", Some(7))),
            ("a reserved control opcode (5.2)", frame(0x8b, b"x", Some(7))),
            ("a ping in fragments (5.5)", frame(0x09, b"x", Some(7))),
            ("a ping that is too long (5.5)", frame(0x89, &[0; 126], Some(7))),
        ];
        for (what, wrong) in wrong {
            let mut stream = heard([frame(0x82, b"before", Some(9)), wrong].concat(), usize::MAX, Mode::Server);
            let mut before = [0; 10];
            let count = futures::executor::block_on(stream.read(&mut before)).unwrap();
            assert_eq!(&before[..count], b"before", "{what}");
            let error = futures::executor::block_on(stream.read(&mut before)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}");
        }
        let masks = read_all(&mut heard(frame(0x82, b"x", Some(7)), 100, Mode::Client), &[100]);
        assert!(masks.unwrap_err().to_string().contains("masked by a server"));
    }

    #[test]
    fn a_frame_is_one_read_and_one_write() {
        let sent = frame(0x82, &[7; 618], None);
        let mut stream = heard(sent.clone(), usize::MAX, Mode::Client);
        let mut payload = vec![0; 8192];
        assert_eq!(futures::executor::block_on(stream.read(&mut payload)).unwrap(), 618);
        assert_eq!(stream.tcp.asked, 1);
        let mut stream = heard(Vec::new(), 0, Mode::Server);
        futures::executor::block_on(async {
            stream.write_all(&[7; 2]).await.unwrap();
            stream.write_all(&[7; 616]).await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(stream.tcp.taken, [sent]);
        assert_eq!(stream.frame.capacity() + stream.payload.capacity(), 0);
    }

    #[test]
    fn who_pings_without_end_and_takes_no_answer_costs_one() {
        let mut stream = heard(frame(0x89, &[3; 125], Some(5)).repeat(10_000), 1000, Mode::Server);
        stream.tcp.stuck = true;
        assert_eq!(read_all(&mut stream, &[100]).unwrap(), b"");
        assert!(stream.frame.len() <= LONGEST_HEADER + 125 && stream.answer.as_ref().unwrap().1 == [3; 125]);
        assert_eq!(stream.payload.capacity(), 0);
        // It goes out with the next read after it can.
        stream.tcp.stuck = false;
        assert_eq!(read_all(&mut stream, &[100]).unwrap(), b"");
        assert_eq!(stream.tcp.taken, [frame(0x8a, &[3; 125], None), frame(0x8a, &[3; 125], None)]);
    }

    type Theirs = WebSocketStream<DuplexStream>;

    async fn with_tungstenite(mode: Mode) -> (Frames<Compat<DuplexStream>>, Theirs) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let role = if mode.is_client() { Role::Server } else { Role::Client };
        (Frames::new(ours.compat(), mode, Vec::new()), WebSocketStream::from_raw_socket(theirs, role, None).await)
    }

    /// tungstenite is another library's reading of the RFC.
    #[tokio::test]
    async fn another_library_is_understood_in_either_role() {
        for mode in [Mode::Client, Mode::Server] {
            let (mut ours, mut theirs) = with_tungstenite(mode).await;
            for length in [1, 125, 126, 127, GATHER, 65_535, 65_536, 200_000] {
                let sent: Vec<u8> = (0..length).map(|at: usize| at.to_le_bytes()[0]).collect();
                ours.write_all(&sent).await.unwrap();
                ours.flush().await.unwrap();
                let mut came = Vec::new();
                while came.len() < length {
                    came.extend_from_slice(&theirs.next().await.unwrap().unwrap().into_data());
                }
                assert!(came == sent, "{mode:?} {length}");
                theirs.send(Message::binary(sent.clone())).await.unwrap();
                let mut came = vec![0; length];
                ours.read_exact(&mut came).await.unwrap();
                assert!(came == sent, "{mode:?} {length}");
            }
            // Fragments with a ping between them.
            for (kind, text, last) in [(Data::Binary, "fra", false), (Data::Continue, "gments", true)] {
                theirs.send(Message::Frame(Frame::message(text, Kind::Data(kind), last))).await.unwrap();
                theirs.send(Message::Ping(text.into())).await.unwrap();
            }
            let mut came = [0; 9];
            ours.read_exact(&mut came).await.unwrap();
            assert_eq!(&came, b"fragments");
            // Section 5.5.3: for the last of those that came together. It may have been left for the next read.
            let pong = tokio::select! {
                message = theirs.next() => message,
                _ = ours.read(&mut came) => panic!("there is no more to read"),
            };
            assert_eq!(pong.unwrap().unwrap(), Message::Pong("gments".into()));
        }
    }

    #[tokio::test]
    async fn a_goodbye_is_said_and_answered() {
        for mode in [Mode::Client, Mode::Server] {
            let (mut ours, mut theirs) = with_tungstenite(mode).await;
            ours.write_all(b"last").await.unwrap();
            ours.close().await.unwrap();
            assert_eq!(theirs.next().await.unwrap().unwrap().into_data(), "last");
            let Message::Close(Some(close)) = theirs.next().await.unwrap().unwrap() else { panic!("no goodbye") };
            assert_eq!(u16::from(close.code), 1000);
            assert_eq!(ours.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);

            let (mut ours, mut theirs) = with_tungstenite(mode).await;
            let goodbye = CloseFrame { code: 4000.into(), reason: Utf8Bytes::from_static("why not") };
            theirs.send(Message::binary("last")).await.unwrap();
            theirs.close(Some(goodbye)).await.unwrap();
            let mut came = Vec::new();
            ours.read_to_end(&mut came).await.unwrap();
            assert_eq!(came, b"last");
            let Message::Close(Some(close)) = theirs.next().await.unwrap().unwrap() else { panic!("no answer") };
            assert_eq!((u16::from(close.code), close.reason.as_str()), (4000, ""));
            assert_eq!(ours.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            ours.close().await.unwrap();
            assert!(matches!(theirs.next().await, None | Some(Err(tungstenite::Error::ConnectionClosed))));
        }
    }

    #[tokio::test]
    async fn an_upgrade_is_done_with_another_library_and_what_comes_with_it_is_read() {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (ours, theirs) =
            tokio::join!(upgrade(ours.compat()), tokio_tungstenite::client_async("ws://rig/any", theirs));
        let (mut ours, (mut theirs, _)) = (ours.unwrap(), theirs.unwrap());
        theirs.send(Message::binary("first")).await.unwrap();
        let mut came = [0; 5];
        ours.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"first");

        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let speaks_first = async {
            let mut theirs = tokio_tungstenite::accept_async(theirs).await.unwrap();
            theirs.send(Message::binary("first")).await.unwrap();
            theirs
        };
        let (ours, _theirs) = tokio::join!(ask_to_upgrade(ours.compat(), "rig:9091"), speaks_first);
        ours.unwrap().read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"first");
    }

    #[tokio::test]
    async fn an_upgrade_that_does_not_end_is_given_up() {
        for dialled in [true, false] {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let begin: &[u8] = if dialled { b"HTTP/1.1 101 Yes\r\nA: " } else { b"GET / HTTP/1.1\r\nA: " };
            let mut theirs = theirs.compat();
            theirs.write_all(&[begin, &[b'x'; 64 * 1024]].concat()).await.unwrap();
            let error = if dialled {
                ask_to_upgrade(ours.compat(), "rig:9091").await.err()
            } else {
                upgrade(ours.compat()).await.err()
            };
            assert_eq!(error.unwrap().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn a_web_server_is_told_from_a_node() {
        for (answer, why) in [
            (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                "it answers with HTTP 404: is that the port of the mesh?",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
                "it answers with HTTP 302: is that the port of the mesh?",
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n", "it does not speak WebSocket ("),
        ] {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let mut theirs = theirs.compat();
            theirs.write_all(answer.as_bytes()).await.unwrap();
            let error = ask_to_upgrade(ours.compat(), "rig:9091").await.err().unwrap();
            assert!(error.to_string().starts_with(why), "{error}");
        }
    }

    #[test]
    fn addresses_are_split_where_websocket_begins() {
        let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        for (address, tcp, host) in [
            ("/ip4/10.0.0.7/tcp/9091/ws", "/ip4/10.0.0.7/tcp/9091", "10.0.0.7:9091"),
            ("/ip6/::1/tcp/1/ws", "/ip6/::1/tcp/1", "[::1]:1"),
            ("/dns4/rig.local/tcp/9091/ws", "/dns4/rig.local/tcp/9091", "rig.local:9091"),
        ] {
            for suffix in [String::new(), format!("/p2p/{peer}")] {
                let found = beneath(&format!("{address}{suffix}").parse().unwrap()).unwrap();
                assert_eq!(found.to_string(), format!("{tcp}{suffix}"));
                assert_eq!(host_of(&found).unwrap(), host);
            }
        }
        let path = "/ip4/10.0.0.7/tcp/9091/x-parity-ws/%2f%0d%0aX:";
        for other in ["/ip4/10.0.0.7/tcp/9091", "/ip4/10.0.0.7/tcp/9091/wss", "/ws", "/memory/1", path] {
            let address: Multiaddr = other.parse().unwrap();
            assert!(beneath(&address).is_none_or(|tcp| host_of(&tcp).is_none()), "{other}");
        }
    }
}
