//! One node's directory, and the command line run on it as its operator would.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use miner_ctrl_protocol::PeerKey;
use miner_ctrl_protocol::smsg::NodeSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::lan::Host;
use crate::processes::{kill, miners_under};
use crate::serving::Serving;

/// No command may take longer: the longest wait of its own is 30 s.
const LONGEST: Duration = Duration::from_secs(90);

/// Ports that no system gives out by itself (Linux has 32768 to 60999 for that): a node that comes back must find its
/// own port free, whatever connections other tests have opened meanwhile.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Ports that one test program starts its search after, so that programs side by side do not race for the same.
const PORTS_OF_A_PROGRAM: u32 = 64;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// The program under test: `MINER_CTRL_BIN`, or the one built beside this test.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn program() -> PathBuf {
    let built = || {
        let test = std::env::current_exe().expect("this program has a file");
        test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").join("miner-ctrl")
    };
    let program = std::env::var_os("MINER_CTRL_BIN").map_or_else(built, PathBuf::from);
    assert!(program.is_file(), "no program at {}: build it with `cargo build -p miner-ctrl`", program.display());
    program
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line, for the reader of a failure.
    pub line: String,
    /// Its exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ran {
    /// What it printed, when it was done.
    ///
    /// # Panics
    /// When it was not.
    #[must_use]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// The document that it printed, when it was done.
    ///
    /// # Panics
    /// When it was not, or when it printed something else.
    #[must_use]
    pub fn json(self) -> Value {
        let line = self.line.clone();
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{line}` printed no JSON ({error}): {text}"))
    }

    /// What it complained of, when it ended with this code and said each of `words`.
    ///
    /// # Panics
    /// When it did not.
    #[expect(clippy::must_use_candidate, reason = "it is an assertion first")]
    pub fn fails(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing: {self:#?}");
        }
        self.stderr
    }
}

/// A node's home directory. Whatever becomes of the test, no miner that was started under it survives it.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    host: Option<Host>,
    port: u16,
    faults: String,
    variables: Vec<(OsString, OsString)>,
    user: Option<OtherUser>,
}

/// Another user of this machine, and a copy of the program where that one can reach it.
#[derive(Debug)]
struct OtherUser {
    id: u32,
    program: TempDir,
}

impl Home {
    /// An empty one, for a node that is not yet one.
    ///
    /// # Panics
    /// When there is no room, or no port.
    #[must_use]
    pub fn empty() -> Self {
        // Short, since the local socket's path may have 103 bytes.
        let directory = tempfile::Builder::new().prefix("mc-").tempdir().expect("a temporary directory");
        Self { directory, host: None, port: free_port(), faults: "warmup:1".into(), variables: Vec::new(), user: None }
    }

    /// On a host of a network of the test's own: its node serves there, and commands still come from here.
    #[must_use]
    pub fn on(mut self, host: &Host) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// The home of a new node.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn init(name: &str, role: &str) -> Self {
        Self::empty().initialised(name, role).await
    }

    /// The same home, now of a new node.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn initialised(self, name: &str, role: &str) -> Self {
        let _ = self.run(&format!("node init --name {name} --role {role}")).await.done();
        self
    }

    /// All that lies in another home, as on the copy of a disk.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn with_copy_of(self, other: &Self) -> Self {
        let all = other.path().join(".");
        let copied = std::process::Command::new("cp").arg("--archive").arg(all).arg(self.path()).status();
        assert!(copied.expect("cp is there").success(), "the home is copied");
        self
    }

    /// In place of another node, where that one listened.
    #[must_use]
    pub const fn in_place_of(mut self, other: &Self) -> Self {
        self.port = other.port;
        self
    }

    /// Words for the stand-ins, see `miner-ctrl simulate`; without this they need a second to get going.
    #[must_use]
    pub fn with_faults(mut self, faults: &str) -> Self {
        faults.clone_into(&mut self.faults);
        self
    }

    /// An environment variable for every command here.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The same, with every command by this user. For root alone.
    ///
    /// # Panics
    /// When the program cannot be copied to where that user reaches it.
    #[must_use]
    pub fn by_user(mut self, id: u32) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        // By another process: a file that this one has open for writing goes to whatever it starts beside, and is busy then.
        let copied = Command::new("cp").arg(program()).arg(place.path().join("miner-ctrl")).status();
        assert!(copied.expect("cp is there").success(), "the program is copied");
        self.user = Some(OtherUser { id, program: place });
        self
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where its node listens, as `host:port`; the same after each restart.
    #[must_use]
    pub fn address(&self) -> String {
        let host = self.host.as_ref().map_or(Ipv4Addr::LOCALHOST, |host| host.address);
        format!("{host}:{}", self.port)
    }

    /// The port that its node listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory with node.json and the profiles.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.path().join(".config/lethean-desktop")
    }

    /// The directory with the key and the database.
    #[must_use]
    pub fn node_dir(&self) -> PathBuf {
        self.path().join(".local/share/lethean-desktop/node")
    }

    /// The public key of its node.
    ///
    /// # Panics
    /// When no node was made there.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        let seed = std::fs::read(self.node_dir().join("private.key")).expect("a key file");
        NodeSecret::from_seed(&seed).expect("a seed").public()
    }

    /// The socket at which its node is asked.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.node_dir().join("control.sock")
    }

    /// Numbers of the miners that run under it.
    #[must_use]
    pub fn miners(&self) -> Vec<i32> {
        miners_under(self.path()).into_iter().map(|miner| miner.pid).collect()
    }

    /// The same, on its host.
    pub(crate) fn command_there(&self, words: &[&str]) -> Command {
        let command = self.command(words);
        let Some(host) = &self.host else { return command };
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &host.namespace]).arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                there.env(name, value);
            }
        }
        there
    }

    /// `miner-ctrl --home HERE …`, with an environment in which nothing of this machine is left but the path.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.user {
            None => Command::new(program()),
            Some(user) => {
                let mut command = Command::new(user.program.path().join("miner-ctrl"));
                command.uid(user.id).gid(user.id);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("MINER_CTRL_FAULTS", &self.faults)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .arg("--home")
            .arg(self.path())
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line, its words parted by spaces, to its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn run(&self, line: &str) -> Ran {
        self.run_words(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    /// Runs a command line to its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn run_words(&self, words: &[&str]) -> Ran {
        Self::run_to_its_end(self.command(words), words).await
    }

    /// Runs a command line to its end, with this for it to read, or to be saved by its editor.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn run_typing(&self, line: &str, typed: &str) -> Ran {
        Self::run_to_its_end(self.typing(line, typed), &line.split_whitespace().collect::<Vec<_>>()).await
    }

    /// The same, not begun.
    ///
    /// # Panics
    /// When what is typed cannot be kept.
    #[must_use]
    pub fn typing(&self, line: &str, typed: &str) -> Command {
        let mut command = self.command(&line.split_whitespace().collect::<Vec<_>>());
        let typed = std::fs::File::open(self.write("typed", typed)).expect("it was written");
        command.stdin(typed).env("EDITOR", "cat >");
        command
    }

    async fn run_to_its_end(command: Command, words: &[&str]) -> Ran {
        let line = format!("miner-ctrl {}", words.join(" "));
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let ended = timeout(LONGEST, command.output()).await;
        let output = ended.unwrap_or_else(|_| panic!("`{line}` does not end")).expect("the program starts");
        Ran {
            line,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command line that is done, and gives the document that it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} -o json")).await.json()
    }

    /// Names in a list of peers or profiles, e.g. `peer list`, sorted.
    ///
    /// # Panics
    /// When it is no such list, or cannot be had.
    pub async fn names(&self, list: &str) -> Vec<String> {
        let list = self.json(list).await;
        let name = |entry: &Value| entry["name"].as_str().expect("a name").to_owned();
        let mut names: Vec<String> = list.as_array().expect("a list").iter().map(name).collect();
        names.sort_unstable();
        names
    }

    /// Asks its node's own socket for a path of the API, e.g. `/api/v1/mining/node/info`; gives the answer, head and all.
    ///
    /// # Panics
    /// When nobody answers there.
    pub async fn get(&self, path: &str) -> String {
        self.call("GET", path, None).await.expect("an answer")
    }

    /// One request to its node's own socket; gives the answer, head and all.
    ///
    /// # Errors
    /// When nobody answers there, or not to the end.
    ///
    /// # Panics
    /// When the answer does not end.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<String> {
        call(&self.socket(), method, path, body).await
    }

    /// Starts its node with stand-ins for mining programs.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn serve(&self) -> Serving {
        self.serve_with(&["--simulate"]).await
    }

    /// The same beside a command that may have found no node and begun one of its own.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn serve_beside_a_command(&self) -> Serving {
        Serving::start_after_commands(self, &["--simulate"]).await
    }

    /// Starts its node with these further arguments.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn serve_with(&self, words: &[&str]) -> Serving {
        Serving::start(self, words).await
    }

    /// Pairs with a node that serves, by a new code that it shows: this one dials it.
    ///
    /// # Panics
    /// When they do not become peers.
    pub async fn add(&self, other: &Self) {
        let code = other.json("pair").await["code"].as_str().expect("a code").to_owned();
        let _ = self.run(&format!("peer add --address {} --code {code}", other.address())).await.done();
    }

    /// Puts a file there.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        let mut file = std::fs::File::create(&path).expect("the home can be written to");
        file.write_all(text.as_bytes()).expect("the disk has room");
        path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A killed node leaves its miners mining, as it should; the test's end is theirs.
        for miner in miners_under(self.path()) {
            kill(miner.pid);
        }
    }
}

/// One request to the node behind a socket; gives the answer, head and all.
pub(crate) async fn call(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> io::Result<String> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let asked = async {
        let mut socket = UnixStream::connect(socket).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        // Who is killed says nothing at all, or half of it: the head comes in one piece.
        if answer.contains("\r\n\r\n") { Ok(answer) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    };
    timeout(LONGEST, asked).await.expect("an answer ends")
}

/// A port on loopback that nobody listens on.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let length = PORTS.end - PORTS.start;
    let start = u16::try_from(std::process::id() * PORTS_OF_A_PROGRAM % u32::from(length)).expect("below the length");
    let mut ports = std::iter::repeat_with(|| {
        PORTS.start + (start.wrapping_add(NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % length)
    });
    ports
        .by_ref()
        .take(usize::from(length))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of twelve thousand ports is free")
}
