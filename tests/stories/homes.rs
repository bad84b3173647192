//! Homes that are no node's yet, that may not be written to, or that are another user's: what commands and `doctor` say.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on says where")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use miner_ctrl_tests::Home;

/// The user `nobody`, wherever there is one.
const NOBODY: u32 = 65_534;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whom the system lets do anything: only such a user can give a file away, and only another is kept out of one.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An empty home in which `doctor` finds no port taken, whatever else runs on this machine.
fn empty() -> Home {
    Home::empty().with_variable("MINER_CTRL_LISTEN", "off").with_variable("MINER_CTRL_DASHBOARD", "off")
}

/// An empty home of a user whom modes keep out.
fn home_of_no_root() -> Home {
    let home = empty();
    if !is_root() {
        return home;
    }
    chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    home.by_user(NOBODY)
}

/// What `doctor` says and how it ends.
async fn doctor(home: &Home) -> (Option<i32>, String) {
    let ran = home.run("doctor").await;
    (ran.code, ran.stdout)
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_to_is_named_with_the_command_that_opens_it() {
    let home = home_of_no_root();
    let data = home.path().join(".local/share/lethean-desktop");
    mode(home.path(), 0o555);
    let remedy = format!("chmod u+rwx {}", home.path().display());
    for line in ["remote status", "node init --name rig-alpha", "node serve"] {
        home.run(line).await.fails(1, &["Permission denied", &remedy]);
    }
    let (code, said) = doctor(&home).await;
    assert!(code == Some(1) && said.matches(&remedy).count() == 2, "both directories would be made there: {said}");
    mode(home.path(), 0o755);

    let home = home.initialised("rig-alpha", "worker").await;
    for directory in [home.config_dir(), data.clone(), data.join("node")] {
        assert_eq!(doctor(&home).await.0, Some(0));
        mode(&directory, 0o500);
        let (code, said) = doctor(&home).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("chmod u+rwx {}", directory.display())), "{said}");
        mode(&directory, 0o700);
    }
    mode(&data, 0o500);
    home.run("node serve --listen 127.0.0.1:0").await.fails(1, &["miners", "miner-ctrl doctor"]);
    mode(&data, 0o700);
    mode(&home.config_dir(), 0o500);
    let add = "profile add p --program xmrig --algorithm rx/0 --pool pool.example:1 --wallet W";
    home.run(add).await.fails(1, &["Permission denied", "hint: `miner-ctrl doctor`"]);
    mode(&home.config_dir(), 0o700);

    mode(&home.node_dir(), 0o777);
    let (code, said) = doctor(&home).await;
    let remedy = format!("→ chmod 700 {}", home.node_dir().display());
    assert!(code == Some(1) && said.matches("→ chmod").count() == said.matches(&remedy).count(), "{said}");
    assert!(said.contains(&remedy) && !said.contains("restore"), "{said}");
}

#[tokio::test]
async fn a_database_of_another_user_is_named_with_the_command_that_gives_it_back() {
    if !is_root() {
        return;
    }
    let home = home_of_no_root().initialised("rig-alpha", "worker").await;
    let database = home.node_dir().join("miner-ctrl.db");
    chown(&database, Some(0), Some(0)).unwrap();
    let remedy = format!("chown {NOBODY} {}", database.display());
    for line in ["remote status", "node serve"] {
        home.run(line).await.fails(1, &["belongs to user 0 (root), this is user 65534", &remedy]);
    }
    let (code, said) = doctor(&home).await;
    assert!(code == Some(1) && said.contains(&remedy), "{said}");
    chown(&database, Some(NOBODY), Some(NOBODY)).unwrap();
    let _ = home.run("remote status").await.done();
}

#[tokio::test]
async fn a_home_with_a_file_in_its_way_is_said_to_be_one_by_every_command() {
    let home = empty();
    let file = home.write(".config", "").display().to_string();
    let says = format!("`{file}` is not a directory");
    for line in ["node info", "remote status", "node init --name rig-alpha", "node serve", "profile list"] {
        home.run(line).await.fails(2, &[&says, "hint: choose another --home"]);
    }
    let (code, said) = doctor(&home).await;
    assert!(code == Some(1) && said.contains(&says) && said.matches('✗').count() == 1, "{said}");
}

#[tokio::test]
async fn another_users_home_is_said_to_be_that_users_by_every_command() {
    if !is_root() {
        return;
    }
    let roots = empty().initialised("rig-alpha", "worker").await.by_user(NOBODY);
    let nobodys = home_of_no_root().initialised("rig-beta", "worker").await;
    // Root's, in a home that all may look into and in one that they may not; and another's, by root.
    let seen = async |home: &Home, whose: &str| {
        for line in ["remote status", "profile list", "node init --name rig-gamma", "node serve", "pair"] {
            home.run(line).await.fails(4, &[whose, "hint: run as that user, or choose another --home"]);
        }
        let (code, said) = doctor(home).await;
        assert!(code == Some(4) && said.contains(whose) && said.matches('✗').count() == 1, "{said}");
        assert_eq!(said.lines().filter(|line| !line.starts_with(' ')).count(), 1, "no more is said: {said}");
    };
    for open in [0o755, 0o700] {
        mode(roots.path(), open);
        seen(&roots, "this home belongs to user 0 (root)").await;
    }
    let copy = empty().with_copy_of(&nobodys);
    copy.run("node serve").await.fails(4, &["this home belongs to user 65534"]);
    assert_eq!(doctor(&copy).await.0, Some(4));
}

#[tokio::test]
async fn a_node_that_was_started_before_it_was_named_is_named_by_node_init() {
    let home = empty();
    home.run("pair").await.fails(6, &["node init --name NAME --role ROLE"]);
    assert!(doctor(&home).await.1.contains("node init --name NAME --role ROLE`, then start it"));
    let node = home.serve().await;
    let [id, before] = ["node id", "name"].map(|label| node.line(label).to_owned());
    let named = home.run("node init --name rig-alpha --role worker").await;
    assert!(named.stderr.contains(&before) && named.stderr.contains("from its next start on"), "{named:#?}");
    assert!(named.done().contains(&id));
    assert!(node.terminate().await.success());
    for asked in ["node init --name rig-alpha --role worker", "node init --name rig-alpha"] {
        let again = home.run(asked).await;
        assert!(again.stderr.contains("already node rig-alpha"), "{again:#?}");
        assert!(again.done().contains(&id));
    }
    home.run("pair").await.fails(6, &["hint: start it with `miner-ctrl node serve`"]);
    let node = home.serve().await;
    assert_eq!((node.line("name"), node.line("role"), node.line("node id")), ("rig-alpha", "worker", id.as_str()));
    home.run("node init --name rig-beta").await.fails(5, &["rig-alpha", "node.json", "--home"]);
}

#[tokio::test]
async fn a_lost_node_json_is_written_by_node_init_for_the_key_that_is_there() {
    let home = empty().initialised("rig-alpha", "worker").await;
    let key = home.key();
    fs::remove_file(home.config_dir().join("node.json")).unwrap();
    let (code, said) = doctor(&home).await;
    assert!(code == Some(1) && said.contains("node init --name NAME --role ROLE`, which keeps the key"), "{said}");
    assert!(!home.config_dir().join("node.json").exists(), "it only looks");
    let _ = home.run("node init --name rig-alpha --role worker").await.done();
    assert!(doctor(&home).await.0 == Some(0) && home.key() == key);
}

#[tokio::test]
async fn what_node_serve_would_not_start_for_doctor_finds() {
    let given = |name, value: &str| empty().with_variable(name, value);
    let page = |name, value: &str| {
        given(name, value).with_variable("MINER_CTRL_DASHBOARD", "127.0.0.1:0").with_variable("MINER_CTRL_TLS", "on")
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let short = empty();
    let password = short.write("password", "short\n");
    for (home, exit, says) in [
        (given("MINER_CTRL_LISTEN", "nowhere"), 2, "`nowhere`"),
        (given("MINER_CTRL_DASHBOARD", "nowhere"), 2, "`nowhere` is no address to listen on"),
        (given("MINER_CTRL_DASHBOARD", &taken), 1, "cannot listen on 127.0.0.1"),
        (page("MINER_CTRL_TLS_CERTIFICATE", "/none.pem"), 2, "there is no file `/none.pem`"),
        (page("MINER_CTRL_PASSWORD_FILE", "/none"), 2, "there is no file `/none`"),
        (page("MINER_CTRL_PASSWORD_FILE", &password.display().to_string()), 2, "fewer than 10 characters"),
    ] {
        let refused = home.run("node serve").await.fails(exit, &[says]);
        let (code, said) = doctor(&home).await;
        assert!(code == Some(1) && said.contains(says), "{refused}: {said}");
    }
    let home = page("MINER_CTRL_PAIRING", "off").initialised("rig-alpha", "dual").await;
    for (name, exit, says) in
        [("lock", 1, "cannot lock"), ("control.sock", 1, "is not a socket"), ("dashboard.pem", 2, "is open to others")]
    {
        let path = home.node_dir().join(name);
        let _ = fs::remove_file(&path);
        if name == "dashboard.pem" {
            fs::File::create(&path).unwrap();
            mode(&path, 0o644);
        } else {
            fs::create_dir(&path).unwrap();
        }
        home.run("node serve").await.fails(exit, &[says]);
        let (code, said) = doctor(&home).await;
        assert!(code == Some(1) && said.contains(says) && said.matches('✗').count() == 1, "{said}");
        if path.is_dir() {
            fs::remove_dir(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        let (code, said) = doctor(&home).await;
        assert!(code == Some(0) && said.contains("✓ dashboard     127.0.0.1:0 is free"), "{said}");
        assert!(!path.exists(), "it only looks");
    }
}

#[tokio::test]
async fn a_page_that_nobody_could_sign_in_to_is_noted_until_somebody_can() {
    let home = empty().with_variable("MINER_CTRL_DASHBOARD", "0.0.0.0:0").initialised("rig-alpha", "dual").await;
    let (code, said) = doctor(&home).await;
    assert!(code == Some(0) && said.contains("! dashboard     0.0.0.0:0 can be reached by other machines"), "{said}");
    let _ = home.run("token add script").await.done();
    assert!(doctor(&home).await.1.contains("✓ dashboard     0.0.0.0:0 is free"));
}

#[tokio::test]
async fn a_program_that_is_named_and_is_none_is_wrong_and_a_controller_needs_none() {
    let name =
        |home: Home| home.with_variable("MINER_CTRL_XMRIG", "/nope").with_variable("MINER_CTRL_DASHBOARD", "off");
    let rig = name(empty()).initialised("rig-alpha", "worker").await;
    let (code, said) = doctor(&rig).await;
    assert!(code == Some(1) && said.contains("✗ program       no xmrig: MINER_CTRL_XMRIG names `/nope`"), "{said}");
    let node = rig.serve_with(&[]).await;
    assert!(node.log().contains("MINER_CTRL_XMRIG names `/nope`, which is not there"), "{}", node.log());
    let controller = name(empty()).initialised("control-center", "controller").await;
    let (code, said) = doctor(&controller).await;
    assert!(code == Some(0) && !said.contains("program") && !said.contains("huge pages"), "{said}");
}
