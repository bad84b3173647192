//! The dashboard's door as an operator opens it: to this machine, to a LAN, with a password from a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use miner_ctrl_tests::{DEADLINE, Home};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Asks in plain HTTP for the page, and gives the head of the answer.
async fn knock(port: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("it listens");
    let request = format!("GET /api/v1/mining/health HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("it answers").expect("text");
    answer
}

fn port(page: &str) -> &str {
    page.rsplit(':').next().expect("a port")
}

#[tokio::test]
async fn a_page_for_the_lan_has_tls_and_one_certificate_that_is_told_everywhere() {
    let home = Home::init("desk", "controller").await;
    let lan = ["--dashboard", "0.0.0.0:0", "--link"];
    let node = home.serve_with(&lan).await;
    let (page, certificate) = (node.line("dashboard").to_owned(), node.line("certificate").to_owned());
    assert!(page.starts_with("https://") && node.line("sign in once").starts_with(&page), "{page}");
    let fingerprint = certificate.strip_prefix("SHA-256 ").expect("a fingerprint");
    assert_eq!(fingerprint.split(':').count(), 32, "{fingerprint}");
    let file = home.node_dir().join("dashboard.pem");
    assert_eq!(fs::metadata(&file).expect("it is kept").permissions().mode() & 0o777, 0o600);
    assert_eq!(home.json("node info").await["certificate"], fingerprint);
    assert_eq!(home.json("ui").await["certificate"], fingerprint);
    assert!(home.run("ui").await.done().contains(fingerprint));
    let answer = knock(port(&page)).await;
    let elsewhere = format!("\r\nlocation: https://127.0.0.1:{}/api/v1/mining/health\r\n", port(&page));
    assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains(&elsewhere), "{answer}");
    assert!(node.terminate().await.success());
    let node = home.serve_with(&lan).await;
    assert_eq!(node.line("certificate"), certificate, "it outlives the process");
    drop(node);
    let own = file.to_str().expect("a plain path").to_owned();
    let copy = Home::init("desk", "controller").await.with_variable("MINER_CTRL_TLS_CERTIFICATE", own);
    let node = copy.serve_with(&["--dashboard", "127.0.0.1:0"]).await;
    assert_eq!(node.line("certificate"), certificate, "a named file is served, on loopback too");
    assert!(!copy.node_dir().join("dashboard.pem").exists());
}

#[tokio::test]
async fn without_tls_and_without_a_way_in_it_says_so() {
    let home = Home::init("desk", "controller").await;
    let serve = "node serve --listen 127.0.0.1:0 --dashboard";
    let _ = home.run(&format!("{serve} 0.0.0.0:0")).await.fails(5, &["neither a password nor a token", "--link"]);
    let node = home.serve_with(&["--dashboard", "127.0.0.1:0"]).await;
    assert!(node.line("dashboard").starts_with("http://127.0.0.1:"));
    assert!(!node.said().contains("certificate:"));
    assert!(knock(port(node.line("dashboard"))).await.starts_with("HTTP/1.1 200 "));
    drop(node);
    let node = home.serve_with(&["--dashboard", "0.0.0.0:0", "--link", "--insecure-http"]).await;
    assert!(knock(port(node.line("dashboard"))).await.starts_with("HTTP/1.1 200 "));
    assert!(node.log().contains("served without TLS"), "{}", node.log());
    drop(node);
    let damaged = home.write("damaged.pem", "not PEM");
    let home = home.with_variable("MINER_CTRL_TLS_CERTIFICATE", damaged);
    let _ = home.run(&format!("{serve} 127.0.0.1:0")).await.fails(2, &["damaged.pem", "no certificate in it"]);
}

#[tokio::test]
async fn a_password_comes_from_a_file() {
    let home = Home::init("desk", "controller").await;
    let file = home.write("password", "short\n");
    let home = home.with_variable("MINER_CTRL_PASSWORD_FILE", &file);
    let serve = "node serve --listen 127.0.0.1:0 --dashboard 0.0.0.0:0";
    let _ = home.run(serve).await.fails(2, &["password", "fewer than 10 characters"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o602)).expect("it is ours");
    let _ = home.run(serve).await.fails(2, &["may be changed by others", "chmod 600"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    home.write("password", "correct horse battery\n");
    // It can be signed in to now, so that it is served.
    let node = home.serve_with(&["--dashboard", "0.0.0.0:0"]).await;
    drop(node);
    let node = home.serve_with(&["--dashboard", "0.0.0.0:0"]).await;
    assert!(!node.log().contains("correct horse"), "{}", node.log());
    let activity = fs::read(home.node_dir().join("miner-ctrl.db")).expect("the database");
    assert!(!activity.windows(13).any(|bytes| bytes == b"correct horse"));
}
