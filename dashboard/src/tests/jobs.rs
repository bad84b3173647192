//! One command to many rigs.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::door::{Door, knock};
use super::refusals::assert_problem;
use super::routes::monero;
use crate::memory::peer;
use crate::records::By;
use crate::{Code, NodeError};

/// Begins a job as the local user; waits for its end.
async fn done(door: &Door, body: &Value) -> Value {
    let begun = door.local(knock("POST", "/jobs").json(body)).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.body);
    let id = begun.body["id"].as_str().unwrap().to_owned();
    assert_eq!(begun.headers["location"], format!("/api/v1/mining/jobs/{id}").as_str());
    ended(door, &id).await
}

async fn ended(door: &Door, id: &str) -> Value {
    let ended = async {
        loop {
            let job = door.local(knock("GET", &format!("/jobs/{id}"))).await.body;
            if !job["ended"].is_null() {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the job ends")
}

#[tokio::test]
async fn each_rig_of_a_job_has_its_true_result_and_its_entry_in_the_log() {
    let door = Door::new();
    let token = door.token("control").await;
    let rigs = json!(["rig-alpha", "nobody", "0000000000000001", "nobody"]);
    let body = json!({ "verb": "stop", "rigs": rigs, "all": true });
    let begun = door.ask(knock("POST", "/jobs").token(&token).json(&body)).await;
    let job = ended(&door, begun.body["id"].as_str().unwrap()).await;
    assert_eq!(job["counts"], json!({"waiting": 0, "running": 0, "done": 1, "failed": 1, "unknown": 0}));
    let alpha = &job["rigs"][0];
    assert_eq!((&alpha["id"], &alpha["state"]), (&json!("0000000000000001"), &json!("done")));
    assert_eq!(alpha["detail"], "xmrig-1 is stopped");
    let nobody = &job["rigs"][1];
    assert_eq!(
        (&nobody["id"], &nobody["state"], &nobody["code"]),
        (&json!(null), &json!("failed"), &json!("unknown-peer"))
    );
    assert!(nobody["hint"].is_string());
    assert_eq!(job["rigs"].as_array().unwrap().len(), 2, "the same rig twice counts once");
    let stops: Vec<_> = door.node.recorded().into_iter().filter(|entry| entry.action == "stop").collect();
    assert_eq!(stops.len(), 1);
    assert_eq!(
        (stops[0].by, stops[0].target.as_deref(), stops[0].result.as_str()),
        (By::Token, Some("rig-alpha"), "ok")
    );
    assert_eq!(stops[0].who, token.split('_').nth(1).map(str::to_owned));
}

#[tokio::test]
async fn a_fault_after_the_answer_takes_no_result_with_it() {
    let door = Door::new();
    door.node.panic_at_hearing();
    let job = done(&door, &json!({ "verb": "stop", "rigs": ["rig-alpha", "nobody"], "all": true })).await;
    assert_eq!(job["counts"], json!({"waiting": 0, "running": 0, "done": 1, "failed": 1, "unknown": 0}));
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_can_be_tried_again() {
    let door = Door::new();
    let name = || "desk".parse().unwrap();
    door.node.fail_with(Some(NodeError::Timeout { peer: name(), seconds: 30 }));
    let job = done(&door, &json!({ "verb": "restart", "rigs": ["desk"] })).await;
    assert_eq!((&job["rigs"][0]["state"], &job["rigs"][0]["code"]), (&json!("unknown"), &json!("timeout")));
    assert_eq!(door.node.recorded().pop().unwrap().result, "timeout");
    door.node.fail_with(None);
    door.node.register(peer(0, "desk"));
    let id = job["id"].as_str().unwrap();
    let again = door.local(knock("POST", &format!("/jobs/{id}/retry"))).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.body);
    let again = ended(&door, again.body["id"].as_str().unwrap()).await;
    assert_eq!((&again["verb"], &again["rigs"][0]["state"]), (&json!("restart"), &json!("done")));
    let nothing_left = format!("/jobs/{}/retry", again["id"].as_str().unwrap());
    assert_problem(&door.local(knock("POST", &nothing_left)).await, Code::Conflict);
    let listed = door.local(knock("GET", "/jobs?limit=1")).await.body;
    assert_eq!((&listed["jobs"][0]["id"], &listed["total"], &listed["next"]), (&again["id"], &json!(2), &again["id"]));
    let older = format!("/jobs?after={}", again["id"].as_str().unwrap());
    assert_eq!(door.local(knock("GET", &older)).await.body["jobs"][0]["id"], job["id"]);
}

#[tokio::test]
async fn a_job_starts_and_deploys_as_single_commands_do() {
    let door = Door::new();
    door.local(knock("POST", "/profiles").json(&monero())).await;
    let deployed = done(&door, &json!({ "verb": "deploy", "rigs": ["rig-alpha"], "profile": "monero" })).await;
    assert_eq!((&deployed["profile"], &deployed["rigs"][0]["detail"]), (&json!("monero"), &json!("profile monero")));
    let body = json!({ "verb": "start", "rigs": ["rig-alpha"], "profile": "monero", "from": "here" });
    let started = done(&door, &body).await;
    assert_eq!(started["rigs"][0]["detail"], "xmrig-1 is mining (was so already)");
    assert!(!started.to_string().contains("hunter"), "passwords stay inside");
    let pinged = done(&door, &json!({ "verb": "ping", "rigs": ["rig-alpha"] })).await;
    assert_eq!(pinged["rigs"][0]["detail"], "1.5 ms");
    let actions: Vec<_> = door.node.recorded().into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["add-profile", "deploy", "start"]);
    let said = door.node.recorded().pop().unwrap().detail;
    let told = "profile monero at pool.example:3333, xmrig-1 is mining (was so already)";
    assert_eq!(said.as_deref(), Some(told), "where it mines to is in the log");
}

#[tokio::test]
async fn a_profile_that_was_corrected_is_sent_along_when_a_job_is_tried_again() {
    let door = Door::new();
    door.local(knock("POST", "/profiles").json(&monero())).await;
    let body = json!({ "verb": "start", "rigs": ["rig-alpha", "desk"], "profile": "monero", "from": "here" });
    let job = done(&door, &body).await;
    assert_eq!(job["counts"]["failed"], 1);
    let mut corrected = monero();
    corrected["pools"][0]["url"] = json!("better.example:3333");
    let name = corrected.as_object_mut().unwrap().remove("name").unwrap();
    let path = format!("/profiles/{}", name.as_str().unwrap());
    assert_eq!(door.local(knock("PUT", &path).json(&corrected)).await.status, StatusCode::OK);
    door.node.register(peer(0, "desk"));
    let retry = format!("/jobs/{}/retry", job["id"].as_str().unwrap());
    let again = door.local(knock("POST", &retry)).await;
    let again = ended(&door, again.body["id"].as_str().unwrap()).await;
    assert_eq!(again["counts"]["done"], 1, "{again}");
    let sent = format!("{:?}", door.node.commands().pop().unwrap());
    assert!(sent.contains("better.example"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_rig_that_was_removed_keeps_its_name_when_it_is_tried_again() {
    let door = Door::new();
    door.node.register(peer(9, "silent-9"));
    let begun = door.local(knock("POST", "/jobs").json(&json!({ "verb": "restart", "rigs": ["silent-9"] }))).await.body;
    let id = begun["id"].as_str().unwrap();
    let path = format!("/jobs/{id}");
    while door.local(knock("GET", &path)).await.body["counts"]["running"] != 1 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(crate::surround::REQUEST_TIMEOUT).await;
    let job = ended(&door, id).await;
    assert_eq!(job["rigs"][0]["code"], "timeout");
    door.local(knock("DELETE", "/peers/silent-9")).await;
    let retry = format!("/jobs/{}/retry", job["id"].as_str().unwrap());
    let again = door.local(knock("POST", &retry)).await.body;
    let rig = &again["rigs"][0];
    assert_eq!((&rig["name"], &rig["id"]), (&json!("silent-9"), &json!("0000000000000009")));
    assert_eq!(rig["code"], "unknown-peer");
}

#[tokio::test]
async fn a_job_for_one_rig_does_not_wait_for_a_large_one_that_gets_no_answer() {
    let door = Door::new();
    let silent: Vec<_> = (100..250).map(|number| format!("silent-{number}")).collect();
    (100..250).zip(&silent).for_each(|(number, name)| door.node.register(peer(number, name)));
    let large = json!({ "verb": "stop", "rigs": silent, "all": true });
    let large = door.local(knock("POST", "/jobs").json(&large)).await.body;
    let small = done(&door, &json!({ "verb": "stop", "rigs": ["rig-alpha"], "all": true })).await;
    assert_eq!(small["counts"]["done"], 1);
    let large = format!("/jobs/{}", large["id"].as_str().unwrap());
    let large = door.local(knock("GET", &large)).await.body;
    assert_eq!((&large["counts"]["running"], &large["counts"]["unknown"]), (&json!(65), &json!(0)), "{large}");
}

#[tokio::test]
async fn what_a_job_cannot_take_is_refused_before_any_rig_is_asked() {
    let door = Door::new();
    let rigs = json!(["rig-alpha"]);
    let many: Vec<_> = (0..10_001).map(|n| format!("rig-{n}")).collect();
    let mut crowded = monero();
    crowded["threads"] = json!(4097);
    for body in [
        json!({ "verb": "dance", "rigs": rigs }),
        json!({ "verb": "stop", "rigs": [] }),
        json!({ "verb": "stop", "rigs": [""] }),
        json!({ "verb": "stop", "rigs": ["x".repeat(65)] }),
        json!({ "verb": "stop", "rigs": many }),
        json!({ "verb": "stop", "rigs": rigs, "profile": "monero" }),
        json!({ "verb": "ping", "rigs": rigs, "miner": "xmrig-1" }),
        json!({ "verb": "restart", "rigs": rigs, "all": true }),
        json!({ "verb": "stop", "rigs": rigs, "all": true, "miner": "xmrig-1" }),
        json!({ "verb": "deploy", "rigs": rigs, "profile": "monero", "from": "here" }),
        json!({ "verb": "deploy", "rigs": rigs, "profile": monero() }),
        json!({ "verb": "start", "rigs": rigs }),
        json!({ "verb": "start", "rigs": rigs, "profile": crowded }),
    ] {
        assert_problem(&door.local(knock("POST", "/jobs").json(&body)).await, Code::Invalid);
    }
    let unknown = json!({ "verb": "deploy", "rigs": rigs, "profile": "nothing" });
    assert_problem(&door.local(knock("POST", "/jobs").json(&unknown)).await, Code::UnknownProfile);
    assert_problem(&door.local(knock("GET", "/jobs/nothing")).await, Code::UnknownJob);
    assert_problem(&door.local(knock("POST", "/jobs/nothing/retry")).await, Code::UnknownJob);
    assert_problem(&door.local(knock("GET", "/jobs?limit=1001")).await, Code::Invalid);
    assert!(door.node.commands().is_empty());
    let token = door.token("read").await;
    let stop = json!({ "verb": "stop", "rigs": rigs });
    assert_problem(&door.ask(knock("POST", "/jobs").token(&token).json(&stop)).await, Code::ScopeTooSmall);
    assert_eq!(door.ask(knock("GET", "/jobs").token(&token)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_largest_job_fits_one_request() {
    let door = Door::new();
    let rigs: Vec<_> = (0..10_000).map(|n| format!("{n:063}")).collect();
    let job = done(&door, &json!({ "verb": "ping", "rigs": rigs })).await;
    assert_eq!(job["counts"]["failed"], 10_000);
}

#[tokio::test]
async fn a_node_that_stops_asks_nobody_any_more() {
    let door = Door::new();
    door.stop.cancel();
    let job = done(&door, &json!({ "verb": "stop", "rigs": ["rig-alpha"] })).await;
    assert_eq!((&job["rigs"][0]["state"], &job["rigs"][0]["code"]), (&json!("failed"), &json!("shutting-down")));
    assert!(door.node.commands().is_empty());
}
