//! What a controller keeps of its own: profiles, tokens, grants, its password and its key.

use std::cell::RefCell;
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::home::free_port;
use miner_ctrl_tests::steps::Trap;
use miner_ctrl_tests::{Farm, Home};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::order::Order;
use crate::{FEWEST, MOST, Outcome, Side, all_is_whole, at_each_step, at_each_step_in};

/// A page of a controller's book: what its files and its registry say.
struct Page {
    /// By this it stands there.
    there: Order,
    /// By this it is gone.
    gone: Order,
    /// The command that reads it.
    list: &'static str,
    /// What the list says when it is there.
    word: &'static str,
}

fn pages() -> Vec<Page> {
    let as_it_was = r#"{ "name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": "WALLET",
        "pools": [{ "url": "pool.example:3333" }] }"#;
    let edited = r#"{ "name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": "ANOTHER",
        "pools": [{ "url": "pool.example:3333" }] }"#;
    let config = r#"{ "pools": [{ "url": "a.example:1", "user": "W", "algo": "rx/0" }] }"#;
    let add = "profile add q --program xmrig --algorithm rx/0 --pool a.example:1 --wallet W";
    let line = |line: &str| Order::Line(line.to_owned());
    let peer = |line: &str| Order::Peer(line.to_owned());
    let edit = |typed| Order::Typed("profile edit p", typed);
    let page = |there, gone, list, word| Page { there, gone, list, word };
    vec![
        page(line(add), line("profile remove q"), "profile list", "\"q\""),
        page(Order::Typed("profile import - --name q", config), line("profile remove q"), "profile list", "\"q\""),
        page(edit(edited), edit(as_it_was), "profile list", "ANOTHER"),
        page(line("token add t --scope read"), line("token remove t"), "token list", "\"t\""),
        page(peer("peer permit rig-alpha view"), peer("peer permit rig-alpha none"), "peer list", "\"view\""),
    ]
}

/// Kills the controller at each step of the one command or of the other.
async fn turns(Page { there, gone, list, word }: &Page, wanted: bool) {
    let order = |wanted: bool| if wanted { there } else { gone };
    let stands = async |farm: &Farm| farm.controller.home.json(list).await.to_string().contains(word);
    let prepare = async |farm: &Farm| {
        if stands(farm).await == wanted {
            let _ = order(!wanted).give(&farm.controller.home).await.done();
        }
        order(wanted).clone()
    };
    at_each_step(Side::Controller, prepare, async |farm, Outcome { books, done, at, .. }| {
        let stands = stands(farm).await;
        assert!(stands == wanted || !done, "{at}");
        if stands {
            let _ = gone.give(&farm.controller.home).await.done();
        }
        all_is_whole(farm, &books, &at).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_keeping_its_book_has_the_old_page_or_the_new() {
    for page in &pages() {
        for wanted in [true, false] {
            turns(page, wanted).await;
        }
    }
}

/// Begins a command that finds no node and does all of it itself, and kills it before this step. Says whether that came, and
/// what was told of its work.
fn kill_at(step: usize, mut command: Command) -> (bool, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let is_killed = Trap::set(i32::try_from(child.id()).unwrap(), step).gone();
    let mut told = String::new();
    child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    // The watch may have reaped it already.
    let _ = child.wait();
    assert!(is_killed || !told.is_empty(), "not killed before step {step}, and not done: {command:?}");
    assert!(is_killed || step > FEWEST, "fewer than {FEWEST} steps, so that nobody was killed where it matters");
    (is_killed, told)
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_command_without_a_node_that_is_killed_at_any_step_leaves_the_old_page_or_the_new() {
    // It has no peers.
    let pages = pages().into_iter().filter(|page| page.there.leaves_peers_alone());
    for Page { there, gone, list, word } in pages {
        for wanted in [true, false] {
            let home = Home::init("control-center", "controller").await;
            let _ = home
                .run("profile add p --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet W")
                .await
                .done();
            let [order, back] = if wanted { [&there, &gone] } else { [&gone, &there] };
            let stands = async || home.json(list).await.to_string().contains(word);
            for step in 1.. {
                assert!(step < MOST, "{MOST} steps and no end");
                if stands().await == wanted {
                    let _ = back.give(&home).await.done();
                }
                let (is_killed, told) = kill_at(step, order.command(&home));
                let at = format!("{order:?}, killed before step {step}: {told}");
                assert!(stands().await == wanted || told.is_empty(), "{at}");
                assert_eq!(home.names("profile list").await[0], "p", "{at}");
                if !is_killed {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_node_whose_making_is_killed_at_any_step_is_made_by_the_next_and_keeps_the_key_it_has() {
    let init = "node init --name rig-alpha --role worker";
    for step in 1..MOST {
        let home = Home::empty();
        let (is_killed, told) = kill_at(step, Order::Line(init.to_owned()).command(&home));
        let at = format!("killed before step {step}: {told}");
        let key = fs::read(home.node_dir().join("private.key")).ok();
        // It only looks: what is half made is not finished under another name.
        let _ = home.run("doctor").await;
        let again = home.run(init).await;
        assert_eq!(again.code, Some(0), "{again:#?}: {at}");
        let node = home.json("node info").await;
        assert_eq!([&node["name"], &node["role"]], ["rig-alpha", "worker"], "{at}");
        assert!(told.is_empty() || told.contains(node["id"].as_str().unwrap()), "it is who it was told to be: {at}");
        assert!(key.is_none_or(|key| key == fs::read(home.node_dir().join("private.key")).unwrap()), "{at}");
        if !is_killed {
            return;
        }
    }
    panic!("{MOST} steps and no end")
}

/// One request to a dashboard, as a browser on its page makes it; gives the answer, head and all.
async fn browse(page: &str, method: &str, cookie: &str, body: &str) -> String {
    let request = format!(
        "{method} /api/v1/mining/session HTTP/1.1\r\nhost: {page}\r\norigin: http://{page}\r\nconnection: close\r\n\
         cookie: {cookie}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(page).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The cookie of a browser that signs in; none when the password is wrong.
async fn sign_in(page: &str, password: &str) -> Option<String> {
    let answer = browse(page, "POST", "", &json!({ "password": password }).to_string()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 401 "), "{answer}");
    Some(answer.split_once("set-cookie: ")?.1.split_once(';')?.0.to_owned())
}

#[tokio::test]
#[ignore = "goes through every step; `.ci/run faults` runs it"]
async fn a_controller_that_is_killed_at_any_step_of_setting_its_password_has_the_old_one_with_its_browsers_or_the_new()
{
    let page = format!("127.0.0.1:{}", free_port());
    let home = Home::empty().with_variable("MINER_CTRL_DASHBOARD", &page).initialised("control-center", "controller");
    let home = home.await;
    let controller = Station { name: "control-center".into(), node: home.serve().await, home };
    let rig = Station::start("rig-alpha", "worker").await;
    controller.pair_with(&rig).await;
    let farm = Farm { controller, rigs: vec![rig] };
    let (old, new) = ("correct horse battery", "battery staple horse");
    let browser = RefCell::new(String::new());
    let prepare = async |farm: &Farm| {
        let _ = farm.controller.home.run_typing("ui --set-password", old).await.done();
        browser.replace(sign_in(&page, old).await.expect("it is the password"));
        Order::Typed("ui --set-password", new)
    };
    let hold = async |farm: &Farm, Outcome { books, done, at, .. }| {
        let cookie = browser.take();
        let is_signed_in = browse(&page, "GET", &cookie, "").await.contains("\"signed_in\":true");
        let (by_old, by_new) = (sign_in(&page, old).await, sign_in(&page, new).await);
        assert!(by_old.is_some() != by_new.is_some(), "it is one of the two: {at}");
        assert!(by_new.is_some() || !done, "{at}");
        assert_eq!(is_signed_in, by_old.is_some(), "with the password goes who came by it: {at}");
        all_is_whole(farm, &books, &at).await;
    };
    at_each_step_in(farm, Side::Controller, Side::Controller, prepare, hold).await;
}
