//! In place of the dashboard's TCP door, where the program is built without its dashboard: none of its code is there.

use miner_ctrl_dashboard::Gateway;
use miner_ctrl_dashboard::node::NodeInfo;
use miner_ctrl_protocol::Role;
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, Failure, Page};
use crate::config::NodeConfig;
use crate::handle::NodeHandle;
use crate::store::{Database, Places};

/// A door that is not there.
pub(crate) enum Door {}

impl Door {
    /// None, and an error when somebody asked for one.
    #[expect(clippy::unused_async, reason = "as the one with a dashboard")]
    pub(crate) async fn open(
        _: &Gateway<NodeHandle>,
        config: &NodeConfig,
        _: &Places,
        info: &NodeInfo,
        _: bool,
    ) -> Result<Option<Self>, Failure> {
        none(config, info.role).map(|()| None)
    }

    /// As [`Door::open`].
    #[expect(clippy::unused_async, reason = "as the one with a dashboard")]
    pub(crate) async fn check(
        config: &NodeConfig,
        _: &Places,
        role: Role,
        _: Option<&Database>,
    ) -> Result<Page, Failure> {
        none(config, role).map(|()| Page::Nowhere)
    }

    /// Waits for `stop`.
    pub(crate) async fn serve(_: Option<Self>, _: Gateway<NodeHandle>, stop: CancellationToken) {
        stop.cancelled().await;
    }
}

fn none(config: &NodeConfig, role: Role) -> Result<(), Failure> {
    if config.dashboard_address(role).is_none() || config.dashboard.is_none() {
        return Ok(());
    }
    let refused = Failure::new(Exit::Usage, "no-dashboard", "cannot serve the dashboard");
    Err(refused.because("this miner-ctrl was built without its dashboard"))
}
