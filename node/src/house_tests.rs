use super::*;
use crate::config::NodeConfig;
use crate::handle::NodeHandle;
use crate::identity;
use crate::node::{Mode, Node, start};
use crate::store::{Lock, Places};
use miner_ctrl_dashboard::Node as _;
use miner_ctrl_dashboard::node::PeerChange;
use miner_ctrl_protocol::NodeName;
use miner_ctrl_protocol::message::MAX_WAIT_SECONDS;
use miner_ctrl_protocol::profile::MAX_PROFILES;
use std::time::Duration;
use tokio::time::Instant;

/// Long enough for the slowest machine; a test that waits for it has failed.
const DEADLINE: Duration = Duration::from_secs(600);

struct Running {
    node: Node,
    _home: tempfile::TempDir,
}

impl Running {
    async fn start(name: &str) -> Self {
        Self::start_as(name, Role::Controller).await
    }

    async fn start_as(name: &str, role: Role) -> Self {
        let home = tempfile::tempdir().unwrap();
        let places = Places::resolve(Some(home.path()), |_| None).unwrap();
        places.make_directories().unwrap();
        identity::init(&places, Some(name.parse().unwrap()), Some(role)).unwrap();
        let config = NodeConfig { listen: vec!["127.0.0.1:0".to_owned()], ..NodeConfig::default() };
        let lock = Lock::acquire(&places).unwrap();
        let mut node = start(places, lock, config, Mode::Serve).await.unwrap();
        node.begin().await.unwrap();
        Self { node, _home: home }
    }

    fn handle(&self) -> &NodeHandle {
        &self.node.handle
    }

    fn key(&self) -> PeerKey {
        self.handle().inner.key
    }

    fn fleet(&self) -> &FleetHandle {
        &self.handle().inner.fleet
    }

    /// As a stranger says who it is.
    fn stranger(&self) -> Stranger {
        let name: NodeName = self.handle().inner.record.name.clone();
        Stranger { key: self.key(), name, role: Role::Controller, address: "/ip4/127.0.0.1/tcp/1/ws".to_owned() }
    }

    fn house(&self) -> House {
        let inner = &self.handle().inner;
        House {
            own_key: inner.key,
            own_role: inner.record.role,
            fleet: inner.fleet.clone(),
            worker: Arc::clone(&inner.worker),
            mesh: OnceLock::from(inner.mesh.clone()),
            ups: mpsc::channel(1).0,
            orders: Arc::default(),
        }
    }

    /// Dials the other, which lets in whom its mesh knows.
    async fn is_let_in_by(&self, other: &Self) {
        let mesh = &self.handle().inner.mesh;
        mesh.register(other.key(), other.handle().inner.mesh.listening()).await;
        let link = mesh.wait_for_link(&other.key(), Instant::now() + DEADLINE).await;
        assert!(link.is_some(), "the mesh does not know whom the fleet knows");
    }
}

#[tokio::test]
async fn who_is_admitted_is_let_in_even_if_pairing_took_too_long() {
    let (desk, laptop) = (Running::start("desk").await, Running::start("laptop").await);
    let (fleet, key) = (desk.fleet(), laptop.key());
    fleet.show_code().await.unwrap();
    let (number, _) = fleet.code_for_try(key).await.unwrap();
    let mut snapshots = fleet.snapshot();
    tokio::select! {
        biased;
        registered = snapshots.wait_for(|fleet| fleet.peer(&key).is_some()) => drop(registered.unwrap()),
        _ = desk.house().admit(laptop.stranger(), number) => panic!("it is dropped before it ends"),
    }
    laptop.is_let_in_by(&desk).await;
}

#[tokio::test]
async fn who_is_approved_again_while_it_is_removed_is_let_in() {
    let (desk, laptop) = (Running::start("desk").await, Running::start("laptop").await);
    let (fleet, key) = (desk.fleet(), laptop.key());
    let knock = async || assert_eq!(desk.house().knock(laptop.stranger()).await, Knocked::Pending);
    knock().await;
    let id = key.node_id().to_string();
    desk.handle().approve(&id, None).await.unwrap();
    laptop.is_let_in_by(&desk).await;

    let mut removed = Box::pin(desk.handle().remove_peer("laptop"));
    let mut snapshots = fleet.snapshot();
    tokio::select! {
        biased;
        gone = snapshots.wait_for(|fleet| fleet.peer(&key).is_none()) => drop(gone.unwrap()),
        _ = &mut removed => panic!("it goes on later"),
    }
    knock().await;
    desk.handle().approve(&id, None).await.unwrap();
    removed.await.unwrap();
    laptop.handle().inner.mesh.remove(desk.key()).await;
    laptop.is_let_in_by(&desk).await;
}

/// A rig, and a controller that may look at it.
async fn viewed() -> (Running, Running) {
    let (rig, laptop) = (Running::start_as("rig", Role::Worker).await, Running::start("laptop").await);
    assert_eq!(rig.house().knock(laptop.stranger()).await, Knocked::Pending);
    rig.handle().approve(&laptop.key().node_id().to_string(), Some(Permission::View)).await.unwrap();
    (rig, laptop)
}

#[tokio::test]
async fn who_may_only_look_is_not_told_the_wallets_of_a_policy() {
    let (rig, laptop) = viewed().await;
    let refusal = Refusal::NotAllowed { needs: Permission::Control, granted: Permission::View };
    assert_eq!(rig.house().answer(laptop.key(), Request::Policy).await, Response::Refused(refusal));
}

#[tokio::test]
async fn what_is_open_ends_with_the_permission_for_it() {
    let (rig, laptop) = viewed().await;
    let (id, house) = (laptop.key().node_id().to_string(), rig.house());
    let mut miners = house.worker.miners.get().unwrap().watch();
    let after = miners.wait_for(|miners| miners.revision > 0).await.unwrap().revision;
    let mut watching = house.answer(laptop.key(), Request::Watch { after, wait: MAX_WAIT_SECONDS });
    assert!(futures::poll!(&mut watching).is_pending(), "there is nothing new to tell");

    let change = |permission| PeerChange { name: None, permission: Some(permission) };
    rig.handle().change_peer(&id, change(Permission::Control)).await.unwrap();
    assert!(futures::poll!(&mut watching).is_pending(), "it may still read");
    rig.handle().change_peer(&id, change(Permission::None)).await.unwrap();
    let refusal = Refusal::NotAllowed { needs: Permission::View, granted: Permission::None };
    assert_eq!(watching.await, Response::Refused(refusal));
}

#[tokio::test]
async fn a_rig_that_holds_as_many_profiles_as_it_may_says_so() {
    let rig = Running::start_as("rig", Role::Worker).await;
    let profiles = rig.handle().inner.places.config_dir.join("profiles");
    std::fs::create_dir_all(&profiles).unwrap();
    for number in 0..MAX_PROFILES {
        std::fs::File::create(profiles.join(format!("p{number}.json"))).unwrap();
    }
    let profile = serde_json::json!({
        "name": "one-more", "program": "xmrig", "wallet": "44AFFq5kSiGBoZ", "pools": [{"url": "a.example:1"}],
    });
    let deploy = Request::DeployProfile { profile: serde_json::from_value(profile).unwrap() };
    let refused = rig.house().worker.carry_out(deploy).await;
    assert!(matches!(&refused, Err(Refusal::Conflict { why }) if why.contains("256 profiles")), "{refused:?}");
}
