//! What this node does when it is asked, by a peer or by its own operator.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use miner_ctrl_protocol::message::{MAX_LOG_LINES, MAX_WAIT_SECONDS, ProfileChoice};
use miner_ctrl_protocol::{
    MinerStatus, NodeName, Permission, Policy, Profile, ProfileDraft, ProfileName, Refusal, Request, Response, RigStats,
};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::causes::internal;
use crate::miners::drivers::{checked, driver};
use crate::miners::profiles::{ProfileStore, ProfilesError, Saved};
use crate::miners::{MinersHandle, host};
use crate::news;
use crate::recorded::Recorded;

/// The rig's side of the conversation.
#[derive(Debug)]
pub struct Worker {
    /// What its operator calls this node.
    pub name: NodeName,
    /// Never set on a pure controller, nor while only a command runs.
    pub miners: OnceLock<MinersHandle>,
    /// Profiles of this node.
    pub profiles: ProfileStore,
    /// What its operator allows, whoever asks.
    pub policy: Policy,
    /// Why there are no miners, while there are none.
    pub without_miners: Refusal,
    /// What this node has recorded, under its id.
    pub recorded: Recorded,
    /// Places to wait for a console's next line, of [`CONSOLE_WAITS`].
    pub console_waits: Semaphore,
}

/// Half of what a link answers at once: whoever asked may have gone without our learning of it, and those who follow a
/// silent console are not to keep a stop from being read. One more is answered at once.
pub const CONSOLE_WAITS: usize = 16;

impl Worker {
    /// Answers a peer that was granted `granted`.
    pub async fn answer(&self, granted: Permission, request: Request) -> Response {
        let needs = request.needs();
        if granted < needs {
            return Response::Refused(Refusal::NotAllowed { needs, granted });
        }
        if let Some(verb) = request.verb()
            && let Err(rule) = self.policy.allows_verb(verb)
        {
            return Response::Refused(Refusal::PolicyForbids { rule: rule.0 });
        }
        self.carry_out(request).await.unwrap_or_else(Response::Refused)
    }

    /// Does what is asked, for one who may ask it.
    ///
    /// # Errors
    /// [`Refusal`], as it goes to the asker.
    pub async fn carry_out(&self, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::DeployProfile { profile } => self.deploy(profile).await,
            Request::History { since, step } => {
                // What was recorded is there before the miners are.
                self.mines()?;
                Ok(Response::History(self.recorded.page(since, step).await?))
            }
            Request::Logs { miner, lines, after, wait } => {
                let place = self.console_waits.try_acquire();
                let wait = if place.is_ok() { wait.min(MAX_WAIT_SECONDS) } else { 0 };
                let wait = Duration::from_secs(wait.into());
                let lines = lines.min(MAX_LOG_LINES);
                Ok(Response::Logs(self.miners()?.logs(miner, lines, after, wait).await?))
            }
            Request::Ping { sent_at } => Ok(Response::Pong { sent_at }),
            Request::Policy => Ok(Response::Policy(self.policy.clone())),
            Request::Profiles => {
                self.mines()?;
                let profiles = self.blocking(ProfileStore::readable).await?;
                Ok(Response::Profiles(profiles.into_iter().map(|profile| profile.into_draft().into()).collect()))
            }
            Request::RemoveProfile { name } => {
                self.miners()?;
                let changed = self.blocking(move |store| store.remove(&name)).await?;
                Ok(Response::Removed { changed })
            }
            Request::RestartMiner { miner } => {
                let (mut status, changed) = self.miners()?.restart(miner).await?;
                if status.problem.is_none() {
                    status.problem = self.runs_other(&status).await;
                }
                Ok(Response::Miner { status: Box::new(status), changed })
            }
            Request::StartMiner { profile, miner } => {
                let profile = match profile {
                    ProfileChoice::Inline(draft) => checked(*draft)?,
                    ProfileChoice::Stored(name) => self.stored(name).await?,
                };
                let profile = self.permitted(profile)?;
                let (status, changed) = self.miners()?.start(profile, miner).await?;
                Ok(Response::Miner { status: Box::new(status), changed })
            }
            Request::Stats => Ok(Response::Stats(Box::new(self.stats()?))),
            Request::StopMiner { miner } => {
                let (statuses, changed) = self.miners()?.stop(miner).await?;
                Ok(Response::Miners { statuses, changed })
            }
            Request::Watch { after, wait } => {
                news::since(&mut self.miners()?.watch(), after, wait).await;
                Ok(Response::Stats(Box::new(self.stats()?)))
            }
        }
    }

    /// This rig's statistics now.
    ///
    /// # Errors
    /// [`Refusal::RunsNoMiner`] on a pure controller.
    pub fn stats(&self) -> Result<RigStats, Refusal> {
        let snapshot = Arc::clone(&self.miners()?.watch().borrow());
        Ok(RigStats {
            revision: snapshot.revision,
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host::stats(),
            miners: snapshot.aged(Instant::now()),
        })
    }

    /// Refuses for a pure controller; a rig that lives for one command mines, and runs no miner meanwhile.
    fn mines(&self) -> Result<(), Refusal> {
        if self.without_miners == Refusal::RunsNoMiner { Err(Refusal::RunsNoMiner) } else { Ok(()) }
    }

    fn miners(&self) -> Result<&MinersHandle, Refusal> {
        self.miners.get().ok_or_else(|| self.without_miners.clone())
    }

    /// The driver's checks and the rig's own policy, before anything is stored or started.
    fn permitted(&self, profile: Profile) -> Result<Profile, Refusal> {
        driver(profile.program).check(&profile)?;
        self.policy.allows_profile(&profile).map_err(|rule| Refusal::PolicyForbids { rule: rule.0 })?;
        Ok(profile)
    }

    async fn deploy(&self, draft: ProfileDraft) -> Result<Response, Refusal> {
        self.miners()?;
        let profile = self.permitted(checked(draft)?)?;
        let stored = profile.clone();
        let saved = self.blocking(move |store| store.save(&profile, true)).await?;
        // It is stored: that they cannot be told now is no reason to say that it is not.
        let others = self.miners()?.with_another(stored).await.unwrap_or_default();
        Ok(Response::Deployed { changed: saved != Saved::Unchanged, others })
    }

    /// That a miner which was started anew does not run what is stored under its profile's name by now, where that is so.
    async fn runs_other(&self, status: &MinerStatus) -> Option<String> {
        let stored = self.stored(status.profile.clone()?).await.ok()?;
        let name = stored.name.clone();
        let others = self.miners().ok()?.with_another(stored).await.ok()?;
        let told = format!(
            "it runs the `{name}` that it was started with; another is stored on its rig: stop it, then start it"
        );
        others.contains(&status.name).then_some(told)
    }

    async fn stored(&self, name: ProfileName) -> Result<Profile, Refusal> {
        let wanted = name.clone();
        self.blocking(move |store| store.load(&wanted)).await?.ok_or(Refusal::UnknownProfile { name })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ProfileStore) -> Result<T, ProfilesError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.profiles.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => done.map_err(Refusal::from),
            Err(error) => Err(internal(&error)),
        }
    }
}
