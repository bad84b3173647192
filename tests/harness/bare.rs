//! W: a bare WebSocket echo, as thin as a WebSocket program can be. No encryption, no signature, no multiplexing.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// A client connected to a server in this process.
#[derive(Debug, Clone)]
pub struct Bare {
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl Bare {
    /// One round trip.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn ask(&self) {
        let (reply, answer) = oneshot::channel();
        self.requests.send(reply).await.expect("the client runs");
        answer.await.expect("an answer comes");
    }
}

/// Starts a server that answers each request of its id with `answer`, and a client that sends `request`.
///
/// # Panics
/// When loopback cannot be used.
pub async fn pair(request: Vec<u8>, answer: Vec<u8>) -> Bare {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the client comes");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("an upgrade");
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(bytes) = message {
                let reply = [&bytes[..8], &answer].concat();
                socket.send(Message::Binary(Bytes::from(reply))).await.expect("the client reads");
            }
        }
    });
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let (socket, _) = tokio_tungstenite::client_async("ws://127.0.0.1/", stream).await.expect("an upgrade");
    let (mut sink, mut source) = socket.split();
    let (requests, mut asked) = mpsc::channel::<oneshot::Sender<()>>(256);
    let waiting = Arc::new(std::sync::Mutex::new(HashMap::<u64, oneshot::Sender<()>>::new()));
    let sent = Arc::clone(&waiting);
    tokio::spawn(async move {
        let mut id = 0_u64;
        while let Some(reply) = asked.recv().await {
            sent.lock().expect("no panic").insert(id, reply);
            let message = [&id.to_be_bytes()[..], &request].concat();
            sink.send(Message::Binary(Bytes::from(message))).await.expect("the server reads");
            id += 1;
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(Message::Binary(bytes))) = source.next().await {
            let id = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
            if let Some(reply) = waiting.lock().expect("no panic").remove(&id) {
                // The asker may be gone at the end of the run.
                let _ = reply.send(());
            }
        }
    });
    Bare { requests }
}
