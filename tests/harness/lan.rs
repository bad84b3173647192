//! A network of the tests' own: a namespace for each host, and one switch between them whose wires can be cut, slowed,
//! narrowed and made to lose frames. What runs on a host sees a real network card and the kernel's own TCP.
//!
//! The switch is ours since it has to work on kernels that are built without `netem`; it moves whole Ethernet frames.
//! Needs root, `ip` of iproute2, `iptables`, and `/dev/net/tun`.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_tun::Tun;

/// Frames that wait on one wire; what comes on top is lost, as in a switch. Two round trips of 200 ms at 5 MB/s.
const QUEUE: usize = 1024;

/// Largest frame: 1500 bytes and the Ethernet header, with room for a tag.
const FRAME: usize = 1522;

/// The Ethernet header, bytes.
const ETHERNET: usize = 14;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Which way nothing passes on a wire. Nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// Neither what the host sends nor what is sent to it.
    BothWays,
    /// What the host sends is lost, as behind a firewall that forgot it; it still hears all.
    FromHost,
    /// Everything passes.
    #[default]
    Nowhere,
    /// What is sent to the host is lost; it is still heard.
    ToHost,
}

/// What a wire does to the frames on it, in both directions but for a cut.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Wire {
    /// Where nothing passes.
    pub cut: Cut,
    /// On the way in and on the way out.
    pub delay: Duration,
    /// Share of frames that are lost, 0 to 1.
    pub loss: f64,
    /// Bytes per second in each direction, when they are few.
    pub rate: Option<u32>,
    /// The largest IP packet that passes, when the way is narrower than the hosts' cards; nobody is told.
    pub largest: Option<usize>,
}

/// A machine on the network.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its network namespace.
    pub namespace: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its network card.
    card: String,
    wire: Arc<Mutex<Wire>>,
}

impl Wire {
    /// A wire on which nothing passes this way.
    #[must_use]
    pub const fn cut(way: Cut) -> Self {
        Self { cut: way, delay: Duration::ZERO, loss: 0.0, rate: None, largest: None }
    }
}

impl Host {
    /// Changes what its wire does, from the next frame on.
    pub fn wire(&self, wire: Wire) {
        *self.wire.lock().unwrap_or_else(PoisonError::into_inner) = wire;
    }

    /// Takes its card down, as a cable does that is pulled out: the host knows, and nobody else is told.
    ///
    /// # Panics
    /// When the system does not let it.
    pub fn unplug(&self) {
        ip(&["-n", &self.namespace, "link", "set", &self.card, "down"]);
    }

    /// Plugs it in again.
    ///
    /// # Panics
    /// When the system does not let it.
    pub fn plug_in(&self) {
        ip(&["-n", &self.namespace, "link", "set", &self.card, "up"]);
    }

    /// Resets its connections, as a router does that has forgotten them: both ends are told at once.
    ///
    /// # Panics
    /// Without `ss`.
    pub fn reset_connections(&self) {
        // What a kernel cannot end stays, and the story finds it.
        ip(&["netns", "exec", &self.namespace, "ss", "--tcp", "--kill", "state", "established"]);
    }

    /// Has every segment that it sends, and every one that is sent to it, answered by a reset, as by a firewall that wants none
    /// of it: both ends are told, again and again.
    ///
    /// # Panics
    /// Without `iptables`.
    pub fn turn_away(&self) {
        for [chain, card] in [["INPUT", "--in-interface"], ["OUTPUT", "--out-interface"]] {
            // But for the resets themselves.
            let segments = [card, &self.card, "--protocol", "tcp", "!", "--tcp-flags", "RST", "RST"];
            let answer = ["--jump", "REJECT", "--reject-with", "tcp-reset"];
            self.iptables(&[&["--append", chain][..], &segments, &answer].concat());
        }
    }

    /// Lets everything pass again.
    ///
    /// # Panics
    /// Without `iptables`.
    pub fn let_pass(&self) {
        self.iptables(&["--flush"]);
    }

    fn iptables(&self, words: &[&str]) {
        ip(&[&["netns", "exec", &self.namespace, "iptables", "--wait"], words].concat());
    }

    /// Switches IPv6 off, as many do by `net.ipv6.conf.all.disable_ipv6`.
    ///
    /// # Panics
    /// Where the kernel has no such switch.
    pub fn without_ipv6(&self) {
        let off = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
        ip(&["netns", "exec", &self.namespace, "sh", "-c", off]);
    }
}

/// The network; its namespaces go with it.
#[derive(Debug)]
pub struct Lan {
    hosts: Vec<Host>,
    /// The switch ends when this is dropped.
    _alive: oneshot::Sender<()>,
}

impl Lan {
    /// A network of so many hosts.
    ///
    /// # Panics
    /// Without root, `ip` or `/dev/net/tun`.
    #[must_use]
    pub fn new(hosts: u8) -> Self {
        remove_left_over();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let hosts: Vec<Host> = (1..=hosts)
            .map(|host| Host {
                namespace: format!("miner-ctrl-{pid}-{number}-{host}"),
                address: Ipv4Addr::new(10, 91, 0, host),
                card: format!("mc{:x}-{number}-{}", pid & 0xf_ffff, host - 1),
                wire: Arc::default(),
            })
            .collect();
        let (ready, up) = std::sync::mpsc::channel();
        let (alive, ended) = oneshot::channel();
        // A thread of its own: a test that blocks for a moment must not hold up the network.
        let places = hosts.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut cards = Vec::new();
                for host in &places {
                    let card = &host.card;
                    let mut taps =
                        Tun::builder().name(card).tap().build().expect("root may make a network card in /dev/net/tun");
                    cards.push(Arc::new(taps.remove(0)));
                    let (namespace, address) = (host.namespace.as_str(), format!("{}/24", host.address));
                    ip(&["netns", "add", namespace]);
                    ip(&["link", "set", card, "netns", namespace]);
                    ip(&["-n", namespace, "link", "set", "lo", "up"]);
                    ip(&["-n", namespace, "addr", "add", &address, "dev", card]);
                    ip(&["-n", namespace, "link", "set", card, "up"]);
                }
                let _ = ready.send(());
                tokio::select! {
                    _ = ended => {}
                    () = switch(cards, places.into_iter().map(|host| host.wire).collect()) => {}
                }
            });
        });
        up.recv().expect("the network comes up");
        Self { hosts, _alive: alive }
    }

    /// The hosts, in the order of their addresses.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in &self.hosts {
            // What still runs in it keeps it alive without its name.
            let _ = Command::new("ip").args(["netns", "del", &host.namespace]).output();
        }
    }
}

/// Namespaces of test programs that were killed.
fn remove_left_over() {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix("miner-ctrl-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
}

struct Frame {
    due: Instant,
    bytes: Box<[u8]>,
}

/// Moves frames until it is dropped.
async fn switch(cards: Vec<Arc<Tun>>, wires: Vec<Arc<Mutex<Wire>>>) {
    let (queues, receivers): (Vec<_>, Vec<_>) = cards.iter().map(|_| mpsc::channel(QUEUE)).unzip();
    let known = Arc::new(Mutex::new(HashMap::<[u8; 6], usize>::new()));
    let out = cards.iter().zip(receivers).zip(&wires).map(|((card, frames), wire)| {
        let (card, wire) = (Arc::clone(card), Arc::clone(wire));
        Box::pin(deliver(card, frames, wire)) as std::pin::Pin<Box<dyn Future<Output = ()>>>
    });
    let inward = (0..cards.len()).map(|from| {
        let (card, queues, wires, known) =
            (Arc::clone(&cards[from]), queues.clone(), wires.clone(), Arc::clone(&known));
        Box::pin(async move {
            let mut buffer = [0; FRAME];
            let mut free = Instant::now();
            while let Ok(length) = card.recv(&mut buffer).await {
                let frame = &buffer[..length];
                let Some((to, rest)) = frame.split_first_chunk::<6>() else { continue };
                let Some(source) = rest.first_chunk::<6>() else { continue };
                let target = {
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.insert(*source, from);
                    known.get(to).copied()
                };
                let there = *wires[from].lock().unwrap_or_else(PoisonError::into_inner);
                let Some(due) = passes(there, Cut::FromHost, length, &mut free) else { continue };
                for (port, queue) in queues.iter().enumerate() {
                    if port != from && target.is_none_or(|target| target == port) {
                        // A full queue loses the frame; TCP sends it again.
                        let _ = queue.try_send(Frame { due, bytes: frame.into() });
                    }
                }
            }
        }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
    });
    futures::future::join_all(out.chain(inward)).await;
}

/// When a frame that is put on a wire now comes out at its end, if it does. `way` is where it goes.
fn passes(wire: Wire, way: Cut, length: usize, free: &mut Instant) -> Option<Instant> {
    let is_cut = wire.cut == way || wire.cut == Cut::BothWays;
    let is_too_large = wire.largest.is_some_and(|largest| length > ETHERNET + largest);
    if is_cut || is_too_large || (wire.loss > 0.0 && rand::rng().random::<f64>() < wire.loss) {
        return None;
    }
    let now = Instant::now();
    let taken = wire.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(length as f64 / f64::from(rate)));
    *free = (*free).max(now) + taken;
    Some(*free + wire.delay)
}

async fn deliver(card: Arc<Tun>, mut frames: mpsc::Receiver<Frame>, wire: Arc<Mutex<Wire>>) {
    let mut free = Instant::now();
    // One frame is under way at a time: where the wire's delay matters, many must be, so that each has its own moment.
    let (on_wire, mut arriving) = mpsc::channel::<Frame>(QUEUE);
    let accept = async move {
        while let Some(frame) = frames.recv().await {
            sleep_until(frame.due).await;
            let there = *wire.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(due) = passes(there, Cut::ToHost, frame.bytes.len(), &mut free) {
                let _ = on_wire.try_send(Frame { due, bytes: frame.bytes });
            }
        }
    };
    let arrive = async move {
        while let Some(frame) = arriving.recv().await {
            sleep_until(frame.due).await;
            // A card whose host has gone takes nothing any more.
            let _ = card.send(&frame.bytes).await;
        }
    };
    tokio::join!(accept, arrive);
}
