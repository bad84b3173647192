//! The log's lines: one for each event, whatever a peer has put into it.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Writes each event as one line. An address or a library's error may hold line breaks and escape sequences of a peer's
/// making; those would be lines of the log, or orders to the terminal that shows it.
pub(super) struct Lines<W>(pub(super) fn() -> W);

/// Of one event.
pub(super) struct Line<W>(W);

impl<W: Write> MakeWriter<'_> for Lines<W> {
    type Writer = Line<W>;

    fn make_writer(&self) -> Line<W> {
        Line(self.0())
    }
}

impl<W: Write> Write for Line<W> {
    /// A whole event, as the formatter hands it over.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The event with its control characters spelled out, but for its end and for colours, which the formatter sets too.
fn line(event: &str) -> String {
    let (event, end) = event.strip_suffix('\n').map_or((event, ""), |event| (event, "\n"));
    let mut line = String::with_capacity(event.len() + 1);
    for (at, character) in event.char_indices() {
        if character.is_control() && !(character == '\u{1b}' && is_colour(&event[at + 1..])) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line + end
}

/// Whether what follows an ESC makes it "select graphic rendition" (ECMA-48, section 8.3.117).
fn is_colour(rest: &str) -> bool {
    let parameters =
        rest.strip_prefix('[').map(|rest| rest.trim_start_matches(|next: char| next.is_ascii_digit() || next == ';'));
    parameters.is_some_and(|end| end.starts_with('m'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_makes_lines_of_the_log_or_speaks_to_its_terminal() {
        let event = "INFO at=/dns4/x\n2026 ERROR forged\r\u{1b}]0;title\u{7}\u{9b}2J\tend\n";
        assert_eq!(line(event), "INFO at=/dns4/x\\n2026 ERROR forged\\r\\u{1b}]0;title\\u{7}\\u{9b}2J\\tend\n");
        let coloured = "\u{1b}[2m2026\u{1b}[0m \u{1b}[32;1m INFO\u{1b}[0m röck\n";
        assert_eq!(line(coloured), coloured);
        assert_eq!(line("\u{1b}[31Jx\u{1b}"), "\\u{1b}[31Jx\\u{1b}");
    }
}
