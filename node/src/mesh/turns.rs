//! A connection and its link take turns in one task.
//!
//! Each message passes both. In tasks of their own each message would schedule the one and then the other, and after three
//! hops of this kind the runtime wakes a thread to help, which costs more than all of ours. Here a link runs as soon as its
//! connection has read something for it, and what it writes is sent at once. Each has a waker of its own: neither is polled
//! for the other's news.

use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use libp2p::swarm::Executor;
use tokio::task::unconstrained;

/// A connection or a link: it tells by itself how it ended.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// In one go: read, think, write, and see that nothing is left. Then other tasks have their turn.
const ROUNDS: usize = 4;

const CONNECTION: u8 = 1;
const LINK: u8 = 2;
/// Somebody polls them, and looks at who is ready before it goes.
const RUNNING: u8 = 4;

tokio::task_local! {
    static SEAT: Seat;
}

/// Runs connections, each with a seat for its link.
#[derive(Debug)]
pub(crate) struct Tasks;

impl Executor for Tasks {
    fn exec(&self, connection: Work) {
        tokio::spawn(Turns::new(connection));
    }
}

/// The place beside a connection.
#[derive(Clone)]
pub(crate) struct Seat(Arc<Shared>);

struct Shared {
    /// Who is ready, and [`RUNNING`].
    state: AtomicU8,
    task: AtomicWaker,
    arriving: Mutex<Arriving>,
}

enum Arriving {
    Nobody,
    Link(Work),
    /// The connection is over.
    TooLate,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

impl Seat {
    /// Beside the connection that is being polled; none outside of one.
    pub(crate) fn here() -> Option<Self> {
        SEAT.try_with(Clone::clone).ok()
    }

    /// Runs a link from now on. It is dropped when its connection is over already.
    pub(crate) fn take(&self, link: Work) {
        let mut arriving = self.0.arriving();
        if !matches!(*arriving, Arriving::TooLate) {
            *arriving = Arriving::Link(link);
            drop(arriving);
            self.0.ready(LINK);
        }
    }
}

impl Shared {
    fn arriving(&self) -> std::sync::MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self, who: u8) {
        // With others ready the task is woken already, and who runs looks again.
        if self.state.fetch_or(who, Ordering::AcqRel) == 0 {
            self.task.wake();
        }
    }
}

struct Caller {
    shared: Arc<Shared>,
    who: u8,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.shared.ready(self.who);
    }
}

struct Turns {
    shared: Arc<Shared>,
    connection: Option<Work>,
    wakes_connection: Waker,
    link: Option<Work>,
    wakes_link: Waker,
}

impl Turns {
    fn new(connection: Work) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(CONNECTION),
            task: AtomicWaker::new(),
            arriving: Mutex::new(Arriving::Nobody),
        });
        let waker = |who| Waker::from(Arc::new(Caller { shared: Arc::clone(&shared), who }));
        let (wakes_connection, wakes_link) = (waker(CONNECTION), waker(LINK));
        Self { shared, connection: Some(connection), wakes_connection, link: None, wakes_link }
    }

    fn poll_connection(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let mut cx = Context::from_waker(&self.wakes_connection);
        let seat = Seat(Arc::clone(&self.shared));
        let turn = AssertUnwindSafe(|| SEAT.sync_scope(seat, || connection.as_mut().poll(&mut cx)));
        match catch_unwind(turn) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(())) => {}
            // The link meets its substream's end and says so, and the peer is dialled again.
            Err(_) => tracing::error!("a connection broke off"),
        }
        self.connection = None;
        let late = mem::replace(&mut *self.shared.arriving(), Arriving::TooLate);
        drop(late);
    }

    fn poll_link(&mut self) {
        if self.link.is_none()
            && let arriving @ Arriving::Link(_) = &mut *self.shared.arriving()
            && let Arriving::Link(link) = mem::replace(arriving, Arriving::Nobody)
        {
            self.link = Some(link);
        }
        let Some(link) = &mut self.link else { return };
        let mut cx = Context::from_waker(&self.wakes_link);
        // A connection that is flooded uses up what the runtime gives a task in one go, before its link has its turn. It finds
        // no more to do at once than what its connection has read for it, a window of Yamux, and its open requests.
        let mut link_without_limit = unconstrained(link.as_mut());
        // As in a task of its own: the connection outlives it, and is told by its substream's end.
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut link_without_limit).poll(&mut cx))) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => self.link = None,
            Err(_) => {
                tracing::error!("a link broke off");
                self.link = None;
            }
        }
    }
}

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.task.register(cx.waker());
        for _ in 0..ROUNDS {
            let ready = self.shared.state.swap(RUNNING, Ordering::AcqRel);
            if ready & CONNECTION != 0 {
                self.poll_connection();
            }
            if ready & LINK != 0 {
                self.poll_link();
            }
            if self.connection.is_none() && self.link.is_none() {
                return Poll::Ready(());
            }
            if self.shared.state.compare_exchange(RUNNING, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        // Some are ready, and nobody else will say so.
        self.shared.state.fetch_and(!RUNNING, Ordering::AcqRel);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::oneshot::error::TryRecvError;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    /// Counts how often the task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Counts its turns, and does `each` at every one.
    fn turns(count: &Arc<AtomicUsize>, mut each: impl FnMut(&mut Context<'_>) -> Poll<()> + Send + 'static) -> Work {
        let count = Arc::clone(count);
        Box::pin(poll_fn(move |cx| {
            count.fetch_add(1, Ordering::SeqCst);
            each(cx)
        }))
    }

    /// Hands the seat out, then waits.
    fn connection(seat: &Arc<Mutex<Option<Seat>>>, count: &Arc<AtomicUsize>) -> Work {
        let seat = Arc::clone(seat);
        turns(count, move |_| {
            *seat.lock().unwrap() = Seat::here();
            Poll::Pending
        })
    }

    fn poll(task: &mut Turns, woken: &Arc<Woken>) -> Poll<()> {
        Pin::new(task).poll(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
    }

    #[test]
    fn each_is_polled_for_its_own_news_and_what_one_has_for_the_other_is_heard_at_once() {
        let (seat, woken) = (Arc::default(), Arc::new(Woken::default()));
        let (read, thought) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut task = Turns::new(connection(&seat, &read));
        assert!(poll(&mut task, &woken).is_pending());
        let seat = seat.lock().unwrap().take().unwrap();
        let for_connection = task.wakes_connection.clone();
        seat.take(turns(&thought, move |_| {
            for_connection.wake_by_ref();
            Poll::Pending
        }));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "it is told that a link has come");
        assert!(poll(&mut task, &woken).is_pending());
        let counts = || (read.load(Ordering::SeqCst), thought.load(Ordering::SeqCst), woken.0.load(Ordering::SeqCst));
        assert_eq!(counts(), (2, 1, 1), "the connection had its turn without another wake of the task");
        task.wakes_connection.wake_by_ref();
        task.wakes_connection.wake_by_ref();
        assert!(poll(&mut task, &woken).is_pending());
        assert_eq!(counts(), (3, 1, 2), "the link was not polled, and the task woken once");
        assert!(poll(&mut task, &woken).is_pending());
        assert_eq!(counts(), (3, 1, 2), "nobody had news");
    }

    #[test]
    fn who_always_has_news_lets_others_run() {
        let (count, woken) = (Arc::default(), Arc::new(Woken::default()));
        let mut task = Turns::new(turns(&count, |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        for round in 1..4 {
            assert!(poll(&mut task, &woken).is_pending());
            assert_eq!((count.load(Ordering::SeqCst), woken.0.load(Ordering::SeqCst)), (round * ROUNDS, round));
        }
    }

    #[test]
    fn a_link_that_breaks_off_costs_its_connection_nothing() {
        let (seat, woken) = (Arc::default(), Arc::new(Woken::default()));
        let read = Arc::default();
        let mut task = Turns::new(connection(&seat, &read));
        assert!(poll(&mut task, &woken).is_pending());
        let (held, mut is_held) = oneshot::channel::<()>();
        seat.lock().unwrap().as_ref().unwrap().take(Box::pin(async move {
            let _held = held;
            panic!("as a fault of ours would");
        }));
        assert!(poll(&mut task, &woken).is_pending());
        assert_eq!(is_held.try_recv(), Err(TryRecvError::Closed), "what it held is let go");
        task.wakes_connection.wake_by_ref();
        assert!(poll(&mut task, &woken).is_pending());
        assert_eq!(read.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_connection_that_breaks_off_is_over_and_its_link_meets_that() {
        let (seat, woken) = (Arc::new(Mutex::new(None)), Arc::new(Woken::default()));
        let (substream, ends) = oneshot::channel::<()>();
        let (go, goes) = oneshot::channel::<()>();
        let mut task = Turns::new({
            let seat = Arc::clone(&seat);
            Box::pin(async move {
                let _substream = substream;
                *seat.lock().unwrap() = Seat::here();
                let _ = goes.await;
                panic!("as a fault of the library would");
            })
        });
        assert!(poll(&mut task, &woken).is_pending());
        seat.lock().unwrap().as_ref().unwrap().take(Box::pin(async move {
            assert!(ends.await.is_err());
        }));
        assert!(poll(&mut task, &woken).is_pending());
        go.send(()).unwrap();
        assert!(poll(&mut task, &woken).is_ready());
    }

    #[test]
    fn a_link_goes_on_after_its_connection_and_none_comes_then() {
        let (seat, woken) = (Arc::new(Mutex::new(None)), Arc::new(Woken::default()));
        let (over, is_over) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        let mut task = Turns::new({
            let seat = Arc::clone(&seat);
            Box::pin(async move {
                *seat.lock().unwrap() = Seat::here();
                let _ = is_over.await;
            })
        });
        assert!(poll(&mut task, &woken).is_pending());
        let seat = seat.lock().unwrap().take().unwrap();
        seat.take(Box::pin(async move {
            let _ = ended.await;
        }));
        assert!(poll(&mut task, &woken).is_pending());
        over.send(()).unwrap();
        assert!(poll(&mut task, &woken).is_pending(), "the link still has something to do");
        let (held, mut is_held) = oneshot::channel::<()>();
        seat.take(Box::pin(async move {
            let _held = held;
        }));
        assert_eq!(is_held.try_recv(), Err(TryRecvError::Closed), "it is dropped");
        end.send(()).unwrap();
        assert!(poll(&mut task, &woken).is_ready());
        assert!(Seat::here().is_none());
    }

    #[tokio::test]
    async fn a_connection_that_is_never_done_leaves_its_link_all_it_needs() {
        let (seat, is_seat) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        Tasks.exec(Box::pin(async move {
            seat.send(Seat::here().unwrap()).ok().unwrap();
            loop {
                tokio::task::consume_budget().await;
            }
        }));
        is_seat.await.unwrap().take(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            done.send(()).unwrap();
        }));
        tokio::time::timeout(Duration::from_secs(10), is_done).await.expect("the link has its turn").unwrap();
    }

    /// From threads of their own, while the task runs: no wake is lost, or this would not end.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whatever_is_sent_to_either_arrives() {
        const MESSAGES: usize = 20_000;
        let (to_connection, mut at_connection) = mpsc::channel(4);
        let (to_link, mut at_link) = mpsc::channel(4);
        let (seat, is_seat) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        Tasks.exec(Box::pin(async move {
            seat.send(Seat::here().unwrap()).ok().unwrap();
            for _ in 0..MESSAGES {
                at_connection.recv().await.unwrap();
            }
        }));
        is_seat.await.unwrap().take(Box::pin(async move {
            for _ in 0..MESSAGES {
                at_link.recv().await.unwrap();
            }
            done.send(()).unwrap();
        }));
        let senders = [to_connection, to_link].map(|to| {
            std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    to.blocking_send(number).unwrap();
                }
            })
        });
        is_done.await.unwrap();
        for sender in senders {
            sender.join().unwrap();
        }
    }
}
