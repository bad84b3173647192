//! A controller and its rigs: homes with nodes that serve, paired by code.

use std::time::Duration;

use serde_json::{Value, json};

use crate::history::Past;
use crate::home::Home;
use crate::lan::{Host, Lan};
use crate::processes::miners_under;
use crate::serving::Serving;
use crate::wait::{DEADLINE, wait_for};

/// A node with its home.
#[derive(Debug)]
pub struct Station {
    /// What it is called.
    pub name: String,
    /// Its node. Before the home, so that it ends before its directory goes.
    pub node: Serving,
    /// Its directory.
    pub home: Home,
}

impl Station {
    /// A new node that serves, with stand-ins for mining programs.
    pub async fn start(name: &str, role: &str) -> Self {
        let home = Home::init(name, role).await;
        Self { name: name.to_owned(), node: home.serve().await, home }
    }

    /// A new node on a host of the test's own network.
    pub async fn start_on(host: &Host, name: &str, role: &str) -> Self {
        let home = Home::empty().on(host).initialised(name, role).await;
        Self { name: name.to_owned(), node: home.serve().await, home }
    }

    /// Adds a rig by the code that it showed when it started.
    pub async fn pair_with(&self, rig: &Self) {
        let (address, name, code) = (rig.home.address(), &rig.name, rig.node.code());
        let add = format!("peer add --address {address} --name {name} --code {code}");
        let _ = self.home.run(&add).await.done();
    }

    /// What the node keeps: its peers with what they may, and its profiles with all that is in them.
    ///
    /// # Panics
    /// When it does not tell.
    pub async fn book(&self) -> Value {
        let (peers, profiles) = tokio::join!(self.home.json("peer list"), self.home.json("profile list"));
        let kept = ["id", "name", "permission", "role"];
        let peers = peers.as_array().expect("a list").iter().map(|peer| kept.map(|field| peer[field].clone()));
        json!({ "peers": peers.collect::<Vec<_>>(), "profiles": profiles })
    }

    /// The same node, killed at once and started again.
    pub async fn killed_and_back(self) -> Self {
        let Self { name, node, home } = self;
        node.kill();
        Self { name, node: home.serve().await, home }
    }
}

/// A controller and its rigs.
#[derive(Debug)]
pub struct Farm {
    /// `control-center`.
    pub controller: Station,
    /// In the order of their names as given.
    pub rigs: Vec<Station>,
}

impl Farm {
    /// Nodes that serve and know nobody.
    pub async fn strangers(rigs: &[&str]) -> Self {
        let rigs = futures::future::join_all(rigs.iter().map(|rig| Station::start(rig, "worker")));
        let (controller, rigs) = tokio::join!(Station::start("control-center", "controller"), rigs);
        Self { controller, rigs }
    }

    /// Nodes that the controller added, each by its code.
    pub async fn paired(rigs: &[&str]) -> Self {
        let farm = Self::strangers(rigs).await;
        for rig in &farm.rigs {
            farm.controller.pair_with(rig).await;
        }
        farm
    }

    /// Strangers on a network of the test's own: the controller on its first host, each rig on one of the next.
    ///
    /// # Panics
    /// When the network has too few hosts.
    pub async fn strangers_on(lan: &Lan, rigs: &[&str]) -> Self {
        let [first, hosts @ ..] = lan.hosts() else { panic!("a network without hosts") };
        assert!(hosts.len() >= rigs.len(), "too few hosts");
        let rigs =
            futures::future::join_all(rigs.iter().zip(hosts).map(|(rig, host)| Station::start_on(host, rig, "worker")));
        let (controller, rigs) = tokio::join!(Station::start_on(first, "control-center", "controller"), rigs);
        Self { controller, rigs }
    }

    /// The same, each rig added by the controller.
    pub async fn paired_on(lan: &Lan, rigs: &[&str]) -> Self {
        let farm = Self::strangers_on(lan, rigs).await;
        for rig in &farm.rigs {
            farm.controller.pair_with(rig).await;
        }
        farm
    }

    /// The first rig, or the only one.
    ///
    /// # Panics
    /// In a farm without rigs.
    #[must_use]
    pub fn rig(&self) -> &Station {
        &self.rigs[0]
    }

    /// All nodes, the controller first.
    pub fn stations(&self) -> impl Iterator<Item = &Station> {
        std::iter::once(&self.controller).chain(&self.rigs)
    }

    /// What each of them keeps, see [`Station::book`].
    pub async fn books(&self) -> Vec<Value> {
        futures::future::join_all(self.stations().map(Station::book)).await
    }

    /// Writes a past of each rig, at the rig and at the controller.
    pub async fn past(&self) -> Past {
        let past = Past::some_hours_ago();
        for rig in &self.rigs {
            let id = rig.node.line("node id");
            tokio::join!(past.write(&self.controller.home, id), past.write(&rig.home, id));
        }
        past
    }

    /// Every number of it is still there, at both.
    ///
    /// # Panics
    /// When one is not.
    pub async fn past_is_whole(&self, past: Past) {
        for rig in &self.rigs {
            for home in [&self.controller.home, &rig.home] {
                past.is_whole(home, &rig.name).await;
            }
        }
    }

    /// Stores a profile of this name at the controller; its pool need not exist for a stand-in.
    pub async fn add_profile(&self, name: &str) {
        let add =
            format!("profile add {name} --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet WALLET");
        let _ = self.controller.home.run(&add).await.done();
    }

    /// Waits until the controller sees the rig's only miner as `wanted` has it, and gives it.
    pub async fn miner(&self, rig: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, DEADLINE, async || {
            let ran = self.controller.home.run(&format!("remote status {rig} -o json")).await;
            let status: Value = serde_json::from_str(&ran.stdout).ok()?;
            let miner = &status["stats"]["miners"][0];
            (status["peer"]["online"] == true && wanted(miner)).then(|| miner.clone())
        })
        .await
    }

    /// Waits until `home` sees `peer` online.
    pub async fn online(home: &Home, peer: &str) {
        wait_for(&format!("{peer} is online"), DEADLINE, async || {
            let peers = home.json("peer list").await;
            peers.as_array()?.iter().any(|known| known["name"] == peer && known["online"] == true).then_some(())
        })
        .await;
    }

    /// Waits until the word of `controller` on a rig's miners and the rig's processes agree, name by name, and gives the
    /// processes.
    pub async fn agreed(controller: &Home, rig: &Station, within: Duration) -> Vec<i32> {
        Self::agreed_on(controller, &rig.name, &rig.home, within).await
    }

    /// The same of a rig whose node is somebody else's.
    pub async fn agreed_on(controller: &Home, name: &str, rig: &Home, within: Duration) -> Vec<i32> {
        wait_for(&format!("what is known of {name} is true"), within, async || {
            let ran = controller.run(&format!("remote status {name} -o json")).await;
            let status: Value = serde_json::from_str(&ran.stdout).ok()?;
            let miners = status["stats"]["miners"].as_array()?;
            let settled = |miner: &Value| !matches!(miner["state"].as_str(), Some("starting" | "stopping"));
            let runs = |miner: &&Value| !matches!(miner["state"].as_str(), Some("stopped" | "failed"));
            let mut told: Vec<&str> = miners.iter().filter(runs).filter_map(|miner| miner["name"].as_str()).collect();
            told.sort_unstable();
            let running = miners_under(rig.path());
            let mut names: Vec<&str> =
                running.iter().filter_map(|miner| miner.directory.file_name()?.to_str()).collect();
            names.sort_unstable();
            let true_of = told == names && miners.iter().all(settled);
            (status["peer"]["online"] == true && true_of).then(|| running.iter().map(|miner| miner.pid).collect())
        })
        .await
    }
}
