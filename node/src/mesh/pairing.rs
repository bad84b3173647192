//! Pairing's conversation on its own substream, both sides of it.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use miner_ctrl_protocol::codec;
use miner_ctrl_protocol::pair::{Confirm, Door, Knock, MAX_PAIR_MESSAGE, PairRefusal, Reply};
use miner_ctrl_protocol::smsg::{AdderStart, PairingCode, ShowerStart};
use miner_ctrl_protocol::{NodeId, NodeName, PeerKey, Role, VERSION};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::command::{Household, Knocked, PairBy, PairError, Paired, Stranger};

/// The whole conversation, on either side; it takes two round trips. Below a stranger's life.
const TIMEOUT: Duration = Duration::from_secs(9);

/// Who we are, in pairing.
#[derive(Debug, Clone)]
pub(crate) struct Ourselves {
    pub(crate) key: PeerKey,
    /// Of the key; told on each link, and dear to compute.
    pub(crate) node_id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) role: Role,
    /// Drawn at the start of this program.
    pub(crate) boot: u64,
}

impl Ourselves {
    fn paired(self, mac: Option<ByteBuf>) -> Reply {
        Reply::Paired { name: self.name, role: self.role, mac, boot: Some(self.boot) }
    }
}

/// Asks the node at the other end of `stream` to pair with us.
pub(crate) async fn ask(stream: Stream, us: Ourselves, them: PeerKey, by: PairBy) -> Result<Paired, PairError> {
    let conversation = async {
        let mut wire = Wire(stream);
        match by {
            PairBy::Approval => ask_approval(&mut wire, us, them).await,
            PairBy::Code(code) => ask_by_code(&mut wire, us, them, &code).await,
        }
    };
    tokio::time::timeout(TIMEOUT, conversation).await.map_err(|_| PairError::Timeout)?
}

async fn ask_approval(wire: &mut Wire, us: Ourselves, them: PeerKey) -> Result<Paired, PairError> {
    let knock = Knock { versions: vec![VERSION], name: us.name, role: us.role, door: Door::Approval };
    match wire.knock(&knock).await? {
        Reply::Paired { name, role, boot, .. } => Ok(Paired::Done { key: them, name, role, boot }),
        Reply::Pending => Ok(Paired::Pending { key: them }),
        Reply::Refused(why) => Err(PairError::Refused(why)),
        Reply::Code { .. } => Err(PairError::Broken("an answer out of turn".into())),
    }
}

async fn ask_by_code(wire: &mut Wire, us: Ourselves, them: PeerKey, code: &PairingCode) -> Result<Paired, PairError> {
    let (exchange, message) = AdderStart::new(code, us.key, them, &mut rand::rng());
    let door = Door::Code { message: ByteBuf::from(message) };
    let knock = Knock { versions: vec![VERSION], name: us.name, role: us.role, door };
    let message = match wire.knock(&knock).await? {
        Reply::Code { message } => message,
        Reply::Refused(why) => return Err(PairError::Refused(why)),
        _ => return Err(PairError::Broken("an answer out of turn".into())),
    };
    let (expected, mac) = exchange.finish(&message).map_err(|error| PairError::Broken(error.to_string()))?;
    wire.say(&Confirm { mac: ByteBuf::from(mac) }).await?;
    match wire.hear::<Reply>().await? {
        Reply::Paired { name, role, mac: Some(mac), boot } => {
            expected.verify(&mac).map_err(|_| PairError::FalseProof)?;
            Ok(Paired::Done { key: them, name, role, boot })
        }
        Reply::Paired { mac: None, .. } => Err(PairError::FalseProof),
        Reply::Refused(why) => Err(PairError::Refused(why)),
        _ => Err(PairError::Broken("an answer out of turn".into())),
    }
}

/// Serves a node that asks us to pair.
pub(crate) async fn serve(
    stream: Stream,
    us: Ourselves,
    them: PeerKey,
    address: String,
    household: Arc<dyn Household>,
) {
    let mut wire = Wire(stream);
    let conversation = async {
        let reply = converse(&mut wire, us, them, address, household.as_ref()).await?;
        wire.say(&reply).await?;
        // The last bytes are on their way once the other side closes; its connection is closed soon after anyway.
        wire.0.close().await.map_err(broken)
    };
    match tokio::time::timeout(TIMEOUT, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(peer = %them.node_id(), %error, "a pairing broke off"),
        Err(_) => tracing::debug!(peer = %them.node_id(), "a pairing took too long"),
    }
}

async fn converse(
    wire: &mut Wire,
    us: Ourselves,
    them: PeerKey,
    address: String,
    household: &dyn Household,
) -> Result<Reply, PairError> {
    let knock: Knock = wire.hear().await?;
    if !knock.versions.contains(&VERSION) {
        return Ok(Reply::Refused(PairRefusal::Version));
    }
    let stranger = Stranger { key: them, name: knock.name, role: knock.role, address: address.clone() };
    let message = match knock.door {
        Door::Approval => {
            return Ok(match household.knock(stranger).await {
                Knocked::Admitted => us.paired(None),
                Knocked::Pending => Reply::Pending,
                Knocked::Refused(why) => Reply::Refused(why),
            });
        }
        Door::Code { message } => message,
    };
    let (number, code) = match household.code_for_try(them).await {
        Ok(tried) => tried,
        Err(why) => return Ok(Reply::Refused(why)),
    };
    // Three of them are all that a code takes, and then the code is gone: its operator may wonder why.
    let wrong = || tracing::warn!(peer = %them.node_id(), %address, "a wrong pairing code");
    let Ok((exchange, message)) = ShowerStart::respond(&code, them, us.key, &message, &mut rand::rng()) else {
        wrong();
        household.wrong_code(them, number).await;
        return Ok(Reply::Refused(PairRefusal::WrongCode));
    };
    wire.say(&Reply::Code { message: ByteBuf::from(message) }).await?;
    let confirm: Confirm = wire.hear().await?;
    let Ok(mac) = exchange.verify(&confirm.mac) else {
        wrong();
        household.wrong_code(them, number).await;
        return Ok(Reply::Refused(PairRefusal::WrongCode));
    };
    Ok(match household.admit(stranger, number).await {
        Ok(()) => us.paired(Some(ByteBuf::from(mac))),
        // Burned or used in the meantime: answered like a wrong code, so that a guess never learns that it was right.
        Err(PairRefusal::NoCode | PairRefusal::Busy) => Reply::Refused(PairRefusal::WrongCode),
        Err(why) => Reply::Refused(why),
    })
}

/// Messages of pairing: `length u16 | CBOR`.
struct Wire(Stream);

impl Wire {
    /// The first exchange. A node that takes no new peers closes the connection, perhaps after ours is up here.
    async fn knock(&mut self, knock: &Knock) -> Result<Reply, PairError> {
        self.say(knock).await.map_err(|_| PairError::NotPairing)?;
        let mut length = [0; 2];
        self.0.read_exact(&mut length).await.map_err(|_| PairError::NotPairing)?;
        self.hear_body(length).await
    }

    async fn say<T: Serialize>(&mut self, message: &T) -> Result<(), PairError> {
        let bytes = codec::encode(message, MAX_PAIR_MESSAGE).map_err(broken)?;
        let length = u16::try_from(bytes.len()).map_err(broken)?.to_be_bytes();
        self.0.write_all(&[&length[..], &bytes].concat()).await.map_err(broken)?;
        self.0.flush().await.map_err(broken)
    }

    async fn hear<T: DeserializeOwned>(&mut self) -> Result<T, PairError> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).await.map_err(broken)?;
        self.hear_body(length).await
    }

    async fn hear_body<T: DeserializeOwned>(&mut self, length: [u8; 2]) -> Result<T, PairError> {
        let length = usize::from(u16::from_be_bytes(length));
        if length > MAX_PAIR_MESSAGE {
            return Err(PairError::Broken(format!("a message of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await.map_err(broken)?;
        codec::decode(&bytes, MAX_PAIR_MESSAGE).map_err(broken)
    }
}

fn broken(error: impl std::fmt::Display) -> PairError {
    PairError::Broken(error.to_string())
}
