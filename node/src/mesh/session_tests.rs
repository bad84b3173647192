//! Links of two ends over wires that lose, crawl and cut.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use futures::future::join_all;
use miner_ctrl_protocol::Request;
use miner_ctrl_protocol::message::{LogLine, LogPage};
use miner_ctrl_protocol::smsg::NodeSecret;
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::DEFAULT_CREDIT;

use super::*;
use crate::mesh::link::{Link, LinkTask, REQUEST_RATE, greeting_of};

const RIGS: u8 = 20;
const LIMIT: Duration = Duration::from_secs(30);

/// Knows nothing, and says so at once.
struct Rig;

impl Answer for Rig {
    fn answer(&self, _: PeerKey, _: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        Box::pin(std::future::ready(Response::Refused(Refusal::Unsupported)))
    }
}

fn secret(seed: u8) -> Arc<NodeSecret> {
    Arc::new(NodeSecret::from_seed(&[seed; 32]).unwrap())
}

/// A wire that may lose all that is sent on it, without a word, and its end, too.
struct Wire {
    stream: ManuallyDrop<Compat<tokio::io::DuplexStream>>,
    hole: Arc<AtomicBool>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_read(cx, bytes)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hole.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_close(cx)
    }
}

/// Runs a link's end that answers so, and gives what asks over it, and why it ended.
async fn end<S>(
    answer: Arc<dyn Answer>,
    stream: S,
    peer: PeerKey,
    secret: Arc<NodeSecret>,
    signer: Signer,
    dialer: bool,
) -> (Link, tokio::task::JoinHandle<LinkEnd>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let hello = greeting_of(&secret.public());
    let greeting = Greeting { hello, secret, signer };
    let (up, is_up) = oneshot::channel();
    let allowance = Arc::new(Mutex::new(Allowance::new(REQUEST_RATE, Instant::now())));
    let task = LinkTask { peer, stream, dialer, greeting, answer, counts: Arc::default(), allowance };
    let ended = tokio::spawn(task.run(move |link| up.send(link).is_ok()));
    (is_up.await.unwrap(), ended)
}

/// Links of one node to its rigs, and theirs to it: a link that nobody holds ends.
async fn links(signer: &Signer) -> (Vec<Link>, Vec<Link>) {
    let pairs = join_all((1..=RIGS).map(|seed| async move {
        let (ours, theirs) = (secret(0), secret(seed));
        let (here, there) = tokio::io::duplex(64 * 1024);
        let rigs = Signer::new(Arc::clone(&theirs));
        let (our_key, their_key) = (ours.public(), theirs.public());
        let ((here, _), (there, _)) = tokio::join!(
            end(Arc::new(Rig), here.compat(), their_key, ours, signer.clone(), true),
            end(Arc::new(Rig), there.compat(), our_key, theirs, rigs, false),
        );
        (here, there)
    }));
    pairs.await.into_iter().unzip()
}

async fn ask(link: &Link) {
    let answer = link.ask(&Request::Stats, LIMIT).await;
    assert_eq!(answer, Ok(Response::Refused(Refusal::Unsupported)));
}

/// Answers a Ping as every node does.
struct Pongs;

impl Answer for Pongs {
    fn answer(&self, _: PeerKey, _: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        Box::pin(async { Response::Pong { sent_at: 0 } })
    }
}

/// Has a new reading some time after it was asked for it.
struct Reads;

impl Answer for Reads {
    fn answer(&self, _: PeerKey, _: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(2200)).await;
            Response::Refused(Refusal::Unsupported)
        })
    }
}

/// Seconds from a hole in one way of a link to its end at each side: the dialer's, the other's. The link is idle, or the
/// other side watches the dialer.
async fn ends_after(out_of_dialer: bool, up_for: Duration, watches: bool) -> [u64; 2] {
    let (ours, theirs) = (secret(0), secret(1));
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (our_key, their_key) = (ours.public(), theirs.public());
    let holes = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
    let wire = |stream: tokio::io::DuplexStream, hole: &Arc<AtomicBool>| Wire {
        stream: ManuallyDrop::new(stream.compat()),
        hole: Arc::clone(hole),
    };
    let (signer, rigs) = (Signer::new(Arc::clone(&ours)), Signer::new(Arc::clone(&theirs)));
    let answer: Arc<dyn Answer> = if watches { Arc::new(Reads) } else { Arc::new(Rig) };
    let ((_dialer, dialers_end), (other, others_end)) = tokio::join!(
        end(answer, wire(here, &holes[0]), their_key, ours, signer, true),
        end(Arc::new(Rig), wire(there, &holes[1]), our_key, theirs, rigs, false),
    );
    // The clock of this test jumps from one timer to the next.
    let up = tokio::time::sleep(up_for);
    if watches {
        let watcher = other.clone();
        tokio::spawn(async move {
            while watcher.ask(&Request::Stats, LIMIT).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(800)).await;
            }
        });
        up.await;
    } else {
        up.await;
        // The other side asks; its answer says nothing of the dialer's way out.
        ask(&other).await;
    }
    holes[usize::from(!out_of_dialer)].store(true, Ordering::Relaxed);
    let cut = Instant::now();
    let seconds = async |end: tokio::task::JoinHandle<LinkEnd>| {
        let end = end.await.unwrap();
        assert!(matches!(end, LinkEnd::Dead), "{end}");
        cut.elapsed().as_secs()
    };
    tokio::join!(seconds(dialers_end), seconds(others_end)).into()
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_lives_and_a_hole_in_either_way_ends_it_in_time() {
    for up_for in [1, 3, 20, 23, 26, 29] {
        for out_of_dialer in [true, false] {
            let ends = ends_after(out_of_dialer, Duration::from_secs(up_for), false).await;
            assert!(ends.iter().all(|seconds| (6..=13).contains(seconds)), "{out_of_dialer} {up_for}: {ends:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watched_rig_lives_without_beats_and_a_hole_in_either_way_ends_its_link_in_time() {
    // Wherever in its three seconds a reading is.
    for up_for in [0, 20, 303].into_iter().flat_map(|from| (0..12).map(move |step| from * 1000 + step * 250)) {
        for out_of_dialer in [true, false] {
            let ends = ends_after(out_of_dialer, Duration::from_millis(up_for), true).await;
            assert!(ends.iter().all(|seconds| (6..=13).contains(seconds)), "{out_of_dialer} {up_for}: {ends:?}");
        }
    }
}

/// Whether another program with the same key lives is asked of its link.
#[tokio::test(start_paused = true)]
async fn a_link_is_answered_while_somebody_reads_it() {
    for reads in [true, false] {
        let (ours, theirs) = (secret(0), secret(1));
        let (here, there) = tokio::io::duplex(64 * 1024);
        let hole = Arc::new(AtomicBool::new(false));
        let wire = Wire { stream: ManuallyDrop::new(there.compat()), hole: Arc::clone(&hole) };
        let (our_key, their_key) = (ours.public(), theirs.public());
        let (signer, rigs) = (Signer::new(Arc::clone(&ours)), Signer::new(Arc::clone(&theirs)));
        let ((link, _), (_other, _)) = tokio::join!(
            end(Arc::new(Rig), here.compat(), their_key, ours, signer, true),
            end(Arc::new(Pongs), wire, our_key, theirs, rigs, false),
        );
        hole.store(!reads, Ordering::Relaxed);
        let asked = Instant::now();
        assert_eq!(link.is_answered().await, reads);
        assert!(asked.elapsed() < DEAD, "{:?}", asked.elapsed());
    }
}

/// Answers with a long page of a console.
struct Talkative;

impl Answer for Talkative {
    fn answer(&self, _: PeerKey, _: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let lines = (0..1000).map(|number| LogLine { number, text: "x".repeat(200) }).collect();
        let page = LogPage { miner: "xmrig".parse().unwrap(), lines, newest: 999, lost: 0 };
        Box::pin(async move {
            tokio::task::yield_now().await;
            Response::Logs(page)
        })
    }
}

/// Carries so many bytes a second to the other end.
async fn narrow(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, rate: u32) {
    let mut part = vec![0; 4096];
    while let Ok(count @ 1..) = futures::AsyncReadExt::read(&mut from, &mut part).await {
        tokio::time::sleep(Duration::from_secs(1) * u32::try_from(count).unwrap() / rate).await;
        if futures::AsyncWriteExt::write_all(&mut to, &part[..count]).await.is_err() {
            break;
        }
    }
}

/// Twelve pages at once need 80 s at 256 kbit/s: no Beat comes through in time, and both ends live.
#[tokio::test(start_paused = true)]
async fn a_narrow_wire_that_carries_much_is_no_dead_one() {
    for rig_dials in [true, false] {
        let (ours, theirs) = (secret(0), secret(1));
        let (here, near) = tokio::io::duplex(16 * 1024);
        // What Yamux takes before the peer has read any.
        let (far, there) = tokio::io::duplex(DEFAULT_CREDIT as usize);
        let (near_read, near_write) = futures::AsyncReadExt::split(near.compat());
        let (far_read, far_write) = futures::AsyncReadExt::split(far.compat());
        tokio::spawn(narrow(near_read, far_write, 32_000));
        tokio::spawn(narrow(far_read, near_write, 32_000));
        let (our_key, their_key) = (ours.public(), theirs.public());
        let (signer, rigs) = (Signer::new(Arc::clone(&ours)), Signer::new(Arc::clone(&theirs)));
        let ((here, our_end), (_there, their_end)) = tokio::join!(
            end(Arc::new(Rig), here.compat(), their_key, ours, signer, !rig_dials),
            end(Arc::new(Talkative), there.compat(), our_key, theirs, rigs, rig_dials),
        );
        let asked = Instant::now();
        let answers = join_all((0..12).map(|_| here.ask(&Request::Stats, 4 * LIMIT))).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Response::Logs(_)))), "{answers:?}");
        assert!(asked.elapsed() > DEAD, "{:?}", asked.elapsed());
        assert!(!our_end.is_finished() && !their_end.is_finished());
    }
}

/// Neither waits with reading for the other to read.
#[tokio::test(start_paused = true)]
async fn two_that_ask_each_other_for_much_at_once_both_have_it() {
    let (ours, theirs) = (secret(0), secret(1));
    let (here, there) = tokio::io::duplex(DEFAULT_CREDIT as usize);
    let (our_key, their_key) = (ours.public(), theirs.public());
    let (signer, rigs) = (Signer::new(Arc::clone(&ours)), Signer::new(Arc::clone(&theirs)));
    let ((here, our_end), (there, their_end)) = tokio::join!(
        end(Arc::new(Talkative), here.compat(), their_key, ours, signer, true),
        end(Arc::new(Talkative), there.compat(), our_key, theirs, rigs, false),
    );
    let asked = Instant::now();
    // More than may be open at once, but not more than wait for their turn.
    let asks = (0..MAX_OPEN + 20).flat_map(|_| [&here, &there]).map(|link| link.ask(&Request::Stats, LIMIT));
    let answers = join_all(asks).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Response::Logs(_)))), "{answers:?}");
    assert!(asked.elapsed() < DEAD, "{:?}", asked.elapsed());
    assert!(!our_end.is_finished() && !their_end.is_finished());
}

/// Who sent it may not have known of the other link.
#[tokio::test(start_paused = true)]
async fn a_link_that_lost_takes_nothing_new_of_ours_and_answers_what_the_peer_sends() {
    let (ours, theirs) = (secret(0), secret(1));
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (our_key, their_key) = (ours.public(), theirs.public());
    let (signer, rigs) = (Signer::new(Arc::clone(&ours)), Signer::new(Arc::clone(&theirs)));
    let ((here, our_end), (there, _their_end)) = tokio::join!(
        end(Arc::new(Rig), here.compat(), their_key, ours, signer, true),
        end(Arc::new(Reads), there.compat(), our_key, theirs, rigs, false),
    );
    let refused = Ok(Response::Refused(Refusal::Unsupported));
    let retires = async {
        // As long as ours is open.
        assert_eq!(there.ask(&Request::Stats, LIMIT).await, refused);
        here.retire();
        let mut turns = 0;
        while here.ask(&Request::Stats, Duration::ZERO).await != Err(AskError::Unreachable) {
            tokio::task::yield_now().await;
            turns += 1;
            assert!(turns < 1000, "it takes what is new");
        }
        assert_eq!(there.ask(&Request::Stats, LIMIT).await, refused);
        assert!(!our_end.is_finished());
    };
    let (answer, ()) = tokio::join!(here.ask(&Request::Stats, LIMIT), retires);
    assert_eq!(answer, refused);
    assert!(matches!(our_end.await, Ok(LinkEnd::Retired)));
}

/// It has a frame of its own for each that a hostile peer sends, and none of them leaves.
#[tokio::test(start_paused = true)]
async fn of_a_peer_that_floods_and_reads_nothing_no_more_is_kept_than_of_another() {
    for kind in [Kind::Beat, Kind::Request] {
        let (ours, theirs) = (secret(0), secret(1));
        let (here, there) = tokio::io::duplex(DEFAULT_CREDIT as usize);
        let signer = Signer::new(Arc::clone(&theirs));
        let greeted = tokio::spawn(end(Arc::new(Rig), there.compat(), ours.public(), theirs, signer, false));
        let (_read, mut write) = tokio::io::split(here);
        let hello = greeting_of(&ours.public());
        let mut bytes = BytesMut::new();
        Frames.encode((Kind::Hello, 0, &codec::encode(&hello, MAX_BODY).unwrap()), &mut bytes).unwrap();
        for id in 0..1000 {
            Frames.encode((kind, id % 2, &[]), &mut bytes).unwrap();
        }
        let (flood, mut taken) = (bytes.split_off(bytes.len() - 13_000), 0);
        write.write_all(&bytes).await.unwrap();
        let (_link, mut ended) = greeted.await.unwrap();
        // Until its link takes no more, or is given up.
        let pushes = async {
            while taken < 2 * HIGH_WATER && write.write_all(&flood).await.is_ok() {
                taken += flood.len();
            }
        };
        tokio::select! {
            () = pushes => {}
            end = &mut ended => assert!(matches!(end.unwrap(), LinkEnd::Dead | LinkEnd::Unreadable)),
        }
        assert!(taken < 2 * HIGH_WATER, "{kind:?}: {taken} bytes were taken");
    }
}

/// Each byte on its own way: what waits is whole, a Beat is first among it, and the next at once is not.
#[tokio::test(start_paused = true)]
async fn a_beat_goes_before_all_that_waits_and_no_frame_is_torn() {
    let (here, there) = tokio::io::duplex(7);
    let (_, write) = tokio::io::split(FuturesAsyncReadCompatExt::compat(here.compat()));
    let (read, _keep) = tokio::io::split(FuturesAsyncReadCompatExt::compat(there.compat()));
    let mut out = Out::new(write);
    for id in 0..3 {
        out.push(Kind::Request, id, &[0xaa; 20]);
    }
    let mut frames = FramedRead::new(read, Frames);
    // A part of the first has left.
    out.drain().await.unwrap();
    out.push_beat(heartbeat::ANSWERS);
    out.push(Kind::Request, 3, &[]);
    let (seen, ()) = tokio::join!(
        async {
            let mut seen = Vec::new();
            while seen.len() < 7 {
                let frame = frames.next().await.unwrap().unwrap();
                seen.push((frame.kind, frame.id, frame.payload.len()));
            }
            seen
        },
        async {
            let mut came = false;
            while out.waits() {
                out.drain().await.unwrap();
                // In the middle of another.
                if !came && out.bytes.len() < 40 {
                    came = true;
                    out.push_beat(heartbeat::ANSWERS);
                    out.push_beat(heartbeat::CAME);
                }
            }
        }
    );
    let requests: Vec<_> = seen.iter().filter(|(kind, ..)| *kind == Kind::Request).collect();
    assert_eq!(requests.iter().map(|(_, id, _)| *id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let place = |beat: (Kind, u64, usize)| seen.iter().position(|frame| *frame == beat).unwrap();
    assert_eq!(seen[1], (Kind::Beat, heartbeat::ANSWERS, 0), "right behind the one that had begun: {seen:?}");
    assert_eq!(seen[6], (Kind::Beat, heartbeat::ANSWERS, 0), "an answer at once behind another, behind all: {seen:?}");
    assert!(
        place((Kind::Beat, heartbeat::CAME, 0)) < place((Kind::Request, 3, 0)),
        "what we say of ourselves: {seen:?}"
    );
}

/// On one thread, so that the order of turns is the same each time.
#[tokio::test]
async fn what_is_said_to_many_at_once_has_one_signature_and_each_verifies_it() {
    let signer = Signer::new(secret(0));
    let (links, _rigs) = links(&signer).await;
    // The first Beats are over.
    for link in &links {
        ask(link).await;
    }
    let before = signer.signatures();
    join_all(links.iter().map(ask)).await;
    assert_eq!(signer.signatures(), before + 1);
    // Many to each of them.
    let each = links.iter().flat_map(|link| (0..8).map(move |_| ask(link)));
    join_all(each).await;
    assert_eq!(signer.signatures(), before + 2);
    for link in &links {
        ask(link).await;
    }
    assert_eq!(signer.signatures(), before + 2 + links.len(), "each alone is signed at once");
}
