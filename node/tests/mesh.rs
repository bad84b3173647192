//! Two meshes over real sockets, with a household of a few lines around each.

#![expect(clippy::unwrap_used, reason = "helpers of tests say by panicking what they expected")]

use std::collections::HashMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use miner_ctrl::mesh::{
    Answer, AskError, Event, Household, Knocked, Later, MeshConfig, MeshHandle, PairBy, PairError, Paired,
    REQUEST_RATE, Rate, Stranger, dial_address, listen_addresses, start,
};
use miner_ctrl_protocol::pair::PairRefusal;
use miner_ctrl_protocol::smsg::{NodeSecret, PairingCode};
use miner_ctrl_protocol::{PeerKey, Refusal, Request, Response, Role};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);
const CODE: &str = "7KQ2-M9XD";

/// Admits whoever knows the code, answers pings, remembers what it saw.
struct House {
    code: Mutex<Option<PairingCode>>,
    wrong: AtomicU32,
    mesh: OnceLock<MeshHandle>,
    seen: watch::Sender<HashMap<PeerKey, Vec<Event>>>,
}

impl Answer for House {
    fn answer(&self, _: PeerKey, request: Request) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        Box::pin(async move {
            match request {
                Request::Ping { sent_at } => Response::Pong { sent_at },
                Request::Stats => panic!("a fault of the worker's"),
                Request::Watch { .. } => std::future::pending().await,
                _ => Response::Refused(Refusal::Unsupported),
            }
        })
    }
}

impl Household for House {
    fn pairing_possible(&self) -> bool {
        self.code.lock().unwrap().is_some()
    }
    fn code_for_try(&self, _: PeerKey) -> Later<Result<(u64, PairingCode), PairRefusal>> {
        let code = self.code.lock().unwrap().clone();
        Box::pin(async move { code.map(|code| (1, code)).ok_or(PairRefusal::NoCode) })
    }
    fn wrong_code(&self, _: PeerKey, _: u64) -> Later<()> {
        self.wrong.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {})
    }
    fn admit(&self, stranger: Stranger, _: u64) -> Later<Result<(), PairRefusal>> {
        let mesh = self.mesh.get().cloned().unwrap();
        Box::pin(async move {
            mesh.register(stranger.key, vec![]).await;
            Ok(())
        })
    }
    fn knock(&self, _: Stranger) -> Later<Knocked> {
        Box::pin(async { Knocked::Pending })
    }
    fn observe(&self, key: PeerKey, event: Event) {
        self.seen.send_modify(|seen| seen.entry(key).or_default().push(event));
    }
}

struct Node {
    key: PeerKey,
    house: Arc<House>,
    mesh: MeshHandle,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Node {
    async fn start(name: &str, code: Option<&str>) -> Self {
        let secret = Arc::new(NodeSecret::generate(&mut rand::rng()));
        Self::with_secret(name, code, secret, "127.0.0.1:0").await
    }

    async fn with_secret(name: &str, code: Option<&str>, secret: Arc<NodeSecret>, listen: &str) -> Self {
        Self::with_rate(name, code, secret, listen, REQUEST_RATE).await
    }

    async fn with_rate(name: &str, code: Option<&str>, secret: Arc<NodeSecret>, listen: &str, rate: Rate) -> Self {
        let house = Arc::new(House {
            code: Mutex::new(code.map(|code| code.parse().unwrap())),
            wrong: AtomicU32::new(0),
            mesh: OnceLock::new(),
            seen: watch::Sender::default(),
        });
        let stop = CancellationToken::new();
        let config = MeshConfig {
            secret: Arc::clone(&secret),
            name: name.parse().unwrap(),
            role: Role::Dual,
            listen: listen_addresses(listen).unwrap(),
            peers: vec![],
            last_ips: vec![],
            rate,
        };
        let (mesh, task) = start(config, Arc::clone(&house) as Arc<dyn Household>, stop.clone()).await.unwrap();
        house.mesh.set(mesh.clone()).unwrap();
        Self { key: secret.public(), house, mesh, stop, task }
    }

    /// Its port is free when this returns.
    async fn end(mut self) {
        self.stop.cancel();
        timeout(DEADLINE, &mut self.task).await.expect("it ends").unwrap();
    }

    fn address(&self) -> String {
        self.mesh.listening()[0].to_string()
    }

    async fn pair(&self, other: &Self, code: &str) -> Result<Paired, PairError> {
        let (address, expected) = dial_address(&other.address()).unwrap();
        let code = PairBy::Code(code.parse().unwrap());
        let paired = self.mesh.pair(address.clone(), expected, code, DEADLINE).await?;
        if let Paired::Done { key, .. } = &paired {
            self.mesh.register(*key, vec![address]).await;
        }
        Ok(paired)
    }

    async fn saw(&self, key: PeerKey, what: impl Fn(&Event) -> bool) {
        let mut seen = self.house.seen.subscribe();
        timeout(DEADLINE, seen.wait_for(|seen| seen.get(&key).is_some_and(|events| events.iter().any(&what))))
            .await
            .expect("the event comes")
            .unwrap();
    }
}

async fn paired() -> (Node, Node) {
    let (controller, rig) = (Node::start("control", None).await, Node::start("rig", Some(CODE)).await);
    let paired = controller.pair(&rig, CODE).await.unwrap();
    assert!(matches!(paired, Paired::Done { key, .. } if key == rig.key));
    (controller, rig)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_makes_two_strangers_peers_that_ask_each_other_both_ways() {
    let (controller, rig) = paired().await;
    for (asker, asked) in [(&controller, &rig), (&rig, &controller)] {
        let answer = asker.mesh.ask(&asked.key, &Request::Ping { sent_at: 7 }, DEADLINE).await;
        assert_eq!(answer, Ok(Response::Pong { sent_at: 7 }));
    }
    // Round trips are measured from 10 s on, both ways, and told of a link that is up.
    for (node, other) in [(&controller, &rig), (&rig, &controller)] {
        node.saw(other.key, |event| matches!(event, Event::Pinged(_))).await;
        let seen = node.house.seen.borrow();
        let first = |what: fn(&Event) -> bool| seen[&other.key].iter().position(what);
        assert!(first(|event| matches!(event, Event::Up { .. })) < first(|event| matches!(event, Event::Pinged(_))));
    }
    controller
        .saw(rig.key, |event| matches!(event, Event::Identified { agent } if agent.starts_with("miner-ctrl/")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_is_refused_and_counted() {
    let (controller, rig) = (Node::start("control", None).await, Node::start("rig", Some(CODE)).await);
    let refused = controller.pair(&rig, "7KQ2-M9XE").await;
    assert_eq!(refused, Err(PairError::Refused(PairRefusal::WrongCode)));
    assert_eq!(rig.house.wrong.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_pairing_off_the_door_stays_closed() {
    let (controller, rig) = (Node::start("control", None).await, Node::start("rig", None).await);
    let refused = controller.pair(&rig, CODE).await;
    assert_eq!(refused, Err(PairError::NotPairing));
    assert_eq!(rig.mesh.counts().turned_away.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_come_and_say_nothing_whoever_comes_from_elsewhere_pairs() {
    let (controller, rig) = (Node::start("control", None).await, Node::start("rig", Some(CODE)).await);
    let to = (Ipv4Addr::LOCALHOST, port_of(&rig)).into();
    let mut silent = Vec::new();
    while rig.mesh.counts().turned_away.load(Ordering::Relaxed) == 0 {
        for from in [[127, 0, 1, 1], [127, 0, 2, 1]] {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
            silent.push(socket.connect(to).await.unwrap());
        }
    }
    controller.pair(&rig, CODE).await.unwrap();
    // The oldest of one of them made room.
    let (first, second) = silent.split_at_mut(1);
    let closed = async {
        let (mut one, mut other) = ([0], [0]);
        tokio::select! {
            read = first[0].read(&mut one) => read,
            read = second[0].read(&mut other) => read,
        }
    };
    let read = timeout(Duration::from_secs(5), closed).await.expect("sooner than a handshake is given up");
    assert!(read.is_err() || read.is_ok_and(|count| count == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_peer_is_cut_off_within_a_second_and_its_requests_end() {
    let (controller, rig) = paired().await;
    let ping = Request::Ping { sent_at: 1 };
    controller.mesh.ask(&rig.key, &ping, DEADLINE).await.unwrap();
    let link = controller.mesh.link(&rig.key).unwrap();
    let waiting = tokio::spawn(async move { link.ask(&Request::Watch { after: 0, wait: 30 }, DEADLINE).await });
    let begun = Instant::now();
    rig.mesh.remove(controller.key).await;
    // Lost when it was sent already, unreachable when it still waited to be.
    assert!(matches!(waiting.await.unwrap(), Err(AskError::Lost | AskError::Unreachable)));
    controller.saw(rig.key, |event| matches!(event, Event::Down)).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    let refused = controller.mesh.ask(&rig.key, &ping, Duration::from_secs(2)).await;
    assert_eq!(refused, Err(AskError::Unreachable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_while_one_request_is_answered_costs_no_other() {
    let (controller, rig) = paired().await;
    controller.mesh.ask(&rig.key, &Request::Ping { sent_at: 1 }, DEADLINE).await.unwrap();
    let link = controller.mesh.link(&rig.key).unwrap();
    let lost = link.ask(&Request::Stats, Duration::from_millis(500)).await;
    assert_eq!(lost, Err(AskError::Timeout));
    // On the same link.
    assert_eq!(link.ask(&Request::Ping { sent_at: 7 }, DEADLINE).await, Ok(Response::Pong { sent_at: 7 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_at_a_pinned_address_is_refused() {
    let (controller, rig) = (Node::start("control", None).await, Node::start("rig", Some(CODE)).await);
    let (address, _) = dial_address(&rig.address()).unwrap();
    let other = NodeSecret::generate(&mut rand::rng()).public();
    let refused = controller.mesh.pair(address, Some(other), PairBy::Approval, DEADLINE).await;
    assert!(matches!(refused, Err(PairError::OtherNode { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_answered_each_by_its_own_answer() {
    let (controller, rig) = paired().await;
    let asks = (0..500).map(|sent_at| {
        let (mesh, key) = (controller.mesh.clone(), rig.key);
        async move {
            loop {
                match mesh.ask(&key, &Request::Ping { sent_at }, DEADLINE).await {
                    // The queue holds 64, and a peer may make 400 at once, then 200 a second.
                    Err(AskError::Busy | AskError::Refused(Refusal::Busy { .. })) => tokio::task::yield_now().await,
                    answer => return answer,
                }
            }
        }
    });
    let answers = timeout(DEADLINE, futures::future::join_all(asks)).await.unwrap();
    for (sent_at, answer) in (0..).zip(answers) {
        assert_eq!(answer, Ok(Response::Pong { sent_at }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_rig_the_next_request_just_works() {
    let controller = Node::start("control", None).await;
    let secret = Arc::new(NodeSecret::generate(&mut rand::rng()));
    let rig = Node::with_secret("rig", Some(CODE), Arc::clone(&secret), "127.0.0.1:0").await;
    controller.pair(&rig, CODE).await.unwrap();
    let ping = Request::Ping { sent_at: 1 };
    controller.mesh.ask(&rig.key, &ping, DEADLINE).await.unwrap();
    let port = port_of(&rig);
    rig.end().await;
    controller.saw(secret.public(), |event| matches!(event, Event::Down)).await;
    let rig = Node::with_secret("rig", None, secret, &format!("127.0.0.1:{port}")).await;
    rig.mesh.register(controller.key, vec![]).await;
    let link = controller.mesh.wait_for_link(&rig.key, Instant::now() + DEADLINE).await;
    assert!(link.is_some(), "it dials again by itself");
    assert_eq!(controller.mesh.ask(&rig.key, &ping, DEADLINE).await, Ok(Response::Pong { sent_at: 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_back_may_ask_no_more_than_one_that_stayed() {
    let rate = Rate { per_second: 0.0, burst: 3.0 };
    let secret = Arc::new(NodeSecret::generate(&mut rand::rng()));
    let rig = Node::with_rate("rig", Some(CODE), secret, "127.0.0.1:0", rate).await;
    let secret = Arc::new(NodeSecret::generate(&mut rand::rng()));
    let ping = Request::Ping { sent_at: 1 };
    let mut controller = Node::with_secret("control", None, Arc::clone(&secret), "127.0.0.1:0").await;
    controller.pair(&rig, CODE).await.unwrap();
    for _ in 0..2 {
        controller.mesh.ask(&rig.key, &ping, DEADLINE).await.unwrap();
    }
    drop(controller);
    rig.saw(secret.public(), |event| matches!(event, Event::Down)).await;
    controller = Node::with_secret("control", None, secret, "127.0.0.1:0").await;
    controller.mesh.register(rig.key, vec![dial_address(&rig.address()).unwrap().0]).await;
    controller.mesh.ask(&rig.key, &ping, DEADLINE).await.unwrap();
    let refused = controller.mesh.ask(&rig.key, &ping, DEADLINE).await;
    assert!(matches!(refused, Err(AskError::Refused(Refusal::Busy { .. }))), "{refused:?}");
    // Another peer has an allowance of its own.
    let other = Node::start("other", None).await;
    tokio::join!(
        rig.mesh.register(other.key, vec![]),
        other.mesh.register(rig.key, vec![dial_address(&rig.address()).unwrap().0]),
    );
    other.mesh.ask(&rig.key, &ping, DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_dial_each_other_settle_on_one_link() {
    let (one, other) = (Node::start("one", None).await, Node::start("other", None).await);
    let address = |node: &Node| vec![dial_address(&node.address()).unwrap().0];
    tokio::join!(one.mesh.register(other.key, address(&other)), other.mesh.register(one.key, address(&one)));
    let ping = Request::Ping { sent_at: 1 };
    for _ in 0..20 {
        for (asker, asked) in [(&one, &other), (&other, &one)] {
            asker.mesh.ask(&asked.key, &ping, DEADLINE).await.unwrap();
        }
    }
    // The other link has ended, and its connection.
    let ports = [port_of(&one), port_of(&other)];
    let settled = async {
        while established(ports) != 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, settled).await.unwrap();
    for (asker, asked) in [(&one, &other), (&other, &one)] {
        asker.mesh.ask(&asked.key, &ping, DEADLINE).await.unwrap();
    }
}

fn port_of(node: &Node) -> u16 {
    node.address().replace("/ip4/127.0.0.1/tcp/", "").replace("/ws", "").parse().unwrap()
}

/// Connections that came to these ports, as the system tells.
fn established(ports: [u16; 2]) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let came = table.lines().skip(1).filter(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (here, state) = (words.next().unwrap(), words.nth(1).unwrap());
        let port = u16::from_str_radix(here.rsplit_once(':').unwrap().1, 16).unwrap();
        state == "01" && ports.contains(&port)
    });
    came.count()
}
