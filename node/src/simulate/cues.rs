//! Faults on cue: words, separated by commas, in the environment variable `MINER_CTRL_FAULTS` (which drivers pass
//! on) and in the file `simulate` in the process's home directory, which is read again and again.
//!
//! ```text
//!   crash:SECONDS    ends with exit code 1         no-pool       never connects, or loses its pool
//!   exit:CODE        ends at once                  null-forever  never has a rate
//!   flood            writes without end            paused        is paused
//!   hang             accepts and never answers     port-taken    a stranger answers on its port
//!   ignore-term      stops only by KILL            port-taken-once  … the first time in this home
//!   no-api           never listens                 rate:HASHES   mines at this rate
//!   redirected       is at another pool            warmup:SECONDS  instead of 10
//!   zero             hashes nothing
//! ```

use std::path::PathBuf;
use std::time::Duration;

/// Largest cue file.
const MAX_FILE: usize = 4096;

/// The words in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Cues {
    words: Vec<(String, Option<f64>)>,
}

impl Cues {
    /// The words now.
    pub(super) fn now() -> Self {
        let variable = std::env::var("MINER_CTRL_FAULTS").unwrap_or_default();
        let file = home().map(|home| home.join("simulate")).and_then(|path| std::fs::read_to_string(path).ok());
        let file = file.filter(|text| text.len() <= MAX_FILE).unwrap_or_default();
        Self::parse(&format!("{variable},{file}"))
    }

    fn parse(text: &str) -> Self {
        let words = text.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty());
        let split = |word: &str| match word.split_once(':') {
            Some((word, value)) => (word.to_owned(), value.parse().ok().filter(|value: &f64| value.is_finite())),
            None => (word.to_owned(), None),
        };
        Self { words: words.map(split).collect() }
    }

    /// Whether a word is in force.
    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|(known, _)| known == word)
    }

    /// The number of a word in force.
    pub(super) fn number(&self, word: &str) -> Option<f64> {
        self.words.iter().find(|(known, _)| known == word).and_then(|(_, value)| *value)
    }

    /// The time of a word in force.
    pub(super) fn time(&self, word: &str) -> Option<Duration> {
        self.number(word).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }
}

/// Whether this is the first time in this home that something happens.
pub(super) fn first_time(what: &str) -> bool {
    home().is_some_and(|home| std::fs::File::create_new(home.join(format!(".{what}"))).is_ok())
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_their_numbers_are_read_and_nonsense_is_not() {
        let cues = Cues::parse("hang, crash:1.5,\n,zero,warmup:soon,rate:nan,exit:-1");
        assert!(cues.has("hang") && cues.has("zero") && cues.has("warmup") && !cues.has("han"));
        assert_eq!(cues.time("crash"), Some(Duration::from_millis(1500)));
        assert_eq!((cues.time("warmup"), cues.number("rate"), cues.time("exit")), (None, None, None));
    }
}
