//! Yamux (version 0 of its spec, by the crate `yamux`), with the limits that libp2p's own wrapper does not let one set.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use tokio::time::Sleep;
use yamux::{Connection, ConnectionError, DEFAULT_CREDIT, Mode, Stream};

/// Substreams of a connection to a registered peer, whoever opens them: a link, identify and ping each way, a pairing, which
/// are six. The rest is for libraries that open one for each ping; more is a flood, and ends the connection.
const OF_A_PEER: usize = 16;
/// Of one to a stranger, which is served pairing alone: that, and what libraries open by themselves to whomever they meet
/// (identify and its push, ping, Kademlia, AutoNAT, relays, pubsub), each until it is refused.
const OF_A_STRANGER: usize = 8;

/// Closing: a goodbye that nobody takes. What is under way has ended before.
const CLOSE: Duration = Duration::from_secs(2);

/// Makes a connection carry substreams, no more than so many.
#[derive(Debug, Clone)]
pub(super) struct Yamux(usize);

impl Yamux {
    pub(super) const OF_A_PEER: Self = Self(OF_A_PEER);
    pub(super) const OF_A_STRANGER: Self = Self(OF_A_STRANGER);

    fn config(&self) -> yamux::Config {
        let mut config = yamux::Config::default();
        // What a peer may send before we read it, over all substreams: for each what it has from its beginning, and no more.
        // Left to itself yamux lets a window grow as long as twice the round trip is longer than it takes to fill half of it,
        // up to 1 GiB. The round trip is what the peer makes of it. With this limit it does not measure it either: a ping
        // and its answer each way and each 10 s were a third of the frames of a rig that is asked each 3 s.
        let unread = self.0 * DEFAULT_CREDIT as usize;
        config.set_max_num_streams(self.0).set_max_connection_receive_window(Some(unread));
        config
    }

    fn connection<C: AsyncRead + AsyncWrite + Unpin>(&self, io: C, mode: Mode) -> Muxer<C> {
        Muxer {
            connection: Connection::new(io, self.config(), mode),
            arrived: VecDeque::new(),
            waits: None,
            until: None,
        }
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_inbound(self, io: C, _: &'static str) -> Self::Future {
        ready(Ok(self.connection(io, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_outbound(self, io: C, _: &'static str) -> Self::Future {
        ready(Ok(self.connection(io, Mode::Client)))
    }
}

/// A connection with its substreams. Its closing does not wait for a peer that reads nothing: it would keep its place for
/// as long as it likes.
pub(super) struct Muxer<C> {
    connection: Connection<C>,
    /// Opened by the peer, and not taken yet: they came while something else was waited for. No more than there are.
    arrived: VecDeque<Stream>,
    /// Who waits for one of those.
    waits: Option<Waker>,
    until: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_next_inbound(cx).map(|next| next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.waits = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        if let Poll::Ready(closed) = self.connection.poll_close(cx) {
            return Poll::Ready(closed);
        }
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE)));
        until.as_mut().poll(cx).map(Ok)
    }

    /// Reads and writes for all substreams.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = ready!(self.poll_next(cx))?;
        self.arrived.push_back(stream);
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
        // There may be more, and others have their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
    use tokio::io::DuplexStream;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    /// A round trip that a peer made long.
    const SLOW: Duration = Duration::from_millis(200);

    type Io = Compat<DuplexStream>;

    /// Reads and writes for as long as the connection lives.
    fn drive(mut muxer: Muxer<Io>) {
        tokio::spawn(async move {
            let _ = poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await;
        });
    }

    /// Both ends of a substream; it was opened by a peer without limits, whose first pong was late.
    async fn opened_by_a_slow_peer() -> (Stream, Stream) {
        let (here, there) = tokio::io::duplex(1 << 20);
        let mut ours = Yamux::OF_A_PEER.connection(here.compat(), Mode::Server);
        let mut theirs = Connection::new(there.compat(), yamux::Config::default(), Mode::Client);
        let mut sends = poll_fn(|cx| theirs.poll_new_outbound(cx)).await.unwrap();
        sends.write_all(b"begins").await.unwrap();
        assert!(poll_fn(|cx| Poll::Ready(theirs.poll_next_inbound(cx))).await.is_pending());
        let takes = poll_fn(|cx| Pin::new(&mut ours).poll_inbound(cx)).await.unwrap();
        drive(ours);
        // So late is the peer: were the round trip measured, our ping is out.
        tokio::time::sleep(SLOW).await;
        tokio::spawn(async move { while let Some(Ok(_)) = poll_fn(|cx| theirs.poll_next_inbound(cx)).await {} });
        (sends, takes)
    }

    /// Bytes that are taken off the hands of a sender whom nobody reads.
    async fn unread(sends: &mut Stream) -> usize {
        let part = [0; 16 * 1024];
        let mut sent = 0;
        // So much comes for sure: a reader that has taken half a window says so.
        while sent < DEFAULT_CREDIT as usize / 2 {
            sent += sends.write(&part).await.unwrap();
        }
        while let Ok(Ok(count)) = tokio::time::timeout(SLOW, sends.write(&part)).await {
            sent += count;
        }
        sent
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_peer_that_makes_the_round_trip_long_may_not_send_more_before_it_is_read() {
        let (mut sends, mut takes) = opened_by_a_slow_peer().await;
        // What would make its window grow: it is read as fast as it comes.
        let (mut left, mut bytes) = (8 << 20, vec![0; 64 * 1024]);
        let sender = tokio::spawn(async move {
            sends.write_all(&vec![0; 8 << 20]).await.unwrap();
            sends
        });
        takes.read_exact(&mut bytes[..6]).await.unwrap();
        while left > 0 {
            left -= takes.read(&mut bytes).await.unwrap();
        }
        let mut sends = sender.await.unwrap();
        assert!(unread(&mut sends).await <= DEFAULT_CREDIT as usize);
    }

    #[test]
    fn no_round_trip_is_measured_that_could_make_no_window_grow() {
        for (config, measures) in [(yamux::Config::default(), true), (Yamux::OF_A_PEER.config(), false)] {
            let (here, there) = tokio::io::duplex(1024);
            let mut ours = Connection::new(here.compat(), config, Mode::Server);
            assert!(poll_fn(|cx| ours.poll_next_inbound(cx)).now_or_never().is_none());
            let said = there.compat().read(&mut [0; 64]).now_or_never();
            assert_eq!(said.map(Result::unwrap), measures.then_some(12), "a ping has twelve bytes");
        }
    }

    /// Its windows count bytes, and a piece of memory for each frame would cost many times as much.
    #[tokio::test]
    async fn what_comes_in_frames_of_one_byte_is_kept_in_pieces_of_many() {
        const BYTES: usize = 50_000;
        // This task alone moves both ends: nobody wakes it when a turn of tokio's is used up.
        tokio::task::unconstrained(async {
            let (here, there) = tokio::io::duplex(1 << 20);
            let mut ours = Yamux::OF_A_PEER.connection(here.compat(), Mode::Server);
            let mut theirs = Connection::new(there.compat(), yamux::Config::default(), Mode::Client);
            let mut sends = poll_fn(|cx| theirs.poll_new_outbound(cx)).await.unwrap();
            for _ in 0..BYTES {
                sends.write_all(b"x").await.unwrap();
                assert!(poll_fn(|cx| theirs.poll_next_inbound(cx)).now_or_never().is_none());
            }
            // It is there, and nobody has read it.
            let mut takes = poll_fn(|cx| Pin::new(&mut ours).poll_inbound(cx)).await.unwrap();
            assert!(poll_fn(|cx| Pin::new(&mut ours).poll(cx)).now_or_never().is_none());
            let (mut bytes, mut pieces) = (0, 0);
            while bytes < BYTES {
                bytes += takes.next().await.unwrap().unwrap().as_ref().len();
                pieces += 1;
            }
            assert!(pieces <= 2 * BYTES.div_ceil(4096), "{pieces}");
        })
        .await;
    }

    /// Sends what it has and nothing more, and keeps how much room there was for what comes next.
    struct Announces {
        bytes: &'static [u8],
        room: Arc<AtomicUsize>,
    }

    impl AsyncRead for Announces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
            self.room.store(room.len(), Relaxed);
            let bytes = self.bytes;
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            if now.is_empty() {
                return Poll::Pending;
            }
            room[..now.len()].copy_from_slice(now);
            self.bytes = later;
            Poll::Ready(Ok(now.len()))
        }
    }

    impl AsyncWrite for Announces {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_a_frame_announces_takes_no_memory_before_it_comes() {
        let room = Arc::new(AtomicUsize::new(0));
        // Data of 1 MiB that opens a substream, of which one byte comes.
        let bytes = &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0x10, 0, 0, 7];
        let mut ours = Yamux::OF_A_PEER.connection(Announces { bytes, room: Arc::clone(&room) }, Mode::Server);
        assert!(poll_fn(|cx| Pin::new(&mut ours).poll(cx)).now_or_never().is_none());
        assert!((1..=16 * 1024).contains(&room.load(Relaxed)), "{room:?}");
    }

    #[tokio::test]
    async fn a_frame_as_long_as_a_window_comes_whole() {
        let (here, there) = tokio::io::duplex(1 << 20);
        let mut config = yamux::Config::default();
        config.set_split_send_size(DEFAULT_CREDIT as usize);
        let mut ours = Yamux::OF_A_PEER.connection(here.compat(), Mode::Server);
        let mut theirs = Connection::new(there.compat(), config, Mode::Client);
        let sent: Vec<u8> =
            (0..DEFAULT_CREDIT).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
        let mut sends = poll_fn(|cx| theirs.poll_new_outbound(cx)).await.unwrap();
        assert_eq!(sends.write(&sent).await.unwrap(), sent.len(), "one frame");
        tokio::spawn(async move { while let Some(Ok(_)) = poll_fn(|cx| theirs.poll_next_inbound(cx)).await {} });
        let mut takes = poll_fn(|cx| Pin::new(&mut ours).poll_inbound(cx)).await.unwrap();
        let mut bytes = vec![0; sent.len()];
        takes.read_exact(&mut bytes).await.unwrap();
        assert!(bytes == sent);
    }

    #[tokio::test]
    async fn more_substreams_than_there_may_be_end_the_connection() {
        for (yamux, most) in [(Yamux::OF_A_PEER, OF_A_PEER), (Yamux::OF_A_STRANGER, OF_A_STRANGER)] {
            too_many_end_it(&yamux, most).await;
        }
    }

    async fn too_many_end_it(yamux: &Yamux, most: usize) {
        let (here, there) = tokio::io::duplex(1 << 20);
        let mut ours = yamux.connection(here.compat(), Mode::Server);
        let mut theirs = Connection::new(there.compat(), yamux::Config::default(), Mode::Client);
        let mut open = Vec::new();
        for _ in 0..=most {
            let mut stream = poll_fn(|cx| theirs.poll_new_outbound(cx)).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            open.push(stream);
        }
        assert!(poll_fn(|cx| theirs.poll_next_inbound(cx)).now_or_never().is_none());
        let mut taken = Vec::new();
        while let Some(Ok(stream)) = poll_fn(|cx| Pin::new(&mut ours).poll_inbound(cx)).now_or_never() {
            taken.push(stream);
        }
        assert_eq!(taken.len(), most);
        assert!(poll_fn(|cx| theirs.poll_next_inbound(cx)).await.is_none_or(|end| end.is_err()));
    }

    #[tokio::test]
    async fn who_does_not_heed_that_there_are_too_many_substreams_loses_the_connection() {
        let (here, mut there) = tokio::io::duplex(1 << 20);
        let mut ours = Yamux::OF_A_PEER.connection(here.compat(), Mode::Server);
        for id in 0..=u32::try_from(OF_A_PEER).unwrap() {
            // A window update that opens a substream.
            let mut frame = vec![0, 1, 0, 1];
            frame.extend((2 * id + 1).to_be_bytes());
            frame.extend([0; 4]);
            tokio::io::AsyncWriteExt::write_all(&mut there, &frame).await.unwrap();
        }
        let mut open = Vec::new();
        let end = loop {
            match poll_fn(|cx| Pin::new(&mut ours).poll_inbound(cx)).await {
                Ok(stream) => open.push(stream),
                Err(end) => break end,
            }
        };
        assert!(matches!(end, ConnectionError::Closed), "{end}");
        assert_eq!(open.len(), OF_A_PEER);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_does_not_wait_for_a_peer_that_reads_nothing() {
        let begun = tokio::time::Instant::now();
        let (here, _there) = tokio::io::duplex(1);
        let mut ours = Yamux::OF_A_PEER.connection(here.compat(), Mode::Client);
        poll_fn(|cx| Pin::new(&mut ours).poll_close(cx)).await.unwrap();
        let took = begun.elapsed();
        assert!((CLOSE..2 * CLOSE).contains(&took), "{took:?}");
    }
}
