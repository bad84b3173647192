//! What a person reads when something did not work: what failed, why, and what to do now.

use std::error::Error;

use miner_ctrl_dashboard::error::TYPE_PREFIX;
use miner_ctrl_dashboard::{Code, ProblemDetails};
use serde_json::{Value, json};

use crate::cli::Exit;
use crate::control::ClientError;

/// A command that did not do what it was asked.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    /// Why, and why that; the nearest first.
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
    code: String,
    problem: Option<Box<ProblemDetails>>,
    quiet: bool,
}

impl Failure {
    /// A failure by its exit code, its word for scripts, and what failed.
    pub fn new(exit: Exit, code: &str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { exit, what, causes: vec![], hint: None, code: code.to_owned(), problem: None, quiet: false }
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.causes.push(why.into());
        self
    }

    /// Adds why, with the whole chain of causes.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            // A parser's text may draw a picture over several lines; here it is one sentence.
            let text =
                error.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            // A transparent error repeats the text of its source.
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds what to do now, in place of what was said of that before.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if let Some(problem) = &mut self.problem {
            problem.hint.clone_from(&hint);
        }
        self.hint = Some(hint);
        self
    }

    /// The reader of stdout has gone, e.g. `| head`: nobody is left to tell, and nothing went wrong.
    pub(crate) fn reader_gone() -> Self {
        Self { quiet: true, ..Self::new(Exit::Done, "reader-gone", "") }
    }

    /// It was asked to stop before there was anything to stop.
    pub(crate) fn stopped() -> Self {
        Self { quiet: true, ..Self::new(Exit::Done, "stopped", "") }
    }

    /// Whether there is nothing to say.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What the node, or the way to it, said to `what`.
    pub(crate) fn asking(what: impl Into<String>, error: ClientError) -> Self {
        let what = what.into();
        match error {
            ClientError::Problem(mut problem) => {
                if let Some(hint) = here(&problem) {
                    problem.hint = hint;
                }
                let mut this = Self::new(Exit::of_code(&problem.code), &problem.code, what).because(&problem.detail);
                this.hint = Some(problem.hint.clone());
                this.problem = Some(problem);
                this
            }
            error @ ClientError::NoNode { .. } => Self::new(Exit::Unreachable, "no-node", what)
                .caused_by(&error)
                .hint("start it with `miner-ctrl node serve`"),
            error @ ClientError::Forbidden { .. } => Self::new(Exit::NotAllowed, "socket-forbidden", what)
                .caused_by(&error)
                .hint("run this as the user that runs the node, or as root"),
            error @ (ClientError::Timeout(_) | ClientError::Broken(_)) => {
                Self::new(Exit::Unreachable, "node-silent", what)
                    .caused_by(&error)
                    .hint("whether it was done is not known: look at the state first; trying again is safe")
            }
            error @ ClientError::Unreadable(_) => Self::new(Exit::Error, "node-unreadable", what)
                .caused_by(&error)
                .hint("run the same version of miner-ctrl as the node does"),
        }
    }

    /// The same, of a node of which nothing was asked yet but whether it is there.
    pub(crate) fn reaching(what: impl Into<String>, error: ClientError) -> Self {
        match error {
            error @ (ClientError::Timeout(_) | ClientError::Broken(_)) => {
                Self::new(Exit::Unreachable, "node-stands-still", what)
                    .caused_by(&error)
                    .hint("nothing was asked of it yet: it is stopped, or too busy; look at its log, or start it again")
            }
            error => Self::asking(what, error),
        }
    }

    /// Whether it is this.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.code == code.as_str()
    }

    /// Whether it may have been done all the same: the answer is missing, not the deed.
    pub(crate) fn leaves_unknown(&self) -> bool {
        let by_node = Code::ALL.iter().any(|code| code.as_str() == self.code && code.leaves_unknown());
        by_node || matches!(self.code.as_str(), "node-silent" | "node-unreadable")
    }

    /// Why, in words that are the same for each rig that it happens to: its own, as far as they name none.
    pub(crate) fn reason(&self) -> String {
        let Some(problem) = &self.problem else { return self.causes.join(": ") };
        let is = |code: &Code| problem.code == code.as_str();
        if NAMING.iter().any(is) {
            return problem.title.clone();
        }
        let why = problem.detail.split_once(REFUSED).map_or(problem.detail.as_str(), |(_, why)| why);
        match why.split_once(": ") {
            // Before it stands the number in that rig's log.
            Some((_, why)) if is(&Code::RigInternal) => format!("{}: {why}", problem.title),
            None if is(&Code::RigInternal) => problem.title.clone(),
            _ => why.to_owned(),
        }
    }

    /// The same in fewer words: what kind of failure it is.
    pub(crate) fn kind(&self) -> &str {
        self.problem.as_ref().map_or(&self.what, |problem| &problem.title)
    }

    /// For scripts: a problem document, whether the node wrote it or not, with what failed and the exit code.
    pub(crate) fn document(&self) -> Value {
        let mut document = match &self.problem {
            Some(problem) => json!(problem),
            None => json!({
                "type": format!("{TYPE_PREFIX}{}", self.code),
                "title": self.what,
                "detail": self.causes.join(": "),
                "code": self.code,
                "hint": self.hint,
            }),
        };
        document["failed"] = self.what.clone().into();
        document["exit_code"] = self.exit.number().into();
        document
    }
}

/// What is told of these names the rig, and no more than their titles.
const NAMING: [Code; 5] = [Code::AmbiguousPeer, Code::BadAnswer, Code::Timeout, Code::UnknownPeer, Code::Unreachable];

/// Stands between the rig's name and what it said, in `NodeError::Refused`.
const REFUSED: &str = " refused: ";

/// What to do now, for who typed a command: what is wrong with the request itself was not typed.
fn here(problem: &ProblemDetails) -> Option<String> {
    let is = |code: Code| problem.code == code.as_str();
    let unheard_of = [Code::BadRequest, Code::MethodNotAllowed, Code::NotFound, Code::UnsupportedMediaType];
    if unheard_of.into_iter().any(is) {
        return Some("run the same version of miner-ctrl as the node does".to_owned());
    }
    // A document for scripts has the number; a person sees the hint alone. No node need run, and then there is no log.
    let found = |id: &str| {
        format!("`miner-ctrl doctor` looks for what is wrong; the log of a node that runs has it under {id}")
    };
    is(Code::Internal).then(|| found(&problem.request_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hint_tells_who_typed_a_command_of_http() {
        // Of these a command never hears: it sends no key, names its bodies and signs in by its socket.
        let of_scripts = [
            Code::CrossOrigin,
            Code::KeyInUse,
            Code::KeyReused,
            Code::TooManyRequests,
            Code::TooManyTries,
            Code::UnknownJob,
        ];
        for code in Code::ALL.iter().filter(|code| !of_scripts.contains(code)) {
            let document = json!({
                "type": "", "title": "", "status": 400, "detail": "", "code": code.as_str(), "hint": code.hint(),
                "request_id": "7f-12",
            });
            let problem = serde_json::from_value(document).unwrap();
            let failure = Failure::asking("cannot", ClientError::Problem(problem));
            let hint = failure.hint.clone().unwrap();
            assert_eq!(failure.document()["hint"], hint.as_str());
            for word in ["request id", "send it again", "Retry-After", "GET ", "header", "Content-Type", "path", "API"]
            {
                assert!(!hint.contains(word), "{}: {hint}", code.as_str());
            }
            assert_eq!(hint.contains("7f-12"), *code == Code::Internal, "{hint}");
        }
    }
}
