//! One reader: from the beginning, frame by frame, until it goes, the node stops, or its session ends.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::hub::{Frame, Live, Topic, Topics};
use super::places::Place;
use crate::access::{Access, Caller};
use crate::error::ApiError;
use crate::gzip::Pieces;
use crate::node::Node;

struct Reader<N> {
    live: Live<N>,
    access: Access,
    caller: Caller,
    topics: Topics,
    later: broadcast::Receiver<Frame>,
    /// Changes of who may come in.
    changes: watch::Receiver<u64>,
    ready: VecDeque<Frame>,
    /// What was sent compressed, when it is.
    gzip: Option<Pieces>,
    ended: bool,
    _place: Place,
}

impl<N: Node> Live<N> {
    /// The body of an answer that goes on.
    pub(crate) async fn open(
        &self,
        access: &Access,
        caller: Caller,
        topics: Topics,
        gzip: bool,
    ) -> Result<Body, ApiError> {
        let place = self.shared().places.take(&caller)?;
        let beginning = self.listen().await;
        let mut reader = Reader {
            live: self.clone(),
            access: access.clone(),
            caller,
            topics,
            later: beginning.later,
            changes: access.changes(),
            ready: VecDeque::new(),
            gzip: gzip.then(Pieces::default),
            ended: false,
            _place: place,
        };
        reader.take(beginning.frames);
        Ok(Body::from_stream(reader.into_stream()))
    }
}

impl<N: Node> Reader<N> {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        let head = self.gzip.is_some().then_some(Ok(Pieces::HEAD));
        let rest = futures::stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match (reader.next().await, &mut reader.gzip) {
                (Some(frame), Some(gzip)) => Some((Ok(gzip.next(frame.gzip())), Some(reader))),
                (Some(frame), None) => Some((Ok(frame.plain().clone()), Some(reader))),
                (None, Some(gzip)) => Some((Ok(gzip.end()), None)),
                (None, None) => None,
            }
        });
        futures::stream::iter(head).chain(rest)
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            // Also before what is ready is sent: a session that ended sees nothing more.
            if !self.ended && !self.access.is_valid(&self.caller) {
                return Some(self.end("signed-out"));
            }
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                () = self.live.shared().stop.cancelled() => return Some(self.end("shutdown")),
                // Looked at above.
                Ok(()) = self.changes.changed() => {}
                heard = self.later.recv() => match heard {
                    Ok(frame) => self.take(vec![frame]),
                    Err(RecvError::Lagged(_)) => {
                        // What it missed need not stand in what follows: it begins anew.
                        let beginning = self.live.listen_again();
                        self.later = beginning.later;
                        self.take(beginning.frames);
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    fn take(&mut self, frames: Vec<Frame>) {
        let Topics { activity, fleet, jobs, pairing } = self.topics;
        let wanted = |frame: &Frame| match frame.topic {
            Topic::Activity => activity,
            Topic::All => true,
            Topic::Fleet => fleet,
            Topic::Jobs => jobs,
            Topic::Pairing => pairing,
        };
        self.ready.extend(frames.into_iter().filter(wanted));
    }

    fn end(&mut self, why: &str) -> Frame {
        self.ended = true;
        self.ready.clear();
        self.live.shared().bye(why)
    }
}
