//! A private file in the person's own editor.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fs};

use miner_ctrl_protocol::ProfileName;
use serde_json::Value;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Exit, Failure};
use crate::store::atomic;

/// A file under edit. It lies in the data directory, which is private, and stays until its text was taken: nothing
/// that was typed is lost to a mistake.
#[derive(Debug)]
pub(crate) struct Sheet {
    path: PathBuf,
    /// What stands in it before the first edit; none when it has the text of an earlier one.
    fresh: Option<String>,
}

impl Sheet {
    /// A sheet for a profile, with the text of an earlier edit when that was not taken.
    pub(crate) fn open(data_dir: &Path, name: &ProfileName, value: &Value) -> Result<Self, Failure> {
        let directory = data_dir.join("edit");
        let path = directory.join(format!("{name}.json"));
        // One that was emptied begins anew.
        if fs::read_to_string(&path).is_ok_and(|text| !text.trim().is_empty()) {
            return Ok(Self { path, fresh: None });
        }
        let text = format!("{value:#}\n");
        atomic::make_directory(&directory)
            .and_then(|()| atomic::write(&path, text.as_bytes()))
            .map_err(|error| Failure::new(Exit::Error, "not-written", "cannot open an editor").caused_by(&error))?;
        Ok(Self { path, fresh: Some(text) })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has the text of an earlier edit.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.fresh.is_none()
    }

    /// Waits until the editor ends; what was written then.
    pub(crate) async fn edit(&self, editor: &str) -> Result<String, Failure> {
        let failed = || Failure::new(Exit::Error, "editor-failed", format!("cannot edit with `{editor}`"));
        // Ctrl-C and Ctrl-\ are the editor's: heard and let go here, they do not end this program beside it, and what
        // is saved afterwards counts. What this program hears, one that it starts does not ignore.
        let heard = [SignalKind::interrupt(), SignalKind::quit()].map(signal);
        // By the shell, as git does it: `code --wait` is a command with an argument.
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("{editor} \"$@\""))
            .arg(editor)
            .arg(&self.path)
            .stdin(Stdio::inherit())
            .status()
            .await
            .map_err(|error| failed().caused_by(&error))?;
        drop(heard);
        if !status.success() {
            if self.fresh.is_some() && self.fresh == fs::read_to_string(&self.path).ok() {
                self.remove();
            }
            return Err(failed()
                .because(format!("it ended with {status}"))
                .hint("nothing was changed; set VISUAL or EDITOR to another one"));
        }
        fs::read_to_string(&self.path).map_err(|error: io::Error| failed().caused_by(&error))
    }

    /// Its text was taken, or there is none.
    pub(crate) fn discard(self) {
        self.remove();
    }

    fn remove(&self) {
        // A sheet that cannot be removed is offered again; its text is the stored one.
        let _ = fs::remove_file(&self.path);
    }
}

/// Ends the program by the keys that were the editor's before: a signal that was heard once is never the system's again.
pub(crate) async fn end_by_keys() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::quit()));
    let (Ok(mut interrupt), Ok(mut quit)) = signals else { return };
    let number = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = quit.recv() => SignalKind::quit().as_raw_value(),
    };
    std::process::exit(128 + number);
}

/// The person's editor: `VISUAL`, `EDITOR`, else the one that every Unix has.
pub(crate) fn chosen() -> String {
    ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::MetadataExt;

    fn open(home: &Path) -> Sheet {
        Sheet::open(home, &"p".parse().unwrap(), &json!({"wallet": "old"})).unwrap()
    }

    #[tokio::test]
    async fn a_sheet_is_private_and_gone_when_its_text_was_taken() {
        let home = tempfile::tempdir().unwrap();
        let sheet = open(home.path());
        assert_eq!(fs::metadata(sheet.path()).unwrap().mode() & 0o777, 0o600);
        let text = sheet.edit("sed -i s/old/new/").await.unwrap();
        assert_eq!(text, "{\n  \"wallet\": \"new\"\n}\n");
        let path = sheet.path().to_owned();
        sheet.discard();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_text_that_was_not_taken_is_offered_again() {
        let home = tempfile::tempdir().unwrap();
        open(home.path()).edit("sed -i s/old/typed/").await.unwrap();
        let again = open(home.path());
        assert!(again.is_resumed());
        assert!(again.edit("true").await.unwrap().contains("typed"));
    }

    #[tokio::test]
    async fn an_editor_that_fails_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let failure = open(home.path()).edit("false").await.unwrap_err();
        assert_eq!(failure.exit, Exit::Error);
        assert!(failure.hint.unwrap().contains("EDITOR"));
        assert!(!open(home.path()).is_resumed(), "nothing was typed");
    }

    #[tokio::test]
    async fn an_emptied_sheet_begins_anew() {
        let home = tempfile::tempdir().unwrap();
        open(home.path()).edit("truncate --size 0").await.unwrap();
        let again = open(home.path());
        assert!(!again.is_resumed());
        assert!(again.edit("true").await.unwrap().contains("old"));
    }
}
