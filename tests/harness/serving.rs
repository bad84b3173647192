//! A node that serves, as a child process.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};

use crate::home::Home;
use crate::processes;
use crate::wait::{DEADLINE, wait_for};

/// What a node says that finds another one at work in its directory.
const KEPT_OUT: &str = "already runs on";

/// A `miner-ctrl node serve`; killed and reaped when dropped, and its log shown when the test failed.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    said: String,
    log: PathBuf,
}

impl Serving {
    pub(crate) async fn start(home: &Home, words: &[&str]) -> Self {
        Self::try_start(home, words).await.unwrap_or_else(|ended| panic!("{ended}"))
    }

    /// The same, when a command may have found no node and begun one of its own: that one keeps others out until it is over.
    pub(crate) async fn start_after_commands(home: &Home, words: &[&str]) -> Self {
        wait_for("no other node keeps this one out", DEADLINE, async || match Self::try_start(home, words).await {
            Ok(serving) => Some(serving),
            Err(ended) if ended.contains(KEPT_OUT) => None,
            Err(ended) => panic!("{ended}"),
        })
        .await
    }

    /// Why it ended, when it does not come up.
    async fn try_start(home: &Home, words: &[&str]) -> Result<Self, String> {
        let address = home.address();
        let line = [&["node", "serve", "--listen", address.as_str()], words].concat();
        // Files and not pipes: nobody has to read them for the node to go on.
        let (said, log) = (home.path().join("serve.out"), home.path().join("serve.log"));
        let child = home
            .command_there(&line)
            .stdout(File::create(&said).expect("the home can be written to"))
            .stderr(File::options().create(true).append(true).open(&log).expect("the home can be written to"))
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut this = Self { child, said: String::new(), log };
        let before = this.log().len();
        // The version is the last of what it says, and a line is whole when it has its end.
        let said = wait_for("the node serves", DEADLINE, async || {
            let text = fs::read_to_string(&said).unwrap_or_default();
            if let Some(ended) = this.child.try_wait().expect("a child can be waited for") {
                let log = this.log();
                return Some(Err(format!("the node ended: {ended:?}\n{}", log.get(before..).unwrap_or(&log))));
            }
            (text.contains("\nversion:") && text.ends_with('\n')).then_some(Ok(text))
        })
        .await?;
        this.said = said;
        Ok(this)
    }

    /// Everything that it said of itself when it started.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.said
    }

    /// What it said under a label, e.g. `node id`.
    ///
    /// # Panics
    /// When it said nothing of the kind.
    #[must_use]
    pub fn line(&self, label: &str) -> &str {
        let lines = self.said.lines().filter_map(|line| line.split_once(':'));
        let found = lines.filter(|(known, _)| *known == label).map(|(_, value)| value.trim()).next();
        found.unwrap_or_else(|| panic!("the node did not say its {label}:\n{}", self.said))
    }

    /// The pairing code that it shows.
    #[must_use]
    pub fn code(&self) -> &str {
        self.line("pairing code")
    }

    /// Its log so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its number.
    ///
    /// # Panics
    /// Never: numbers of processes are small.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process number")
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Kills it with SIGKILL; when this returns it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop, and waits until it did.
    ///
    /// # Panics
    /// When it does not.
    pub async fn terminate(self) -> ExitStatus {
        processes::terminate(self.pid());
        self.ended().await
    }

    /// Waits until it has stopped.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(mut self) -> ExitStatus {
        wait_for("the node stops", DEADLINE, async || self.child.try_wait().expect("a child can be waited for")).await
    }

    fn end(&mut self) {
        // It may have ended by itself; either way it is reaped here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Serving {
    #[expect(clippy::print_stderr, reason = "whoever reads that a test failed wants to know what the node said")]
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}
