//! The book: sessions, tokens, one-time links and the password. In memory, and stored with each change.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use miner_ctrl_protocol::text::is_visible;
use subtle::ConstantTimeEq;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use super::caller::Caller;
use super::limiter::{Buckets, Tries};
use super::password::Hasher;
use super::secret::{SECRET_LENGTH, Secret, handle};
use crate::error::{ApiError, Code};
use crate::node::Node;
use crate::records::{AccessRecord, By, Scope, SessionRecord, TokenRecord};

/// How long a browser that is not used stays signed in.
pub(crate) const SESSION_SECONDS: u64 = 30 * 24 * 3600;

/// How exactly the last use is kept: each use would be a write to the disk.
const USED_SECONDS: u64 = 3600;

/// Browsers signed in at once: every device of a handful of operators. The one used longest ago makes room.
const MAX_SESSIONS: usize = 64;

/// Tokens: one for each script. More is a script that makes tokens.
const MAX_TOKENS: usize = 64;

/// Links that nobody has used yet. The oldest makes room.
const MAX_LINKS: usize = 8;

/// How long a link works: long enough to find the browser.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(600);

/// Longest text that a browser may call itself by in the list of sessions.
const MAX_AGENT: usize = 160;

/// Longest name of a token.
const MAX_TOKEN_NAME: usize = 64;

/// What every token begins with, so that scanners of leaked secrets know one.
const TOKEN_PREFIX: &str = "mc_";

/// Requests of one credential in a second, and at once: a page makes a handful, a bulk action of a script some dozens.
const PER_SECOND: u32 = 50;
const BURST: f64 = 100.0;

/// Who may come in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    loaded: OnceCell<()>,
    /// Held over a change from reading to storing, so that none is lost.
    changing: tokio::sync::Mutex<()>,
    hasher: Hasher,
    tries: Mutex<Tries>,
    rates: Mutex<Buckets<(By, String)>>,
    /// Counts changes, for streams that must end with their session.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    record: AccessRecord,
    links: Vec<Link>,
    /// When the last use of a credential could not be kept.
    unkept: Option<Instant>,
}

/// Between two tries to keep that a credential was used, after one failed.
const UNKEPT_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Link {
    hash: [u8; 32],
    until: Instant,
}

/// What a browser signs in with.
pub(crate) enum Proof {
    Link(Secret),
    Password(Secret),
}

/// The password, as it is stored, beside which a proof was found good; none when none was set. To look at a proof takes
/// time, and by its end the password may be another one: what was proven counts while this one is set.
type Beside = Option<String>;

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            loaded: OnceCell::new(),
            changing: tokio::sync::Mutex::default(),
            hasher: Hasher::default(),
            tries: Mutex::new(Tries::new(Instant::now())),
            rates: Mutex::new(Buckets::new(
                BURST,
                Duration::from_secs(1) / PER_SECOND,
                MAX_SESSIONS + MAX_TOKENS + MAX_LINKS,
            )),
            changes: watch::Sender::new(0),
        }
    }
}

impl Access {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load<N: Node>(&self, node: &N) -> Result<(), ApiError> {
        let load = async {
            let record = node.access().await?;
            self.state().record = record;
            Ok::<(), ApiError>(())
        };
        self.0.loaded.get_or_try_init(|| load).await?;
        Ok(())
    }

    /// Changes what is stored, then what is in memory. In a task of its own: an asker that goes away in between must
    /// not leave the two different.
    async fn change<N: Node, T: Send + 'static>(
        &self,
        node: &N,
        change: impl FnOnce(&mut AccessRecord) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.load(node).await?;
        let (this, node) = (self.clone(), node.clone());
        let changing = tokio::spawn(async move {
            let _turn = this.0.changing.lock().await;
            let mut next = this.state().record.clone();
            let changed = change(&mut next)?;
            node.put_access(next.clone()).await?;
            {
                let mut state = this.state();
                if next.password != state.record.password {
                    state.links.clear();
                }
                state.record = next;
            }
            this.0.changes.send_modify(|count| *count += 1);
            Ok(changed)
        });
        changing.await.map_err(|error| ApiError::new(Code::Internal, error.to_string()))?
    }

    /// Changes each time somebody may come in, or may not any more.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Everything about who may come in.
    pub(crate) async fn record<N: Node>(&self, node: &N) -> Result<AccessRecord, ApiError> {
        self.load(node).await?;
        let mut record = self.state().record.clone();
        let now = unix_now();
        record.sessions.retain(|session| is_alive(session, now));
        Ok(record)
    }

    /// Who has this cookie; and whether the cookie is to be set anew, since it slides.
    pub(crate) async fn session<N: Node>(
        &self,
        node: &N,
        cookie: &Secret,
        from: Option<IpAddr>,
    ) -> Result<Option<(Caller, bool)>, ApiError> {
        self.load(node).await?;
        let (hash, now) = (cookie.hash(), unix_now());
        let found = {
            let state = self.state();
            let fits = |session: &&SessionRecord| bool::from(session.hash.ct_eq(&hash)) && is_alive(session, now);
            state.record.sessions.iter().find(fits).map(|session| (session.id.clone(), session.last_used))
        };
        let Some((id, last_used)) = found else { return Ok(None) };
        let mut slides = now.saturating_sub(last_used) >= USED_SECONDS && self.keeps_uses();
        if slides {
            let id = id.clone();
            let used = self.change(node, move |record| {
                record.sessions.iter_mut().filter(|session| session.id == id).for_each(|one| one.last_used = now);
                Ok(())
            });
            slides = self.is_kept(&used.await);
        }
        Ok(Some((Caller { by: By::Session, who: Some(id), from, scope: Scope::Admin }, slides)))
    }

    /// Who has this token.
    pub(crate) async fn token<N: Node>(
        &self,
        node: &N,
        token: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<Caller>, ApiError> {
        self.load(node).await?;
        let Some((id, secret)) = token.strip_prefix(TOKEN_PREFIX).and_then(|rest| rest.split_once('_')) else {
            return Ok(None);
        };
        let (hash, now) = (Secret::new(secret).hash(), unix_now());
        let found = {
            let state = self.state();
            let fits = |token: &&TokenRecord| token.id == id && bool::from(token.hash.ct_eq(&hash));
            state.record.tokens.iter().find(fits).map(|token| (token.scope, token.last_used))
        };
        let Some((scope, last_used)) = found else { return Ok(None) };
        if last_used.is_none_or(|at| now.saturating_sub(at) >= USED_SECONDS) && self.keeps_uses() {
            let id = id.to_owned();
            let used = self.change(node, move |record| {
                record.tokens.iter_mut().filter(|token| token.id == id).for_each(|one| one.last_used = Some(now));
                Ok(())
            });
            self.is_kept(&used.await);
        }
        Ok(Some(Caller { by: By::Token, who: Some(id.to_owned()), from, scope }))
    }

    /// Whether to try: not with each request while the disk is full.
    fn keeps_uses(&self) -> bool {
        self.state().unkept.is_none_or(|at| at.elapsed() >= UNKEPT_PAUSE)
    }

    /// On a full disk one can still look.
    fn is_kept(&self, used: &Result<(), ApiError>) -> bool {
        if let Err(error) = used {
            tracing::error!(error = error.document("").detail, "that a credential was used is not kept");
        }
        self.state().unkept = used.is_err().then(Instant::now);
        used.is_ok()
    }

    /// Whether who was let in earlier would still be.
    pub(crate) fn is_valid(&self, caller: &Caller) -> bool {
        let (state, now) = (self.state(), unix_now());
        let is = |id: &String| caller.who.as_ref() == Some(id);
        match caller.by {
            By::Local => true,
            By::Session => state.record.sessions.iter().any(|session| is(&session.id) && is_alive(session, now)),
            By::Token => state.record.tokens.iter().any(|token| is(&token.id)),
        }
    }

    /// Counts a request of a credential.
    pub(crate) fn count(&self, caller: &Caller) -> Result<(), ApiError> {
        let Some(who) = &caller.who else { return Ok(()) };
        let mut rates = self.0.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take((caller.by, who.clone()), Instant::now()).map_err(|wait| {
            ApiError::new(Code::TooManyRequests, format!("more than {PER_SECOND} requests in a second"))
                .retry_after(wait)
        })
    }

    /// A new link, as its secret.
    pub(crate) fn make_link(&self) -> Secret {
        let (secret, now) = (Secret::random(), Instant::now());
        let mut state = self.state();
        state.links.retain(|link| link.until > now);
        if state.links.len() >= MAX_LINKS {
            state.links.remove(0);
        }
        state.links.push(Link { hash: secret.hash(), until: now + LINK_LIFE });
        secret
    }

    /// Signs a browser in: the cookie's new value, and who it is from now on.
    pub(crate) async fn sign_in<N: Node>(
        &self,
        node: &N,
        proof: Proof,
        agent: &str,
        from: Option<IpAddr>,
    ) -> Result<(Secret, Caller), ApiError> {
        self.load(node).await?;
        let wrong = move || {
            tracing::warn!(from = from.map(tracing::field::display), "somebody failed to sign in");
            ApiError::new(Code::WrongCredentials, "the link or the password is wrong, or was used before")
        };
        let (beside, taken) = match proof {
            // Not held up by the limit: a link cannot be guessed, and its owner must get in while others guess.
            Proof::Link(link) => match self.take_link(&link) {
                Some((link, beside)) => (beside, Some(link)),
                None => {
                    self.count_try(from)?;
                    return Err(wrong());
                }
            },
            Proof::Password(password) => (Some(self.known_password(password, from).await?.ok_or_else(wrong)?), None),
        };
        let still = beside.clone();
        let (secret, now) = (Secret::random(), unix_now());
        let (hash, agent) = (secret.hash(), agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect());
        let id = self
            .change(node, move |record| {
                if record.password != beside {
                    return Err(wrong());
                }
                record.sessions.retain(|session| is_alive(session, now));
                if record.sessions.len() >= MAX_SESSIONS {
                    let oldest = record.sessions.iter().enumerate().min_by_key(|(_, session)| session.last_used);
                    let oldest = oldest.map(|(index, _)| index);
                    oldest.map(|index| record.sessions.remove(index));
                }
                let id = fresh(|id| record.sessions.iter().any(|session| session.id == id));
                let session = SessionRecord { id: id.clone(), hash, created_at: now, last_used: now, agent };
                record.sessions.push(session);
                Ok(id)
            })
            .await
            .inspect_err(|_| {
                // It signed nobody in. A new password ended it with all the others.
                let mut state = self.state();
                if state.record.password == still {
                    state.links.extend(taken);
                }
            })?;
        Ok((secret, Caller { by: By::Session, who: Some(id), from, scope: Scope::Admin }))
    }

    /// Ends a session.
    pub(crate) async fn end_session<N: Node>(&self, node: &N, id: String) -> Result<(), ApiError> {
        self.change(node, move |record| {
            let before = record.sessions.len();
            record.sessions.retain(|session| session.id != id);
            if record.sessions.len() < before { Ok(()) } else { Err(unknown("session", &id)) }
        })
        .await
    }

    /// Makes a token: what is kept, and the token itself, which is shown this once.
    pub(crate) async fn add_token<N: Node>(
        &self,
        node: &N,
        name: String,
        scope: Scope,
    ) -> Result<(TokenRecord, Secret), ApiError> {
        let fits = !name.is_empty() && name.chars().count() <= MAX_TOKEN_NAME && name.chars().all(is_visible);
        if !fits {
            let why = format!("has 1 to {MAX_TOKEN_NAME} characters, none of them invisible");
            return Err(crate::extract::invalid("", "name", why));
        }
        let secret = Secret::random();
        let hash = secret.hash();
        let token = self
            .change(node, move |record| {
                if record.tokens.len() >= MAX_TOKENS {
                    return Err(ApiError::new(Code::Conflict, format!("there are {MAX_TOKENS} tokens already")));
                }
                if record.tokens.iter().any(|token| token.name == name) {
                    return Err(ApiError::new(Code::Conflict, format!("there is a token `{name}` already")));
                }
                let id = fresh(|id| record.tokens.iter().any(|token| token.id == id));
                let token = TokenRecord { id, name, hash, scope, created_at: unix_now(), last_used: None };
                record.tokens.push(token.clone());
                Ok(token)
            })
            .await?;
        let whole = Secret::new(format!("{TOKEN_PREFIX}{}_{}", token.id, secret.as_str()));
        Ok((token, whole))
    }

    /// Ends a token, by its handle or its name.
    pub(crate) async fn remove_token<N: Node>(&self, node: &N, asked: String) -> Result<(), ApiError> {
        self.change(node, move |record| {
            // One may be called as another's handle is.
            let by_id = record.tokens.iter().position(|token| token.id == asked);
            let place = by_id.or_else(|| record.tokens.iter().position(|token| token.name == asked));
            let place = place.ok_or_else(|| unknown("token", &asked))?;
            record.tokens.remove(place);
            Ok(())
        })
        .await
    }

    /// Sets the password and ends all sessions but the caller's own. Over TCP who sets it must know the one before:
    /// a stolen cookie must not become the owner.
    pub(crate) async fn set_password<N: Node>(
        &self,
        node: &N,
        caller: &Caller,
        password: Secret,
        current: Option<Secret>,
    ) -> Result<(), ApiError> {
        self.load(node).await?;
        let refused = |why| crate::extract::invalid("", "current", why);
        let mut beside = self.state().record.password.clone();
        if beside.is_some() && caller.by != By::Local {
            let current = current.ok_or_else(|| refused("is needed, since a password is set"))?;
            let known = self.known_password(current, caller.from).await?;
            beside = Some(known.ok_or_else(|| refused("is not the password"))?);
        }
        let stored = self.0.hasher.hash(password).await?;
        let (keep, local) = (caller.who.clone(), caller.by == By::Local);
        self.change(node, move |record| {
            if !local && record.password != beside {
                return Err(refused("is not the password any more"));
            }
            record.password = Some(stored);
            record.sessions.retain(|session| keep.as_ref() == Some(&session.id));
            Ok(())
        })
        .await
    }

    /// Sets the password unless it is set already; tells whether it did.
    pub(crate) async fn ensure_password<N: Node>(
        &self,
        node: &N,
        caller: &Caller,
        password: Secret,
    ) -> Result<bool, ApiError> {
        self.load(node).await?;
        // Whoever changed it since must not find the one of the file back after a restart.
        let stored = self.state().record.password.clone();
        if let Some(stored) = stored {
            if !self.0.hasher.verify(password, stored).await? {
                tracing::warn!("the password file holds another password than the one that is set, which stays");
            }
            return Ok(false);
        }
        self.set_password(node, caller, password, None).await?;
        Ok(true)
    }

    /// The stored password that it is; none when it is another one.
    async fn known_password(&self, password: Secret, from: Option<IpAddr>) -> Result<Option<String>, ApiError> {
        self.count_try(from)?;
        let Some(stored) = self.state().record.password.clone() else { return Ok(None) };
        Ok(self.0.hasher.verify(password, stored.clone()).await?.then_some(stored))
    }

    fn count_try(&self, from: Option<IpAddr>) -> Result<(), ApiError> {
        let mut tries = self.0.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries
            .take(from, Instant::now())
            .map_err(|wait| ApiError::new(Code::TooManyTries, "too many tries to sign in").retry_after(wait))
    }

    /// A link that works; it does not any more.
    fn take_link(&self, link: &Secret) -> Option<(Link, Beside)> {
        if link.as_str().len() != SECRET_LENGTH {
            return None;
        }
        let (hash, now) = (link.hash(), Instant::now());
        let mut state = self.state();
        state.links.retain(|link| link.until > now);
        let index = state.links.iter().position(|link| bool::from(link.hash.ct_eq(&hash)))?;
        Some((state.links.remove(index), state.record.password.clone()))
    }
}

/// When a session ends unless it is used.
pub(crate) const fn expires_at(session: &SessionRecord) -> u64 {
    session.last_used + SESSION_SECONDS
}

const fn is_alive(session: &SessionRecord, now: u64) -> bool {
    now < expires_at(session)
}

/// A handle that nothing else has.
fn fresh(taken: impl Fn(&str) -> bool) -> String {
    loop {
        let id = handle();
        if !taken(&id) {
            return id;
        }
    }
}

fn unknown(what: &str, asked: &str) -> ApiError {
    ApiError::new(Code::UnknownCredential, format!("no {what} `{asked}`"))
}

/// Unix time, seconds; 0 on a machine whose clock stands before 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use std::pin::pin;

    const OLD: &str = "correct horse battery";

    async fn with_password(node: &Memory) -> Access {
        let access = Access::default();
        access.set_password(node, &Caller::local(), Secret::new(OLD), None).await.unwrap();
        access
    }

    /// What a change that is carried out meanwhile leaves behind.
    fn set_another(access: &Access) {
        let mut state = access.state();
        state.record.password = Some("another".into());
        state.links.clear();
    }

    #[tokio::test]
    async fn what_was_proven_beside_another_password_signs_nobody_in() {
        let node = Memory::default();
        for by_link in [false, true] {
            let access = with_password(&node).await;
            let proof = if by_link { Proof::Link(access.make_link()) } else { Proof::Password(Secret::new(OLD)) };
            let turn = access.0.changing.lock().await;
            let mut signing_in = pin!(access.sign_in(&node, proof, "", None));
            assert!(futures::poll!(&mut signing_in).is_pending(), "it has taken up the proof");
            set_another(&access);
            drop(turn);
            assert_eq!(signing_in.await.unwrap_err().code, Code::WrongCredentials);
            assert!(access.state().record.sessions.is_empty() && access.state().links.is_empty());
        }
    }

    #[tokio::test]
    async fn a_token_that_is_called_as_anothers_handle_does_not_go_with_it() {
        let (node, access) = (Memory::default(), Access::default());
        let (first, _) = access.add_token(&node, "first".into(), Scope::Read).await.unwrap();
        access.add_token(&node, first.id.clone(), Scope::Read).await.unwrap();
        access.remove_token(&node, first.id.clone()).await.unwrap();
        let left: Vec<_> = access.state().record.tokens.iter().map(|token| token.name.clone()).collect();
        assert_eq!(left, [first.id]);
    }

    #[tokio::test]
    async fn a_password_is_changed_once_by_those_who_know_the_one_before() {
        let node = Memory::default();
        let access = with_password(&node).await;
        let owner = Caller { by: By::Session, who: Some("a".into()), from: None, scope: Scope::Admin };
        let set = |new: &str| access.set_password(&node, &owner, Secret::new(new), Some(Secret::new(OLD)));
        let (one, other) = futures::join!(set("another password"), set("a third password"));
        let refused = one.err().or_else(|| other.err()).expect("one of them");
        assert_eq!(refused.code, Code::Invalid);
        let tried = |password: &str| access.sign_in(&node, Proof::Password(Secret::new(password)), "", None);
        let signed_in = [tried("another password").await.is_ok(), tried("a third password").await.is_ok()];
        assert_eq!(signed_in.iter().filter(|ok| **ok).count(), 1);
    }
}
