//! Every way to fail: one status, one code, one title and one hint each (RFC 9457).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use miner_ctrl_protocol::Refusal;
use miner_ctrl_protocol::profile::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::NodeError;

/// What `type` of a problem begins with; the code follows.
pub const TYPE_PREFIX: &str = "urn:miner-ctrl:problem:";

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal, $hint:literal;)+) => {
        /// A kind of failure. Scripts and the command line go by it; texts are for people and may change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// HTTP's word for it.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// A short sentence that is the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What to do now.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint),+ }
            }
        }
    };
}

codes! {
    /// Several miners could be meant.
    AmbiguousMiner = "ambiguous-miner", CONFLICT, "Several miners could be meant",
        "name one of them";
    /// Several peers could be meant.
    AmbiguousPeer = "ambiguous-peer", CONFLICT, "Several peers could be meant",
        "give the whole name or the whole node id";
    /// What the rig answered is no answer.
    BadAnswer = "bad-answer", BAD_GATEWAY, "The rig's answer cannot be read",
        "it may have been done: look at the state first; if it stays so, update miner-ctrl here and on the rig";
    /// The request itself cannot be read.
    BadRequest = "bad-request", BAD_REQUEST, "The request cannot be read",
        "compare it with the API's description";
    /// The body is larger than any valid one.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large",
        "send less: 64 KiB, 256 KiB for a profile, 1 MiB for a job";
    /// The body did not come in time.
    BodyTooSlow = "body-too-slow", REQUEST_TIMEOUT, "The body did not come in time",
        "nothing was done: try again";
    /// The rig has too much to do.
    Busy = "busy", SERVICE_UNAVAILABLE, "Busy",
        "nothing was done: try again in a moment";
    /// It contradicts what is there.
    Conflict = "conflict", CONFLICT, "It contradicts what is there",
        "look at what is there first; nothing was changed";
    /// A page of somewhere else sent it.
    CrossOrigin = "cross-origin", FORBIDDEN, "The request does not come from this page",
        "use the dashboard itself; scripts send a token: `Authorization: Bearer mc_…`";
    /// Something broke in this node.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something broke in this node",
        "the node's log has the cause, under the same request id";
    /// A value cannot be taken.
    Invalid = "invalid", UNPROCESSABLE_ENTITY, "A value cannot be taken",
        "correct what is named, then try again";
    /// The path takes other methods.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This path does not take that method",
        "the Allow header lists what it takes";
    /// The request that a key stands for is under way.
    KeyInUse = "key-in-use", CONFLICT, "The request with this Idempotency-Key is under way",
        "send it again in a moment: the answer is then that of the first";
    /// A key that stands for another request.
    KeyReused = "key-reused", UNPROCESSABLE_ENTITY, "This Idempotency-Key was sent with another request",
        "make a new key for each new request";
    /// A mining program cannot be started at the rig.
    MinerUnavailable = "miner-unavailable", CONFLICT, "The mining program cannot be started on the rig",
        "`miner-ctrl remote logs` has its last lines; on the rig, `miner-ctrl doctor` says whether the program is there and runs";
    /// The host that was asked for is not known to be this node.
    Misdirected = "misdirected", MISDIRECTED_REQUEST, "This node does not go by that host name",
        "open it by its IP address, or add the name to `allowed_hosts` in config.toml";
    /// Nothing lives at this path.
    NotFound = "not-found", NOT_FOUND, "Nothing lives at this path",
        "check the spelling of the path";
    /// The rig did not grant this.
    NotAllowed = "not-allowed", FORBIDDEN, "The rig did not grant this",
        "there, `miner-ctrl peer permit NODE control` lets this node command, and `view` lets it read";
    /// The other node does not know this one.
    NotRegistered = "not-registered", FORBIDDEN, "The peer does not know this node",
        "pair with it again: `miner-ctrl peer add`";
    /// The node is not serving.
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "The node is not serving",
        "start it with `miner-ctrl node serve`";
    /// Pairing did not come about.
    PairingFailed = "pairing-failed", CONFLICT, "Pairing did not come about",
        "check the code or the approval on the other side, and try again";
    /// The rig's own rules forbid it.
    PolicyForbids = "policy-forbids", FORBIDDEN, "The rig's policy forbids it",
        "only the rig's operator can change its policy";
    /// A message arrived twice.
    Replayed = "replayed", BAD_GATEWAY, "The rig had seen this message before",
        "look at the state of the rig, then try again";
    /// Something broke at the rig.
    RigInternal = "rig-internal", BAD_GATEWAY, "Something broke on the rig",
        "the rig's log has the cause, under this number";
    /// A pure controller runs no miner.
    RunsNoMiner = "runs-no-miner", CONFLICT, "It is a controller and runs no miner",
        "choose a worker or a dual node";
    /// The credential may not do this.
    ScopeTooSmall = "scope-too-small", FORBIDDEN, "This credential may not do this",
        "use a token with a larger scope, or the dashboard itself";
    /// The node is stopping.
    ShuttingDown = "shutting-down", SERVICE_UNAVAILABLE, "The node is shutting down",
        "try again when it has started again";
    /// No credential, or none that is valid any more.
    SignInNeeded = "sign-in-needed", UNAUTHORIZED, "Sign in first",
        "`miner-ctrl ui` on the node's machine makes a link that signs in once";
    /// The rig restarted meanwhile.
    Stale = "stale", BAD_GATEWAY, "The message was sealed for an earlier connection",
        "nothing was done: try again";
    /// No answer in time.
    Timeout = "timeout", GATEWAY_TIMEOUT, "No answer in time",
        "it may have been done: look at the state first; start, stop, deploy and undeploy can safely be repeated";
    /// An answer or a request does not fit one message.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "It does not fit one message",
        "ask for less at once";
    /// More requests than any person or honest script makes.
    TooManyRequests = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests",
        "wait as long as Retry-After says; live data comes with GET /events";
    /// More streams than open pages can need.
    TooManyStreams = "too-many-streams", SERVICE_UNAVAILABLE, "Too many open streams",
        "close other pages of this dashboard, then try again";
    /// More guesses than a person who mistypes makes.
    TooManyTries = "too-many-tries", TOO_MANY_REQUESTS, "Too many tries to sign in",
        "wait a little (a script: as long as Retry-After says); `miner-ctrl ui` on the node's machine always works";
    /// No such session or token.
    UnknownCredential = "unknown-credential", NOT_FOUND, "No such session or token",
        "list them with `miner-ctrl token list`, or in Settings";
    /// No such job.
    UnknownJob = "unknown-job", NOT_FOUND, "No such job",
        "list jobs with GET /jobs; the last 100 are kept, until the node stops";
    /// No such miner.
    UnknownMiner = "unknown-miner", NOT_FOUND, "The rig has no such miner",
        "list its miners with `miner-ctrl remote status`";
    /// No such pairing request.
    UnknownPairingRequest = "unknown-pairing-request", NOT_FOUND, "No such pairing request",
        "list them with `miner-ctrl peer pending`; they expire";
    /// No such peer.
    UnknownPeer = "unknown-peer", NOT_FOUND, "No such peer",
        "list peers with `miner-ctrl peer list`";
    /// No such profile on this node.
    UnknownProfile = "unknown-profile", NOT_FOUND, "No such profile on this node",
        "list profiles with `miner-ctrl profile list`";
    /// No such profile on the rig.
    UnknownRigProfile = "unknown-rig-profile", NOT_FOUND, "The rig has no such profile",
        "send it there with `miner-ctrl remote deploy`, or start with `--from here`";
    /// No connection.
    Unreachable = "unreachable", BAD_GATEWAY, "The peer is not connected",
        "check that it runs and that its address is right; `miner-ctrl peer list` shows both";
    /// A sealed message that does not open.
    Unreadable = "unreadable", BAD_GATEWAY, "The rig could not open the message",
        "try again; if it stays so, pair the two nodes anew";
    /// A body that is not JSON.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Bodies are JSON",
        "send `Content-Type: application/json`";
    /// The rig's version does not know this request.
    Unsupported = "unsupported", NOT_IMPLEMENTED, "The rig's version does not know this",
        "update miner-ctrl on the rig";
    /// The link or the password is wrong.
    WrongCredentials = "wrong-credentials", UNAUTHORIZED, "The link or the password is wrong",
        "`miner-ctrl ui` on the node's machine makes a new link, which works once and for ten minutes; with `--set-password` it \
         sets a new password";
}

impl Code {
    /// Whether it ended while the rig may have been at it: the answer is missing, not the deed.
    #[must_use]
    pub const fn leaves_unknown(self) -> bool {
        matches!(self, Self::BadAnswer | Self::Internal | Self::ShuttingDown | Self::Timeout)
    }

    /// Whether a rig that answered a command so may stand otherwise than before: a miner that did not get going.
    pub(crate) const fn may_change_a_rig(self) -> bool {
        matches!(self, Self::MinerUnavailable)
    }

    /// What an answer without a reason of ours means, e.g. axum's own 404.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            status if status.is_client_error() => Self::BadRequest,
            _ => Self::Internal,
        }
    }

    /// The one table from what a node says to what HTTP says.
    fn of(error: &NodeError) -> Self {
        match error {
            NodeError::AmbiguousPeer { .. } => Self::AmbiguousPeer,
            NodeError::BadAnswer { .. } => Self::BadAnswer,
            NodeError::Conflict(_) => Self::Conflict,
            NodeError::Internal(_) => Self::Internal,
            NodeError::Invalid(_) => Self::Invalid,
            NodeError::PairingFailed { .. } => Self::PairingFailed,
            NodeError::Refused { refusal, .. } | NodeError::RefusedHere(refusal) => Self::of_refusal(refusal),
            NodeError::ShuttingDown => Self::ShuttingDown,
            NodeError::Lost { .. } | NodeError::Timeout { .. } => Self::Timeout,
            NodeError::UnknownPending(_) => Self::UnknownPairingRequest,
            NodeError::UnknownPeer { .. } => Self::UnknownPeer,
            NodeError::UnknownProfile(_) => Self::UnknownProfile,
            NodeError::NobodyToPair { .. } | NodeError::Unreachable { .. } => Self::Unreachable,
        }
    }

    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::AmbiguousMiner { .. } => Self::AmbiguousMiner,
            Refusal::Busy { .. } => Self::Busy,
            Refusal::Conflict { .. } => Self::Conflict,
            Refusal::Internal { .. } => Self::RigInternal,
            Refusal::Invalid(_) => Self::Invalid,
            Refusal::MinerUnavailable { .. } => Self::MinerUnavailable,
            Refusal::NotAllowed { .. } => Self::NotAllowed,
            Refusal::NotRegistered => Self::NotRegistered,
            Refusal::PolicyForbids { .. } => Self::PolicyForbids,
            Refusal::Replayed => Self::Replayed,
            Refusal::RunsNoMiner => Self::RunsNoMiner,
            Refusal::Stale { .. } => Self::Stale,
            Refusal::TooLarge { .. } => Self::TooLarge,
            Refusal::UnknownMiner { .. } => Self::UnknownMiner,
            Refusal::UnknownProfile { .. } => Self::UnknownRigProfile,
            Refusal::Unreadable => Self::Unreadable,
            Refusal::Unsupported => Self::Unsupported,
        }
    }
}

/// The body of every failure, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDetails {
    /// [`TYPE_PREFIX`] and the code.
    #[serde(rename = "type")]
    pub type_: String,
    /// The same for every occurrence of the code.
    pub title: String,
    /// The answer's status, once more.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// One of [`Code`], as a word.
    pub code: String,
    /// What to do now.
    pub hint: String,
    /// Under this the node's log tells more.
    pub request_id: String,
    /// Fields that cannot be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One field that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// JSON pointer into the body as a URI fragment, e.g. `#/pools/0/url`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A failure on its way out; [`crate::surround`] writes the document, for it alone knows the request's id.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    detail: String,
    hint: Option<String>,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    /// What it was about, for the log of activities; only where the path does not tell.
    pub(crate) target: Option<String>,
}

/// Rides on the answer from where it failed to where the document is written.
#[derive(Debug, Clone)]
pub(crate) struct Attached(Arc<ApiError>);

impl ApiError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let waits = matches!(code.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let retry_after_seconds = waits.then_some(RETRY_SECONDS);
        Self { code, detail: detail.into(), hint: None, errors: Vec::new(), retry_after_seconds, target: None }
    }

    /// Says what it was about.
    pub(crate) fn about(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Says what to do now, where the code's own hint does not fit.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when to try again.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        // Rounded up: whoever waits that long is let in.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after_seconds = Some(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX));
        self
    }

    /// A failure that axum found, of which only the status is known.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let code = Code::of_status(status);
        Self::new(code, code.title())
    }

    pub(crate) fn document(&self, request_id: &str) -> ProblemDetails {
        ProblemDetails {
            type_: format!("{TYPE_PREFIX}{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code.as_str().to_owned(),
            hint: self.hint.clone().unwrap_or_else(|| self.code.hint().to_owned()),
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        }
    }

    /// The failure that an answer carries.
    pub(crate) fn of(response: &Response) -> Option<Arc<Self>> {
        response.extensions().get::<Attached>().map(|Attached(error)| Arc::clone(error))
    }

    /// Takes a failure off an answer that carries one.
    pub(crate) fn taken_from(response: &mut Response) -> Option<Arc<Self>> {
        response.extensions_mut().remove::<Attached>().map(|Attached(error)| error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 asks for it with every 401. No browser asks for a password by itself because of it.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Attached(Arc::new(self)));
        response
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let mut this = Self::new(Code::of(&error), error.to_string());
        match error {
            NodeError::Invalid(invalid) => this.errors.push(FieldError::from(invalid)),
            NodeError::NobodyToPair { hint, .. } | NodeError::PairingFailed { hint, .. } => this.hint = Some(hint),
            // What a node here refuses says itself what to do.
            NodeError::RefusedHere(Refusal::Conflict { .. }) => {}
            NodeError::Refused { refusal, .. } | NodeError::RefusedHere(refusal) => match refusal {
                Refusal::Busy { retry_after_ms } => this.retry_after_seconds = Some(retry_after_ms.div_ceil(1000)),
                Refusal::Conflict { .. } => this.hint = Some(LOOK_THERE.to_owned()),
                Refusal::Internal { why: Some(why), .. } => this.hint = hint_of_system(&why).map(str::to_owned),
                Refusal::Invalid(invalid) => this.errors.push(FieldError::from(invalid)),
                _ => {}
            },
            _ => {}
        }
        this
    }
}

/// What to do about a conflict on a rig, besides what it says itself.
const LOOK_THERE: &str = "nothing was changed; `miner-ctrl remote status` shows what is there";

/// What to do on a rig about what its system said; none when only its log tells more. Rigs spell it as `io::Error` does, with
/// the system's number at the end, and these numbers are the same on every rig.
fn hint_of_system(why: &str) -> Option<&'static str> {
    let number = why.rsplit_once("(os error ")?.1.strip_suffix(')')?.parse().ok()?;
    match io::Error::from_raw_os_error(number).kind() {
        io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => Some("make room on the rig, then try again"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("let the user that runs the rig's node write where its log says, under this number")
        }
        _ => None,
    }
}

/// After this a node that is being restarted answers again, and one that was busy has done something, as a rule.
const RETRY_SECONDS: u32 = 5;

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        NodeError::Invalid(invalid).into()
    }
}

impl From<Invalid> for FieldError {
    fn from(invalid: Invalid) -> Self {
        Self { pointer: pointer(&invalid.field), detail: invalid.why }
    }
}

/// `pools[0].url` as a JSON pointer in a URI fragment: `#/pools/0/url`.
fn pointer(field: &str) -> String {
    let steps = field.split(['.', '[', ']']).filter(|step| !step.is_empty());
    steps.fold("#".to_owned(), |pointer, step| pointer + "/" + &step.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_word_of_its_own() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }

    #[test]
    fn every_code_is_an_error_and_says_what_to_do() {
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            assert!(!code.title().is_empty() && !code.hint().is_empty(), "{code:?}");
        }
    }

    #[test]
    fn what_is_to_be_tried_again_says_when() {
        for code in Code::ALL {
            let waits = matches!(code.status().as_u16(), 429 | 503);
            let said = ApiError::new(*code, "").into_response().headers().contains_key(header::RETRY_AFTER);
            assert_eq!(said, waits, "{code:?}");
        }
    }

    #[test]
    fn what_to_do_about_a_rig_follows_from_what_it_said() {
        let of = |refusal| {
            let peer = "rig-alpha".parse().unwrap();
            ApiError::from(NodeError::Refused { peer, refusal }).document("").hint
        };
        let hint = |why: Option<&str>| of(Refusal::Internal { id: 7, why: why.map(str::to_owned) });
        for full in ["No space left on device (os error 28)", "Disk quota exceeded (os error 122)"] {
            assert!(hint(Some(full)).starts_with("make room on the rig"), "{full}");
        }
        for denied in [
            "Permission denied (os error 13)",
            "Operation not permitted (os error 1)",
            "Read-only file system (os error 30)",
        ] {
            let hint = hint(Some(denied));
            assert!(hint.starts_with("let the user that runs the rig's node write"), "{denied}: {hint}");
        }
        // What a rig says is its own to choose.
        for why in [None, Some("Input/output error (os error 5)"), Some("(os error x)"), Some("")] {
            assert_eq!(hint(why), Code::RigInternal.hint());
        }
        assert!(of(Refusal::Conflict { why: "xmrig-1 runs".to_owned() }).contains("`miner-ctrl remote status`"));
    }

    #[test]
    fn a_field_becomes_a_pointer() {
        assert_eq!(pointer("pools[0].url"), "#/pools/0/url");
        assert_eq!(pointer("wallet"), "#/wallet");
        assert_eq!(pointer("a/b"), "#/a~1b");
    }
}
