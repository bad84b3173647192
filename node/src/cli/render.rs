//! The only place that prints. Data goes to stdout; notes, progress and errors go to stderr.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use miner_ctrl_protocol::text::is_visible;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{Exit, Failure};

/// What stdout speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For scripts; errors are JSON on stderr then.
    Json,
    /// For people.
    #[default]
    Table,
}

/// A command that takes longer shows that it is at work. Below it a spinner would only flicker.
const SPINNER_AFTER: Duration = Duration::from_millis(400);

/// Where everything printed goes.
pub(crate) struct Output {
    format: Format,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// A person looks at stdout, so that it can be redrawn.
    pub(crate) redraws: bool,
    spins: bool,
    /// Whether what is printed has to fit anything.
    fits: bool,
}

impl Output {
    /// To this process's own stdout and stderr; colours as the terminal and the environment say.
    pub(crate) fn standard(format: Format) -> Self {
        // One without a cursor to move: it would show what moves it.
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            format,
            out: Box::new(anstream::AutoStream::auto(io::stdout())),
            err: Box::new(anstream::AutoStream::auto(io::stderr())),
            redraws: format == Format::Table && io::stdout().is_terminal() && !dumb,
            spins: io::stderr().is_terminal() && !dumb,
            fits: true,
        }
    }

    #[cfg(test)]
    pub(crate) fn into(format: Format, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { format, out, err, redraws: false, spins: false, fits: false }
    }

    /// How many characters a line may have; none where any will do, as in a file. `COLUMNS` counts without a terminal, too:
    /// `watch` sets it.
    pub(crate) fn width(&self) -> Option<usize> {
        let said = || std::env::var("COLUMNS").ok()?.trim().parse::<usize>().ok();
        let seen = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        if self.fits { said().or_else(seen).filter(|columns| *columns > 0) } else { None }
    }

    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// One answer: the value for scripts, the text for people.
    pub(crate) fn data<T: Serialize>(&mut self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(value),
            Format::Table => self.print(&text()),
        }
    }

    /// The answer of a command that ends with `exit`, whether its reader stayed or not.
    pub(crate) fn data_and_end<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce() -> String,
        exit: Exit,
    ) -> Result<Exit, Failure> {
        match self.data(value, text) {
            Err(failure) if !failure.is_quiet() => Err(failure),
            _ => Ok(exit),
        }
    }

    /// A document in either format.
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        let document = serde_json::to_string_pretty(value).map_err(|error| not_printed(&error))?;
        self.print(&escaped(&document))
    }

    /// One of several answers: a document on a line of its own, or a line of text.
    pub(crate) fn item<T: Serialize>(&mut self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let document = serde_json::to_string(value).map_err(|error| not_printed(&error))?;
                self.print(&escaped(&document))
            }
            Format::Table => self.print(&text()),
        }
    }

    /// A text as it is, e.g. a completion script.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        write!(self.out, "{text}{end}").and_then(|()| self.out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => not_printed(&error),
        })
    }

    /// Draws a screen anew. What has no room on it is counted: it would push the beginning out of sight.
    pub(crate) fn redraw(&mut self, text: &str) -> Result<(), Failure> {
        // Past anstream, which with `NO_COLOR` would take it out.
        io::stdout().write_all(b"\x1b[H\x1b[2J").map_err(|_| Failure::reader_gone())?;
        let height = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_row));
        self.print(&on_screen(text, height))
    }

    /// Something a person should know that is no data. With JSON it is a document of its own, as an error is.
    pub(crate) fn note(&mut self, text: &str) {
        let text = clean_lines(text);
        // Nowhere is left to tell that stderr is closed.
        let _ = match self.format {
            Format::Json => writeln!(self.err, "{}", serde_json::json!({ "note": text })),
            Format::Table => writeln!(self.err, "{text}"),
        };
    }

    /// Tells a failure; returns what the process ends with.
    pub(crate) fn failure(&mut self, failure: &Failure) -> Exit {
        if !failure.is_quiet() {
            let text = match self.format {
                Format::Json => escaped(&failure.document().to_string()) + "\n",
                Format::Table => told(failure),
            };
            let _ = self.err.write_all(text.as_bytes());
        }
        failure.exit
    }

    /// Waits for something, and shows that it does when it takes a while.
    pub(crate) async fn waiting<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        if !self.spins {
            return future.await;
        }
        tokio::pin!(future);
        tokio::select! {
            done = &mut future => return done,
            () = tokio::time::sleep(SPINNER_AFTER) => {}
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(clean(what));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        let done = future.await;
        bar.finish_and_clear();
        done
    }
}

/// The lines for which a screen of so many has room, the cursor's among them; all, where its height is not known.
fn on_screen(text: &str, height: usize) -> String {
    let lines = text.lines().count();
    // With less there is nothing to see anyway.
    if height < 4 || lines < height {
        return text.to_owned();
    }
    let shown = height - 2;
    let mut cut: String = text.split_inclusive('\n').take(shown).collect();
    cut += &format!("… {} more lines: make the window higher, or name fewer", lines - shown);
    cut
}

fn told(failure: &Failure) -> String {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let cyan = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
    let mut text = format!("{red}error{red:#}: {}", clean(&failure.what));
    let mut causes = failure.causes.iter();
    if let Some(why) = causes.next() {
        text += &format!(": {}", clean(why));
    }
    for cause in causes {
        text += &format!("\n  caused by: {}", clean(cause));
    }
    if let Some(hint) = &failure.hint {
        text += &format!("\n{cyan}hint{cyan:#}: {}", clean(hint));
    }
    text + "\n"
}

fn not_printed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Error, "not-printed", "cannot print the answer").caused_by(error)
}

/// One line of foreign text, fit for a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_visible(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// JSON that shows every hostile character by its number; the value stays the same.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_visible(c) || c == '\n' {
            text.push(c);
            continue;
        }
        // One beyond 16 bits has two numbers (RFC 8259, section 7).
        for unit in c.encode_utf16(&mut [0; 2]) {
            text += &format!("\\u{unit:04x}");
        }
    }
    text
}

/// What moves in every answer though nothing happens: clocks, and what counts their reports.
const CLOCKS: [&str; 5] = ["age_seconds", "last_seen", "revision", "state_seconds", "uptime_seconds"];

/// A document without its clocks: where that is the same as before, there is nothing new to show.
pub(crate) fn still(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(still).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, _)| !CLOCKS.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), still(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\u{202e}c\u{9b}d\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}");
        let value = serde_json::json!({"name": "a\u{202e}b\u{9b}c\u{e0041}d"});
        let text = escaped(&value.to_string());
        assert!(text.chars().all(is_visible), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_has_no_room_on_the_screen_is_counted() {
        let text = "head\na\nb\nc\nd\n";
        assert_eq!(on_screen(text, 6), text);
        assert_eq!(on_screen(text, 0), text, "no terminal that tells its height");
        assert_eq!(on_screen(text, 5), "head\na\nb\n… 2 more lines: make the window higher, or name fewer");
    }

    #[test]
    fn a_failure_says_what_failed_why_and_what_now() {
        let failure = Failure::new(Exit::NotFound, "x", "cannot ping `rig`")
            .because("no peer `rig`")
            .because("the list is empty")
            .hint("list peers");
        assert_eq!(
            anstream::adapter::strip_str(&told(&failure)).to_string(),
            "error: cannot ping `rig`: no peer `rig`\n  caused by: the list is empty\nhint: list peers\n"
        );
    }

    #[test]
    fn clocks_that_run_on_are_nothing_new() {
        let rig = |last_seen, uptime_seconds, rate| {
            let miners = serde_json::json!([{"state_seconds": uptime_seconds, "uptime_seconds": uptime_seconds}]);
            let stats =
                serde_json::json!({"host": {"uptime_seconds": uptime_seconds}, "hashrate": rate, "miners": miners});
            serde_json::json!([{"name": "a", "last_seen": last_seen, "stats": stats}])
        };
        assert_eq!(still(&rig(1, 10, 5)), still(&rig(2, 11, 5)));
        assert_ne!(still(&rig(1, 10, 5)), still(&rig(1, 10, 6)));
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::into(Format::Table, Box::new(Gone), Box::new(Gone));
        let failure = output.print("x").unwrap_err();
        assert!(failure.is_quiet());
        assert_eq!(output.failure(&failure), Exit::Done);
        let ended = output.data_and_end(&1, || "x".to_owned(), Exit::NotFound);
        assert_eq!(ended.unwrap(), Exit::NotFound, "what failed, failed all the same");
    }
}
