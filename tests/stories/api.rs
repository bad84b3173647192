//! The examples of docs/api.md, run as they stand with curl against real nodes, in their order.

use std::path::Path;
use std::time::Duration;

use miner_ctrl_tests::farm::Station;
use miner_ctrl_tests::home::free_port;
use miner_ctrl_tests::{Farm, Home};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// A pairing with nobody takes longest.
const LONGEST: Duration = Duration::from_secs(90);

/// A block of commands, and the head of the answer that stands below it.
struct Example {
    commands: String,
    answer: String,
}

/// Blocks marked `sh curl`, each with the `text` block behind it.
fn examples(page: &str) -> Vec<Example> {
    let block = |text: &str| text.split_once("\n```").expect("a block ends").0.to_owned();
    page.split("```sh curl\n")
        .skip(1)
        .map(|rest| {
            let commands = block(rest);
            let (between, answer) = rest[commands.len() + 4..].split_once("```text\n").expect("an answer stands below");
            assert!(between.trim().is_empty(), "the answer stands right below its command: {commands}");
            Example { commands, answer: block(answer) }
        })
        .collect()
}

/// The head has this status and these header fields; `…` stands for any text.
#[track_caller]
fn assert_head(output: &str, example: &Example) {
    let head = output.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines = head.lines();
    let mut shown = example.answer.lines();
    let told = format!("{}\n\n{output}", example.commands);
    assert_eq!(lines.next(), shown.next(), "{told}");
    let fields: Vec<_> = lines.collect();
    for line in shown {
        let (start, any) = line.split_once('…').map_or((line, false), |(start, _)| (start, true));
        let fits = |field: &&str| if any { field.starts_with(start) } else { *field == start };
        assert!(fields.iter().any(fits), "`{line}` is missing: {told}");
    }
}

#[tokio::test]
async fn every_example_of_the_page_does_what_stands_there() {
    let port = free_port();
    let home = Home::init("control-center", "controller").await;
    let node = home.serve_with(&["--simulate", "--dashboard", &format!("127.0.0.1:{port}")]).await;
    let controller = Station { name: "control-center".into(), node, home };
    let rig = Station::start("rig-alpha", "worker").await;
    controller.pair_with(&rig).await;
    Farm::online(&controller.home, "rig-alpha").await;
    let token: Value = controller.home.json("token add my-script --scope admin").await;
    let token = token["token"].as_str().expect("a token").to_owned();

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let examples = examples(&std::fs::read_to_string(page).expect("docs/api.md"));
    assert!(examples.len() > 30, "only {} examples were found", examples.len());
    for example in &examples {
        let mut shell = Command::new("bash");
        // Nothing but the answer: no progress, no settings of this machine's user.
        shell.arg("-c").arg(format!("curl() {{ command curl -q -sS \"$@\"; }}\n{}", example.commands));
        shell.env("API", format!("http://127.0.0.1:{port}/api/v1/mining")).env("TOKEN", &token).kill_on_drop(true);
        let ended = timeout(LONGEST, shell.output()).await;
        let output = ended.unwrap_or_else(|_| panic!("does not end: {}", example.commands)).expect("bash and curl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n\n{said}", example.commands);
        assert_head(&said, example);
    }
}
