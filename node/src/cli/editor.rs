//! A private file in the person's own editor.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use miner_ctrl_protocol::{ProfileDraft, ProfileName};
use rustix::fs::FlockOperation;
use serde_json::json;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Exit, Failure};
use crate::store::atomic;

/// A profile under edit, as a file. It lies in the data directory, which is private, and stays until its text was taken:
/// nothing that was typed is lost to a mistake. Beside it lies the profile as it was when the text began, so that the text
/// is not stored over what somebody made of it meanwhile.
#[derive(Debug)]
pub(crate) struct Sheet {
    path: PathBuf,
    base: Base,
    /// What stands in it before the first edit; none when it has the text of an earlier one.
    fresh: Option<String>,
}

/// What a text began with. Locked as long as the text is edited: two editors would write over one another.
#[derive(Debug)]
struct Base {
    path: PathBuf,
    file: File,
    text: String,
}

impl Base {
    fn open(path: PathBuf) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // Removed between the two by whoever had it.
        if file.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut text = String::new();
        // What is damaged is not what the profile is.
        let _ = file.read_to_string(&mut text);
        Ok(Self { path, file, text })
    }

    /// In place, for the lock is on the file: one that is half written is not what the profile is.
    fn set(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        text.clone_into(&mut self.text);
        Ok(())
    }
}

impl Drop for Base {
    /// Let go here and not by closing alone: a program that is being started at this moment has the file open until it runs.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// A profile as it stands in an editor.
fn text_of(profile: &ProfileDraft) -> String {
    format!("{:#}\n", json!(profile))
}

impl Sheet {
    /// A sheet for a profile, with the text of an earlier edit when that was not taken. Refused while it is edited already,
    /// and once when the text began with another profile than this.
    pub(crate) fn open(data_dir: &Path, profile: &ProfileDraft) -> Result<Self, Failure> {
        let name = &profile.name;
        let what = || format!("cannot edit the profile `{name}`");
        let failed = |error: &dyn std::error::Error| Failure::new(Exit::Error, "not-written", what()).caused_by(error);
        let path = path_of(data_dir, name);
        let directory = path.with_file_name("");
        atomic::make_directory(&directory).map_err(|error| failed(&error))?;
        // No profile's name begins with a dot.
        let base = match Base::open(directory.join(format!(".{name}.base"))) {
            Ok(base) => base,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Failure::new(Exit::Refused, "edited", what())
                    .because("it is open in an editor already")
                    .hint("end that editor first"));
            }
            Err(error) => return Err(failed(&error)),
        };
        let mut sheet = Self { path, base, fresh: None };
        let kept = kept_at(&sheet.path);
        if let Some(text) = kept
            // Stored already, when the answer to that was not heard.
            && serde_json::from_str::<ProfileDraft>(&text).ok().as_ref() != Some(profile)
        {
            sheet.check(profile)?;
            return Ok(sheet);
        }
        let text = text_of(profile);
        // The base first: a text without one counts as begun with another profile.
        sheet.base.set(&text).map_err(|error| failed(&error))?;
        atomic::write(&sheet.path, text.as_bytes()).map_err(|error| failed(&error))?;
        sheet.fresh = Some(text);
        Ok(sheet)
    }

    /// Refuses a profile that is not the one that the text began with. Told once: the text goes on from what it is now.
    pub(crate) fn check(&mut self, profile: &ProfileDraft) -> Result<(), Failure> {
        let text = text_of(profile);
        if text == self.base.text {
            return Ok(());
        }
        let name = &profile.name;
        let what = format!("cannot edit the profile `{name}`");
        self.base.set(&text).map_err(|error| Failure::new(Exit::Error, "not-written", &what).caused_by(&error))?;
        Err(Failure::new(Exit::Refused, "changed-meanwhile", what)
            .because("it was changed after your text had begun, and your text does not know of that")
            .hint(format!(
                "`miner-ctrl profile show {name}` says how it stands; your text is kept in {}: `miner-ctrl profile edit \
                 {name}` goes on with it, and what you save then replaces the profile; emptied, it begins anew",
                self.path.display()
            )))
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
        let _ = fs::remove_file(&self.base.path);
    }
}

fn path_of(data_dir: &Path, name: &ProfileName) -> PathBuf {
    data_dir.join("edit").join(format!("{name}.json"))
}

/// One that was emptied begins anew.
fn kept_at(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().filter(|text| !text.trim().is_empty())
}

/// Where an earlier edit's text of this profile is kept, if there is one.
pub(crate) fn kept(data_dir: &Path, name: &ProfileName) -> Option<PathBuf> {
    let path = path_of(data_dir, name);
    kept_at(&path).map(|_| path)
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
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "vi".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(wallet: &str) -> ProfileDraft {
        let url = "pool.example:3333";
        serde_json::from_value(json!({
            "name": "p", "program": "xmrig", "algorithm": "rx/0", "wallet": wallet, "pools": [{ "url": url }]
        }))
        .unwrap()
    }

    fn open(home: &Path) -> Sheet {
        Sheet::open(home, &profile("old")).unwrap()
    }

    #[tokio::test]
    async fn a_sheet_is_private_and_gone_when_its_text_was_taken() {
        let home = tempfile::tempdir().unwrap();
        let sheet = open(home.path());
        assert_eq!(fs::metadata(sheet.path()).unwrap().mode() & 0o777, 0o600);
        let text = sheet.edit("sed -i s/old/new/").await.unwrap();
        assert_eq!(text, text_of(&profile("new")));
        sheet.discard();
        assert_eq!(fs::read_dir(home.path().join("edit")).unwrap().count(), 0);
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

    #[tokio::test]
    async fn what_was_changed_meanwhile_is_told_once_before_it_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let other = profile("another");
        let mut sheet = open(home.path());
        let _ = sheet.edit("sed -i s/old/typed/").await.unwrap();
        sheet.check(&profile("old")).unwrap();
        let failure = sheet.check(&other).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        drop(sheet);
        assert!(Sheet::open(home.path(), &other).unwrap().is_resumed(), "it was told of this one");
        assert_eq!(Sheet::open(home.path(), &profile("old")).unwrap_err().exit, Exit::Refused, "and not of that");
        assert!(kept(home.path(), &other.name).is_some());
    }

    #[tokio::test]
    async fn a_text_that_was_stored_is_not_offered_again() {
        let home = tempfile::tempdir().unwrap();
        let _ = open(home.path()).edit("sed -i s/old/typed/").await.unwrap();
        assert!(!Sheet::open(home.path(), &profile("typed")).unwrap().is_resumed());
    }

    #[test]
    fn one_editor_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let first = open(home.path());
        let failure = Sheet::open(home.path(), &profile("old")).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        first.discard();
        let _ = open(home.path());
    }
}
