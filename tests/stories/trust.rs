//! Who is not let in, and what those who are cannot do: strangers, impostors, and peers that talk nonsense.

use std::io;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use miner_ctrl::worker::CONSOLE_WAITS;
use miner_ctrl_protocol::codec::{self, MAX_BODY, MAX_MESSAGE};
use miner_ctrl_protocol::message::LogPage;
use miner_ctrl_protocol::pair::Reply;
use miner_ctrl_protocol::{PAIR_PROTOCOL, RPC_PROTOCOL, Refusal, Request, Response, Role};
use miner_ctrl_tests::caller::{opened, sealed};
use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::processes::{descriptors_of, resident_bytes_of};
use miner_ctrl_tests::{Caller, DEADLINE, Farm, Home, wait_for};
use rand::{Rng, RngExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const IDENTIFY: &str = "/ipfs/id/1.0.0";
const PING: &str = "/ipfs/ping/1.0.0";

/// What only registered peers are served.
const FOR_PEERS: [&str; 4] = [RPC_PROTOCOL, IDENTIFY, "/ipfs/id/push/1.0.0", PING];

/// Silent connections in the test of patience.
const SILENT: usize = 300;

/// Memory that no nonsense may cost beyond what the node had before.
const MEMORY: u64 = 48 * 1024 * 1024;

#[tokio::test]
async fn a_stranger_is_served_pairing_alone_and_not_for_long() {
    let rig = Station::start("rig-alpha", "worker").await;
    let stranger = Caller::dial(rig.home.port()).await.unwrap();
    for protocol in FOR_PEERS {
        assert!(stranger.open(protocol).await.is_none(), "{protocol}");
    }
    assert!(stranger.open(PAIR_PROTOCOL).await.is_some());
    assert!(stranger.is_closed_within(Duration::from_secs(20)).await, "its time is over");
    assert_eq!(stranger.seen().opened, 0, "the node asked it nothing, not even who it is");
    assert_eq!(rig.home.json("peer list").await, serde_json::json!([]));
}

#[tokio::test]
async fn a_stranger_pairs_once_at_a_time_on_a_connection() {
    let rig = Station::start("rig-alpha", "worker").await;
    let stranger = Caller::dial(rig.home.port()).await.unwrap();
    let first = stranger.open(PAIR_PROTOCOL).await.expect("pairing is served");
    let mut second = stranger.open(PAIR_PROTOCOL).await.expect("its name is known");
    // Within the life of a stranger's connection: it is reset at once.
    let ended = timeout(Duration::from_secs(5), second.read(&mut [0])).await.expect("it is reset");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(Caller::knock_on(first, "stranger", Role::Worker).await, Reply::Pending, "the first goes on");
}

#[tokio::test]
async fn a_stranger_has_fewer_substreams_than_a_peer() {
    let controller = Station::start("control-center", "controller").await;
    let peer = Caller::admitted(&controller, "rig-alpha", Role::Worker).await;
    let stranger = Caller::dial(controller.home.port()).await.unwrap();
    let mut held = Vec::new();
    for caller in [&peer, &stranger] {
        for _ in 0..9 {
            let Some(mut stream) = caller.substream().await else { continue };
            // What opens it; a node waits for more.
            let _ = stream.write_all(b"\x13/multistream/1.0.0\n").await;
            let _ = stream.flush().await;
            held.push(stream);
        }
    }
    assert!(stranger.is_closed_within(Duration::from_secs(5)).await, "before its time is over");
    assert!(!peer.seen().closed);
    assert!(peer.open(RPC_PROTOCOL).await.is_some(), "it is served beside them");
}

#[tokio::test]
async fn where_pairing_is_off_a_stranger_is_refused_at_the_door() {
    let home = Home::init("rig-alpha", "worker").await;
    let _node = home.serve_with(&["--pairing", "off"]).await;
    // The handshake ends before the node knows the key; the connection ends with it.
    if let Ok(stranger) = Caller::dial(home.port()).await {
        for protocol in [PAIR_PROTOCOL, RPC_PROTOCOL, IDENTIFY, PING] {
            assert!(stranger.open(protocol).await.is_none(), "{protocol}");
        }
        assert!(stranger.is_closed_within(Duration::from_secs(5)).await);
        assert_eq!(stranger.seen().opened, 0);
    }
}

#[tokio::test]
async fn a_registered_key_is_served_and_each_message_once() {
    let rig = Station::start("rig-alpha", "worker").await;
    let caller = Caller::admitted(&rig, "caller", Role::Controller).await;
    assert!(caller.open(IDENTIFY).await.is_some() && caller.open(PING).await.is_some());
    let mut link = caller.link(&caller.hello("caller", Role::Controller)).await;
    let hello = link.hello.clone().expect("the node greets");
    assert_eq!(hello.node_id.to_string(), rig.node.line("node id"));
    let mut sender = caller.sender(&rig, &link);

    let (bytes, answer) = sealed(&mut sender, &Request::Ping { sent_at: 7 });
    link.say(1, 1, &bytes).await;
    let (kind, id, payload) = link.hear_answer().await.expect("an answer");
    assert_eq!((kind, id), (2, 1));
    assert_eq!(opened(answer, &payload), Response::Pong { sent_at: 7 });

    // The same once more, then altered, then of a session for another connection.
    link.say(1, 2, &bytes).await;
    let (kind, _, payload) = link.hear_answer().await.expect("a refusal");
    let refusal: Refusal = codec::decode(&payload, MAX_BODY).unwrap();
    assert_eq!((kind, refusal), (3, Refusal::Replayed));
    let (mut bytes, _) = sealed(&mut sender, &Request::Stats);
    *bytes.last_mut().unwrap() ^= 1;
    link.say(1, 3, &bytes).await;
    let (kind, _, payload) = link.hear_answer().await.expect("a refusal");
    let refusal: Refusal = codec::decode(&payload, MAX_BODY).unwrap();
    assert!(kind == 3 && matches!(refusal, Refusal::Unreadable | Refusal::Stale { .. }), "{refusal:?}");
    let other = caller.again(&rig).await;
    let mut other_link = other.link(&other.hello("caller", Role::Controller)).await;
    let (bytes, _) = sealed(&mut sender, &Request::StopMiner { miner: miner_ctrl_protocol::message::MinerChoice::All });
    other_link.say(1, 4, &bytes).await;
    let (kind, _, payload) = other_link.hear_answer().await.expect("a refusal");
    let refusal: Refusal = codec::decode(&payload, MAX_BODY).unwrap();
    assert!(kind == 3 && matches!(refusal, Refusal::Unreadable | Refusal::Stale { .. }), "{refusal:?}");
}

/// A follower that goes away leaves its question behind, and comes again.
#[tokio::test]
async fn however_many_wait_for_a_silent_console_a_stop_is_answered() {
    let rig = Station::start("rig-alpha", "worker").await;
    let add = "profile add p --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet WALLET";
    for command in [add, "remote start rig-alpha --profile p", "remote stop rig-alpha --all"] {
        let _ = rig.home.run(command).await.done();
    }
    let caller = Caller::admitted(&rig, "caller", Role::Controller).await;
    let mut link = caller.link(&caller.hello("caller", Role::Controller)).await;
    let mut sender = caller.sender(&rig, &link);
    let logs = |after| Request::Logs { miner: None, lines: 1, after, wait: 30 };
    let (bytes, answer) = sealed(&mut sender, &logs(None));
    link.say(1, 99, &bytes).await;
    let (_, _, payload) = link.hear_answer().await.expect("an answer");
    let Response::Logs(LogPage { newest, .. }) = opened(answer, &payload) else { panic!("a page") };
    for id in 0..40 {
        let (bytes, answer) = sealed(&mut sender, &logs(Some(newest)));
        link.say(1, id, &bytes).await;
        if id >= CONSOLE_WAITS as u64 {
            let (_, answered, payload) = link.hear_answer().await.expect("an answer");
            assert_eq!(answered, id, "those before it wait");
            assert!(matches!(opened(answer, &payload), Response::Logs(_)));
        }
    }
    let (bytes, answer) =
        sealed(&mut sender, &Request::StopMiner { miner: miner_ctrl_protocol::message::MinerChoice::All });
    link.say(1, 40, &bytes).await;
    let (_, _, payload) = link.hear_answer().await.expect("an answer");
    assert!(matches!(opened(answer, &payload), Response::Miners { changed: false, .. }));
}

#[tokio::test]
async fn a_worker_cannot_command_whatever_it_says_of_itself() {
    let rig = Station::start("rig-alpha", "dual").await;
    let caller = Caller::admitted(&rig, "worker", Role::Worker).await;
    // It says in its greeting that it is a controller now.
    let mut link = caller.link(&caller.hello("worker", Role::Controller)).await;
    let mut sender = caller.sender(&rig, &link);
    for (id, request) in [Request::Stats, Request::StopMiner { miner: miner_ctrl_protocol::message::MinerChoice::All }]
        .iter()
        .enumerate()
    {
        let (bytes, answer) = sealed(&mut sender, request);
        link.say(1, id as u64, &bytes).await;
        let (_, _, payload) = link.hear_answer().await.expect("an answer");
        let answer = opened(answer, &payload);
        assert!(matches!(answer, Response::Refused(Refusal::NotAllowed { .. })), "{request:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_peer_that_talks_nonsense_is_dropped_and_the_node_lives_on() {
    let mut rig = Station::start("rig-alpha", "worker").await;
    let caller = Caller::admitted(&rig, "caller", Role::Controller).await;
    let honest = |caller: &Caller| caller.hello("caller", Role::Controller);
    let frame = |length: u32, kind: u8| [&length.to_be_bytes()[..], &[kind], &[0; 8]].concat();
    let mut noise = vec![0; 64 * 1024];
    rand::rng().fill_bytes(&mut noise);
    let too_large = u32::try_from(MAX_MESSAGE).unwrap() + 10;
    for (what, bytes) in [
        ("an unknown kind", frame(9, 77)),
        ("a length of 4 GiB", frame(u32::MAX, 1)),
        ("a length just above the limit", frame(too_large, 1)),
        ("a length below the header", frame(3, 1)),
        ("a heartbeat with a payload", frame(10, 4)),
        ("a second greeting", frame(9, 0)),
        ("noise", [&[0xff], &noise[..]].concat()),
    ] {
        let connection = caller.again(&rig).await;
        let mut link = connection.link(&honest(&connection)).await;
        assert!(link.hello.is_some(), "{what}: it is greeted first");
        link.say_bytes(&bytes).await;
        assert!(link.ends().await, "{what}");
        assert!(connection.is_closed_within(DEADLINE).await, "{what}");
    }
    // Greetings that are none: of another node, of another version, and no CBOR.
    let connection = caller.again(&rig).await;
    let mut false_id = honest(&connection);
    false_id.node_id = rig.home.key().node_id();
    assert!(connection.link(&false_id).await.ends().await);
    let connection = caller.again(&rig).await;
    let mut version = honest(&connection);
    version.versions = vec![200];
    assert!(connection.link(&version).await.ends().await);
    let connection = caller.again(&rig).await;
    let mut stream = connection.open(RPC_PROTOCOL).await.unwrap();
    futures::AsyncWriteExt::write_all(&mut stream, &frame(9, 0)).await.unwrap();
    futures::AsyncWriteExt::flush(&mut stream).await.unwrap();
    assert!(connection.is_closed_within(DEADLINE).await);

    // Requests that nobody can open: refused each, and then the link is given up.
    let connection = caller.again(&rig).await;
    let mut link = connection.link(&honest(&connection)).await;
    for id in 0..100 {
        link.say(1, id, &noise[..rand::rng().random_range(0..2000)]).await;
    }
    assert!(link.ends().await);

    assert!(rig.node.is_running(), "{}", rig.node.log());
    let connection = caller.again(&rig).await;
    let link = connection.link(&honest(&connection)).await;
    assert!(link.hello.is_some(), "who makes sense again is heard again");
}

#[tokio::test]
async fn nonsense_at_the_port_costs_a_registered_peer_nothing() {
    let mut farm = Farm::paired(&["rig-alpha"]).await;
    let controller = &farm.controller.home;
    let (port, pid) = (farm.rig().home.port(), farm.rig().node.pid());
    Farm::online(controller, "rig-alpha").await;
    let (memory, descriptors) = (resident_bytes_of(pid), descriptors_of(pid));

    // Slow ones: they say a little, and then nothing.
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        if number % 2 == 0 {
            // Closed already is as good as open here.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ").await;
        }
        silent.push(stream);
    }
    let _ = controller.run("peer ping rig-alpha").await.done();
    for bytes in nonsense() {
        say(port, &bytes).await;
    }
    // Strangers that know how to speak, one after the other; most are turned away.
    for _ in 0..24 {
        if let Ok(stranger) = Caller::dial(port).await {
            assert!(stranger.open(RPC_PROTOCOL).await.is_none());
        }
    }
    let peers = controller.json("peer list").await;
    assert_eq!(peers[0]["online"], true, "{peers:#}");
    let _ = controller.run("peer ping rig-alpha").await.done();
    let _ = controller.run("remote stop rig-alpha --all").await.done();
    let grown = resident_bytes_of(pid).saturating_sub(memory);
    assert!(grown < MEMORY, "{grown} bytes more");
    assert!(farm.rigs[0].node.is_running());
    wait_for("the silent ones are gone", DEADLINE, async || (descriptors_of(pid) <= descriptors + 8).then_some(()))
        .await;
    drop(silent);
    let _ = farm.controller.home.run("peer ping rig-alpha").await.done();
}

/// Bytes that no node of ours would send to a port.
fn nonsense() -> Vec<Vec<u8>> {
    let upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut noise = vec![0; 256 * 1024];
    rand::rng().fill_bytes(&mut noise);
    let mut all = vec![
        noise.clone(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\x13/multistream/1.0.0\n".to_vec(),
        [&b"GET / HTTP/1.1\r\nX: "[..], &vec![b'a'; 1024 * 1024]].concat(),
        upgrade.to_vec(),
    ];
    // Behind an upgrade: a frame of 2^63 bytes, one of 200 MiB, one that is not masked, and noise.
    for frame in [
        &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4][..],
        &[0x82, 0xff, 0, 0, 0, 0, 0x0c, 0x80, 0, 0, 1, 2, 3, 4],
        &[0x82, 0x05, 1, 2, 3, 4, 5],
        &noise,
    ] {
        all.extend(std::iter::repeat_n([&upgrade[..], frame].concat(), 8));
    }
    all
}

/// Says it and listens until the node hangs up, or has said enough.
async fn say(port: u16, bytes: &[u8]) {
    let conversation = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        stream.take(64 * 1024).read_to_end(&mut Vec::new()).await
    };
    let ended: io::Result<io::Result<usize>> =
        tokio::time::timeout(DEADLINE, conversation).await.map_err(io::Error::from);
    // Refused in the middle is fine; left hanging is not.
    assert!(ended.is_ok(), "the node hangs up on who has hung up");
}

#[tokio::test]
async fn an_address_that_names_another_key_is_not_paired_with() {
    let farm = Farm::strangers(&["rig-alpha", "rig-beta"]).await;
    let (port, code) = (farm.rig().home.port(), farm.rig().node.code());
    let other = farm.rigs[1].node.line("peer id");
    let add = format!("peer add --address /ip4/127.0.0.1/tcp/{port}/ws/p2p/{other} --code {code}");
    let refused = farm.controller.home.run(&add).await.fails(5, &["another node is at that address", "hint: "]);
    assert!(refused.contains(farm.rig().node.line("peer id")), "{refused}");
    assert_eq!(farm.controller.home.json("peer list").await, serde_json::json!([]));
    // It was never asked, so its code is as good as before.
    let _ = farm.controller.home.run(&format!("peer add --address 127.0.0.1:{port} --code {code}")).await.done();
}

#[tokio::test]
async fn a_node_that_took_a_rigs_place_is_never_commanded() {
    let Farm { controller, mut rigs } = Farm::paired(&["rig-alpha"]).await;
    let rig = rigs.remove(0);
    let add = "profile add p --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
    let _ = controller.home.run(add).await.done();
    let _ = controller.home.run("peer ping rig-alpha").await.done();
    assert!(rig.node.terminate().await.success());
    let impostor = Home::init("rig-alpha", "worker").await.in_place_of(&rig.home);
    let node = impostor.serve().await;
    let problem = wait_for("the controller meets the other key", DEADLINE, async || {
        let peers = controller.home.json("peer list").await;
        peers[0]["problem"].as_str().filter(|why| why.contains("another node")).map(str::to_owned)
    })
    .await;
    assert!(problem.contains(node.line("peer id")), "{problem}");
    let start = "remote start rig-alpha --profile p --from here";
    controller.home.run(start).await.fails(6, &["another node answers at its address", "hint: "]);
    assert_eq!((impostor.miners(), impostor.json("profile list").await), (vec![], serde_json::json!([])));
    // When the rig is back where it was, it is the rig again.
    assert!(node.terminate().await.success());
    let _node = rig.home.serve().await;
    Farm::online(&controller.home, "rig-alpha").await;
    let _ = controller.home.run("remote stop rig-alpha --all").await.done();
}

/// Rigs are set up from one image, and that may hold the key of a node.
#[tokio::test]
async fn a_disk_and_its_copy_are_told_from_one_rig_until_the_copy_is_a_node_of_its_own() {
    const SAYS: &str = "two machines use its identity, as copies of one disk do: 127.0.0.1 and 127.0.0.1";
    let controller = Station::start("control-center", "controller").await;
    let simulated = ["--simulate"];
    let disk = Home::init("rig-alpha", "worker").await;
    disk.add(&controller.home).await;
    let copy = Home::empty().with_copy_of(&disk);
    let node = disk.serve_with(&simulated).await;
    Farm::online(&controller.home, "rig-alpha").await;
    let problem = async || controller.home.json("peer list").await[0]["problem"].clone();
    assert_eq!(problem().await, Value::Null);

    let twin = copy.serve_with(&simulated).await;
    wait_for("the controller sees that there are two", DEADLINE, async || (problem().await == SAYS).then_some(()))
        .await;
    let doctor = controller.home.run("doctor").await;
    assert_eq!(doctor.code, Some(1), "{doctor:#?}");
    for (line, says) in [("doctor", "Rigs from one image"), ("peer list", SAYS), ("remote status", SAYS)] {
        let said = controller.home.run(line).await.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(says), "{line}: {said}");
    }

    assert!(twin.terminate().await.success());
    for gone in [copy.node_dir(), copy.config_dir().join("node.json")] {
        let gone = std::process::Command::new("rm").arg("-r").arg(gone).status();
        assert!(gone.expect("rm is there").success());
    }
    let copy = copy.initialised("rig-beta", "worker").await;
    copy.add(&controller.home).await;
    let _twin = copy.serve_with(&simulated).await;
    for rig in ["rig-alpha", "rig-beta"] {
        Farm::online(&controller.home, rig).await;
    }
    drop(node);
}

/// A controller that dials its rigs asks nobody else for them: it would never meet the copy of one.
#[tokio::test]
async fn a_copy_is_not_added_in_place_of_the_rig_that_is_connected() {
    let farm = Farm::paired(&["rig-alpha"]).await;
    let (controller, rig) = (&farm.controller.home, farm.rig());
    Farm::online(controller, "rig-alpha").await;
    let copy = Home::empty().with_copy_of(&rig.home);
    let twin = copy.serve().await;
    let (address, code) = (copy.address(), twin.code());
    let add = format!("peer add --address {address} --name rig-beta --code {code}");
    controller.run(&add).await.fails(5, &["has the identity of rig-alpha", "Rigs from one image"]);
    let peers = controller.json("peer list").await;
    assert_eq!((&peers[0]["name"], peers.as_array().map(Vec::len)), (&"rig-alpha".into(), Some(1)), "{peers:#}");
    assert!(peers[0]["address"].as_str().is_some_and(|at| !at.contains(&format!("/{}/", copy.port()))), "{peers:#}");
    // Where the rig is no more, it has moved.
    let Farm { controller, mut rigs } = farm;
    rigs.remove(0).node.kill();
    controller.home.add(&copy).await;
    Farm::online(&controller.home, "rig-alpha").await;
}
