//! Frames as the RFC has them, as another library has them, and as hostile peers send them.

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

fn heard(bytes: Vec<u8>, part: usize, mode: Mode) -> Socket<Below> {
    Socket::new(Below::new(bytes, part), mode, Vec::new())
}

/// Everything, in reads of these lengths in turn.
fn read_all(stream: &mut Socket<Below>, asked: &[usize]) -> io::Result<Vec<u8>> {
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
    for (theirs, ours) in [(1000, 1000), (4999, 4999), (999, 1002), (1005, 1002), (1006, 1002), (5000, 1002), (0, 1002)]
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

async fn with_tungstenite(mode: Mode) -> (Socket<Compat<DuplexStream>>, Theirs) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let role = if mode.is_client() { Role::Server } else { Role::Client };
    (Socket::new(ours.compat(), mode, Vec::new()), WebSocketStream::from_raw_socket(theirs, role, None).await)
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
    let (ours, theirs) = tokio::join!(upgrade(ours.compat()), tokio_tungstenite::client_async("ws://rig/any", theirs));
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
async fn who_asks_for_no_upgrade_is_told_where_the_dashboard_is_and_what_is_no_http_is_not_waited_for() {
    for asks in [
        "GET / HTTP/1.1\r\nHost: rig:9091\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: rig:9091\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut theirs = theirs.compat();
        theirs.write_all(asks.as_bytes()).await.unwrap();
        let error = upgrade(ours.compat()).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with(NO_UPGRADE), "{asks}: {answer}");
    }
}

#[tokio::test]
async fn a_page_in_a_browser_gets_no_connection() {
    let asks = |more: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:9091\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
    };
    for (origin, taken) in [("Origin: https://a.example\r\n", false), ("origin: null\r\n", false), ("", true)] {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut theirs = theirs.compat();
        theirs.write_all(asks(origin).as_bytes()).await.unwrap();
        let upgraded = upgrade(ours.compat()).await;
        assert_eq!(upgraded.is_ok(), taken, "{origin}");
        drop(upgraded);
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(if taken { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " }), "{origin}: {answer}");
    }
}

#[tokio::test]
async fn a_web_server_is_told_from_a_node() {
    for (answer, why) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "it answers with HTTP 404: is that the port of the mesh?",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", "it answers with HTTP 302: is that the port of the mesh?"),
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
