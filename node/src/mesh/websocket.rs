//! WebSocket over TCP (RFC 6455): what is written goes out in binary frames, and what binary frames carry is read.
//!
//! soketto reads and writes the upgrade and the frames' headers. Between them a payload passes through and is never
//! gathered, so that what a frame announces costs nothing. libp2p's own transport keeps 10 KB for each connection, sets
//! memory aside for whatever a frame announces where it dials, and takes frames that a client did not mask.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
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

/// How every request begins that asks for an upgrade (section 4.1).
const REQUEST: &[u8] = b"GET ";

/// What whoever asks for no upgrade is told: a browser, curl, a proxy without its part of it.
const NO_UPGRADE: &str =
    "Here miner-ctrl nodes meet. A node's dashboard has another port: run `miner-ctrl ui` there.\n";

/// Section 7.4.1: the purpose is fulfilled.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
/// … and the peer broke the protocol.
const WRONG: [u8; 2] = 1002_u16.to_be_bytes();

tokio::task_local! {
    /// Bytes that may yet be read, while it is a handshake that reads: whoever polls knows that, and the socket, which Noise
    /// has inside, does not.
    pub(super) static HANDSHAKE_READS: Cell<usize>;
}

/// Upgrades what `T` dials and hears to WebSocket. `/ws` is the last part of its addresses.
pub(super) struct WebSocket<T> {
    tcp: T,
}

impl<T> WebSocket<T> {
    pub(super) const fn new(tcp: T) -> Self {
        Self { tcp }
    }
}

type Upgrade<S> = Pin<Box<dyn Future<Output = io::Result<Socket<S>>> + Send>>;

impl<T, S> Transport for WebSocket<T>
where
    T: Transport<Output = S, Error = io::Error, ListenerUpgrade: Send + 'static, Dial: Send + 'static> + Unpin,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Socket<S>;
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
async fn ask_to_upgrade<S: AsyncRead + AsyncWrite + Unpin>(tcp: S, host: &str) -> io::Result<Socket<S>> {
    let mut client = Client::new(Head { tcp, begins: b"", left: LONGEST_UPGRADE }, host, "/");
    match client.handshake().await.map_err(not_upgraded)? {
        ServerResponse::Accepted { .. } => {
            let ahead = client.take_buffer().to_vec();
            Ok(Socket::new(client.into_inner().tcp, Mode::Client, ahead))
        }
        ServerResponse::Redirect { status_code, .. } | ServerResponse::Rejected { status_code } => {
            Err(invalid(format!("it answers with HTTP {status_code}: is that the port of the mesh?")))
        }
    }
}

/// The server's part (section 4.2). Any path is taken. A browser names the page that asks (RFC 6454, section 7), and lets any
/// page ask: it could try pairing codes on a node that listens on loopback alone. A node names none.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(tcp: S) -> io::Result<Socket<S>> {
    let mut server = Server::new(Head { tcp, begins: REQUEST, left: LONGEST_UPGRADE });
    let asked = server.receive_request().await.map(|request| (request.key(), request.headers().origin.is_some()));
    let key = match asked {
        Ok((key, false)) => key,
        Ok((_, true)) => {
            refuse(server.into_inner().tcp, "403 Forbidden").await;
            return Err(invalid("a page in a browser asks"));
        }
        Err(error) => {
            let is_gone = matches!(&error, handshake::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData);
            if !is_gone {
                refuse(server.into_inner().tcp, "400 Bad Request").await;
            }
            return Err(not_upgraded(error));
        }
    };
    server.send_response(&Response::Accept { key, protocol: None }).await.map_err(not_upgraded)?;
    Ok(Socket::new(server.into_inner().tcp, Mode::Server, Vec::new()))
}

/// Tells whoever is no node where it is.
async fn refuse(mut tcp: impl AsyncWrite + Unpin, status: &str) {
    let length = NO_UPGRADE.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{NO_UPGRADE}"
    );
    // It may be gone by now.
    let _ = tcp.write_all(answer.as_bytes()).await;
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
    /// What is to come first. Something else, such as TLS or SSH, may never come to the end that HTTP has.
    begins: &'static [u8],
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
        let (begins, rest) = self.begins.split_at(self.begins.len().min(count));
        if !bytes.starts_with(begins) {
            return Poll::Ready(Err(invalid("something else than an upgrade to WebSocket")));
        }
        self.begins = rest;
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
pub(super) struct Socket<S> {
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

impl<S> Socket<S> {
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

impl<S: AsyncWrite + Unpin> Socket<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// What comes from TCP, and in a handshake no more than [`HANDSHAKE_READS`].
    fn poll_tcp(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        // Most reads are of no handshake.
        let most = HANDSHAKE_READS.try_with(Cell::get).unwrap_or(usize::MAX).min(bytes.len());
        if most == 0 {
            return Poll::Ready(Err(invalid("more than a handshake takes")));
        }
        let count = ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut bytes[..most]))?;
        let _ = HANDSHAKE_READS.try_with(|left| left.set(left.get() - count));
        Poll::Ready(Ok(count))
    }

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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = &mut *self;
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
                let count = ready!(this.poll_tcp(cx, &mut bytes[..most]))?;
                this.passed(&mut bytes[..count]);
                return Poll::Ready(Ok(count));
            }
            let mut read = [0; AHEAD];
            let count = ready!(this.poll_tcp(cx, &mut read))?;
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
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
#[path = "websocket_tests.rs"]
mod tests;
