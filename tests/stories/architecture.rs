//! The house's walls, checked over the sources: which crate may use which, and which room may touch what from outside.
//!
//! Sources are read without comments and texts. Tests and benches are exempt, wherever they stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates in the order in which they may use each other: each those before it, never one behind it.
const CRATES: [(&str, &str); 4] = [
    ("protocol", "miner-ctrl-protocol"),
    ("dashboard", "miner-ctrl-dashboard"),
    ("node", "miner-ctrl"),
    ("tests", "miner-ctrl-tests"),
];

/// Outside crates, and the only places that may name them.
const ROOMS: [(&[&str], &[&str]); 10] = [
    (&["libp2p"], &["node/src/mesh/"]),
    (
        &[
            "chacha20poly1305",
            "crrl",
            "curve25519_dalek",
            "ed25519_dalek",
            "graviola",
            "hkdf",
            "hmac",
            "spake2",
            "x25519_dalek",
        ],
        &["protocol/src/smsg/", "protocol/src/id.rs"],
    ),
    // The gateway keeps hashes of links, sessions and tokens, and names the page's files and its certificate by theirs.
    (
        &["sha2", "subtle"],
        &[
            "protocol/src/smsg/",
            "protocol/src/id.rs",
            "dashboard/src/access/",
            "dashboard/src/assets.rs",
            "dashboard/src/tls.rs",
        ],
    ),
    (&["rcgen", "rustls", "tokio_rustls", "x509_cert"], &["dashboard/src/tls.rs", "dashboard/src/connection.rs"]),
    (&["cbor4ii"], &["protocol/src/codec.rs"]),
    (&["rusqlite"], &["node/src/store/"]),
    // The engine hands the dashboard's router from the node to the command line's client.
    (&["axum"], &["dashboard/src/", "node/src/cli/engine.rs", "node/src/control/"]),
    (&["clap", "clap_complete", "comfy_table", "indicatif"], &["node/src/cli/"]),
    (&["anstream"], &["node/src/cli/render.rs"]),
    // What the API promises; the protocol crate stays free of schemas.
    (&["schemars"], &["dashboard/src/"]),
];

/// Where child processes are started.
const PROCESSES: [&str; 3] = ["node/src/miners/process.rs", "node/src/cli/editor.rs", "node/src/cli/fleet.rs"];

/// Where something may be printed. The stand-in is a mining program of its own, with a console.
const PRINTERS: [&str; 2] = ["node/src/cli/render.rs", "node/src/simulate/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// A source file: its path from the workspace, and its code.
struct Source {
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: without_tests(&plain(text)) }
    }

    fn lives_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }

    /// Whether it names the crate: in a `use`, or as the head of a path.
    fn names(&self, name: &str) -> bool {
        let found = |place: usize| {
            let (before, after) = (&self.code[..place], &self.code[place + name.len()..]);
            let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
            // `::name` from the root is the crate; `other::name` is somebody else's.
            let head = before.strip_suffix("::").is_none_or(|path| apart(path.chars().next_back()));
            let used = after.starts_with("::") || before.ends_with("use ");
            apart(before.chars().next_back()) && apart(after.chars().next()) && head && used
        };
        self.code.match_indices(name).any(|(place, _)| found(place))
    }

    fn has(&self, text: &str) -> bool {
        self.code.contains(text)
    }
}

/// The code without comments, and with empty texts.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            length_of_text(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find('\'').map_or(rest.len(), |end| end + 2)
        } else {
            plain.push(c);
            c.len_utf8()
        };
        rest = &rest[skipped..];
    }
    plain
}

fn length_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// `tests` stand last in a file, and so does everything that only they need.
fn without_tests(code: &str) -> String {
    code.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// Files of tests: in folders of their own, or beside the code under a name that says so.
fn is_test(path: &str) -> bool {
    let exempt = ["/tests/", "/benches/", "/fuzz/"];
    exempt.iter().any(|folder| path.contains(folder)) || path.ends_with("tests.rs")
}

fn collect(directory: &Path, root: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("a folder of sources").flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).expect("below the root").to_str().expect("a plain name").to_owned();
        if path.is_dir() {
            collect(&path, root, sources);
        } else if name.ends_with(".rs") && !is_test(&name) {
            sources.push(Source::new(&name, &fs::read_to_string(&path).expect("a source file")));
        }
    }
}

fn sources() -> Vec<Source> {
    let (root, mut sources) = (root(), Vec::new());
    for (folder, _) in &CRATES[..3] {
        collect(&root.join(folder).join("src"), &root, &mut sources);
    }
    assert!(sources.len() > 80, "only {} sources were found", sources.len());
    sources
}

/// Every breach of a wall in `sources`, as a sentence.
fn breaches(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources {
        let path = &source.path;
        let own = CRATES.iter().position(|(folder, _)| path.starts_with(&format!("{folder}/")));
        let own = own.unwrap_or_else(|| panic!("{path} belongs to no crate"));
        for (_, name) in &CRATES[own + 1..] {
            if source.names(&name.replace('-', "_")) {
                breaches.push(format!("{path} uses {name}, which may use it"));
            }
        }
        for (names, places) in ROOMS {
            for name in names.iter().filter(|name| source.names(name) && !source.lives_in(places)) {
                breaches.push(format!("{path} names {name}, which belongs into {}", places.join(", ")));
            }
        }
        for print in ["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout()", "io::stderr()"] {
            // Whether stderr is a terminal may be asked anywhere in the command line.
            let asked = source.code.replace("io::stderr().is_terminal()", "");
            if asked.contains(print) && !source.lives_in(&PRINTERS) {
                breaches.push(format!("{path} prints by {print}"));
            }
        }
        if source.has("Command::new(") && !source.lives_in(&PROCESSES) {
            breaches.push(format!("{path} starts a process"));
        }
        if source.code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
            breaches.push(format!("{path} is unsafe"));
        }
        if source.has("#[allow(") || source.has("#![allow(") {
            breaches.push(format!("{path} allows a lint without a reason"));
        }
    }
    breaches
}

#[test]
fn every_room_keeps_its_walls() {
    let breaches = breaches(&sources());
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn a_broken_wall_is_noticed() {
    for (path, code) in [
        ("node/src/handle.rs", "use libp2p::PeerId;"),
        ("node/src/handle.rs", "fn f(id: ::libp2p::PeerId) {}"),
        ("node/src/mesh/link.rs", "fn f() { sha2::Sha256::new(); }"),
        ("protocol/src/message.rs", "use cbor4ii::serde;"),
        ("protocol/src/message.rs", "use miner_ctrl_dashboard::Node;"),
        ("dashboard/src/router.rs", "fn f() { miner_ctrl::node::start() }"),
        ("node/src/fleet/task.rs", "use rusqlite::Connection;"),
        ("node/src/worker.rs", "use axum::Router;"),
        ("node/src/config.rs", "use clap::Args;"),
        ("node/src/cli/view.rs", "fn f() { println!(\"x\") }"),
        ("node/src/worker.rs", "fn f() { std::process::Command::new(\"x\"); }"),
        ("node/src/store/atomic.rs", "fn f() { unsafe { g() } }"),
        ("node/src/store/atomic.rs", "#[allow(dead_code)] fn f() {}"),
    ] {
        assert_eq!(breaches(&[Source::new(path, code)]).len(), 1, "{path}: {code}");
    }
    for (path, code) in [
        ("node/src/mesh/link.rs", "use libp2p::Stream;"),
        ("node/src/handle.rs", "// use libp2p::PeerId;\nfn f() { g(\"use libp2p::x; unsafe\") }"),
        ("node/src/handle.rs", "use crate::mesh::libp2p_words;"),
        ("node/src/worker.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use axum::Router; }"),
    ] {
        assert_eq!(breaches(&[Source::new(path, code)]), [""; 0], "{path}: {code}");
    }
}

/// Names under `[dependencies]` of a crate's manifest; what only tests need does not count.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    let section = manifest.split("\n[dependencies]\n").nth(1).expect("a crate has dependencies");
    let section = section.split("\n[").next().expect("a section");
    let names = section.lines().filter(|line| !line.starts_with('#'));
    names
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_use_only_those_before_them() {
    for (place, (folder, name)) in CRATES.iter().enumerate() {
        let used = dependencies(folder);
        assert!(!used.is_empty(), "{folder}");
        for (_, other) in &CRATES[place..] {
            assert!(!used.contains(*other), "{name} uses {other}");
        }
    }
}

#[test]
fn a_crate_depends_on_nothing_that_its_rooms_may_not_touch() {
    for (folder, forbidden) in [
        ("protocol", &["axum", "clap", "libp2p", "rusqlite", "tokio", "tokio-util", "futures"][..]),
        ("dashboard", &["cbor4ii", "chacha20poly1305", "clap", "ed25519-dalek", "libp2p", "rusqlite", "x25519-dalek"]),
        ("node", &["cbor4ii", "chacha20poly1305", "ed25519-dalek", "hkdf", "sha2", "spake2", "x25519-dalek"]),
    ] {
        let used = dependencies(folder);
        let breaches: Vec<_> = forbidden.iter().filter(|name| used.contains(**name)).collect();
        assert!(breaches.is_empty(), "{folder} depends on {breaches:?}");
    }
}

#[test]
fn the_house_has_the_crates_that_the_plan_names_and_none_is_unsafe() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    assert!(manifest.contains(r#"members = ["protocol", "dashboard", "node", "tests"]"#));
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for (folder, _) in CRATES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder} keeps the workspace's lints");
    }
}
