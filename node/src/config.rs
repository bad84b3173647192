//! How the node behaves: defaults, then `config.toml`, then the environment, then flags; the later wins.
//!
//! Every default is in [`NodeConfig::default`]. A key that nobody knows is refused, since a misspelt one would
//! otherwise be a setting that silently does nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use miner_ctrl_dashboard::IpNet;
use miner_ctrl_protocol::{Policy, Program, Role};
use serde::Deserialize;

pub use crate::certificate::TlsMode;
use crate::fleet::PairingMode;
pub use crate::miners::OnShutdown;
use crate::store::Places;
use crate::store::file::{self, ReadError};

/// Largest settings or policy file: thousands of wallets fit.
const MAX_FILE: u64 = 1024 * 1024;

/// Where the dashboard listens when nobody says: this machine alone, for who reaches it commands the fleet.
const DASHBOARD: &str = "127.0.0.1:9090";

/// Settings of a node, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Where peers reach it: `:port`, `host:port` or a multiaddr. Empty: it only dials.
    pub listen: Vec<String>,
    /// Where its dashboard listens; when nobody said, see [`NodeConfig::dashboard_address`].
    pub dashboard: Option<DashboardChoice>,
    /// Names that the dashboard is reached by, besides this machine's own.
    pub allowed_hosts: Vec<String>,
    /// Where people open the dashboard, when that is not where it listens.
    pub public_url: Option<String>,
    /// When the dashboard is served by TLS.
    pub tls: TlsMode,
    /// Its certificate, with those that vouch for it behind it, as PEM; none for one of the node's own.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key as PEM; none when it stands in the certificate's file.
    pub tls_key: Option<PathBuf>,
    /// Proxies that are believed about whom they speak for.
    pub trusted_proxies: Vec<Proxy>,
    /// A file with the dashboard's password, which is set at start.
    pub password_file: Option<PathBuf>,
    /// How strangers can pair.
    pub pairing: PairingMode,
    /// What happens to miners when it stops.
    pub on_shutdown: OnShutdown,
    /// Where mining programs lie, when not where the driver looks by itself.
    pub programs: BTreeMap<Program, PathBuf>,
    /// Whether stand-ins run instead of mining programs.
    pub simulate: bool,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            listen: vec![":9091".to_owned()],
            dashboard: None,
            allowed_hosts: vec![],
            public_url: None,
            tls: TlsMode::Auto,
            tls_certificate: None,
            tls_key: None,
            trusted_proxies: vec![],
            password_file: None,
            pairing: PairingMode::Ask,
            on_shutdown: OnShutdown::Stop,
            programs: BTreeMap::new(),
            simulate: false,
        }
    }
}

/// The dashboard's address or none, as one layer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DashboardChoice {
    /// Serve it there.
    At(String),
    /// Do not serve it.
    Off,
}

impl DashboardChoice {
    /// `off` or an address.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == "off" { Self::Off } else { Self::At(text.to_owned()) }
    }
}

impl<'de> Deserialize<'de> for DashboardChoice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an address, \"off\" or false")]
        enum Written {
            Address(String),
            Switch(bool),
        }
        match Written::deserialize(deserializer)? {
            Written::Address(text) => Ok(Self::parse(&text)),
            Written::Switch(false) => Ok(Self::Off),
            Written::Switch(true) => Err(serde::de::Error::custom("write the dashboard's address, \"off\" or false")),
        }
    }
}

/// What one layer (file, environment or flags) says; what it leaves out stays as the layer below has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// In place of all addresses below.
    #[serde(deserialize_with = "written_places")]
    pub listen: Option<Vec<String>>,
    /// See [`NodeConfig::dashboard`].
    pub dashboard: Option<DashboardChoice>,
    /// See [`NodeConfig::allowed_hosts`].
    pub allowed_hosts: Option<Vec<String>>,
    /// See [`NodeConfig::public_url`].
    pub public_url: Option<String>,
    /// See [`NodeConfig::tls`].
    pub tls: Option<TlsMode>,
    /// See [`NodeConfig::tls_certificate`].
    pub tls_certificate: Option<PathBuf>,
    /// See [`NodeConfig::tls_key`].
    pub tls_key: Option<PathBuf>,
    /// See [`NodeConfig::trusted_proxies`].
    pub trusted_proxies: Option<Vec<Proxy>>,
    /// See [`NodeConfig::password_file`].
    pub password_file: Option<PathBuf>,
    /// See [`NodeConfig::pairing`].
    pub pairing: Option<PairingMode>,
    /// See [`NodeConfig::on_shutdown`].
    pub on_shutdown: Option<OnShutdown>,
    /// Added to the programs below, program by program.
    pub programs: BTreeMap<Program, PathBuf>,
    /// See [`NodeConfig::simulate`].
    pub simulate: Option<bool>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// What a browser calls this node has neither scheme nor port, and no path.
    #[error("`allowed_hosts` has `{0}`: write the host's name alone, such as `farm.lan`")]
    AllowedHost(String),
    /// A key without its certificate would silently do nothing.
    #[error("`tls_key` is set and `tls_certificate` is not: name both, or the certificate's file alone if it has both")]
    KeyAlone,
    /// The policy is there and cannot be understood. To go on without it would allow what it forbids.
    #[error("the policy `{}` cannot be understood: mend it; without it everything would be allowed", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Where the page is said to be is no place for a browser.
    #[error("`public_url` is `{0}`: write `http://…` or `https://…`, without `?` and `#`")]
    PublicUrl(String),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The settings file cannot be understood, or has a key that nobody knows.
    #[error("the settings `{}` cannot be understood", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// An environment variable has a value that it cannot have.
    #[error("the environment variable {name}: `{value}` {why}")]
    Variable {
        /// Which.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it takes.
        why: String,
    },
}

impl NodeConfig {
    /// The settings of this node; `flags` are what the command line said.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file or variable and the key.
    pub fn load(places: &Places, env: impl Fn(&str) -> Option<OsString>, flags: Settings) -> Result<Self, ConfigError> {
        let mut config = Self::default().with(Settings::from_file(places)?).with(Settings::from_env(env)?).with(flags);
        if config.tls_key.is_some() && config.tls_certificate.is_none() {
            return Err(ConfigError::KeyAlone);
        }
        let is_page = |url: &String| {
            let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            rest.is_some_and(|rest| {
                !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && c != '?' && c != '#')
            })
        };
        if let Some(url) = config.public_url.as_ref().filter(|url| !is_page(url)) {
            return Err(ConfigError::PublicUrl(url.clone()));
        }
        for host in &mut config.allowed_hosts {
            *host = host_name(host).ok_or_else(|| ConfigError::AllowedHost(host.clone()))?;
        }
        Ok(config)
    }

    /// Where the dashboard listens; none for no dashboard.
    #[must_use]
    pub fn dashboard_address(&self, role: Role) -> Option<&str> {
        match &self.dashboard {
            Some(DashboardChoice::At(address)) => Some(address),
            // A pure worker commands nobody: its page would have little to show, and be one more door.
            None if role.commands() => Some(DASHBOARD),
            None | Some(DashboardChoice::Off) => None,
        }
    }

    fn with(mut self, layer: Settings) -> Self {
        if let Some(listen) = layer.listen {
            self.listen = listen;
        }
        if let Some(dashboard) = layer.dashboard {
            self.dashboard = Some(dashboard);
        }
        self.allowed_hosts = layer.allowed_hosts.unwrap_or(self.allowed_hosts);
        self.public_url = layer.public_url.or(self.public_url);
        self.tls = layer.tls.unwrap_or(self.tls);
        self.tls_certificate = layer.tls_certificate.or(self.tls_certificate);
        self.tls_key = layer.tls_key.or(self.tls_key);
        self.trusted_proxies = layer.trusted_proxies.unwrap_or(self.trusted_proxies);
        self.password_file = layer.password_file.or(self.password_file);
        self.pairing = layer.pairing.unwrap_or(self.pairing);
        self.on_shutdown = layer.on_shutdown.unwrap_or(self.on_shutdown);
        self.programs.extend(layer.programs);
        self.simulate = layer.simulate.unwrap_or(self.simulate);
        self
    }
}

impl Settings {
    /// What `config.toml` says; nothing when there is none.
    ///
    /// # Errors
    /// [`ConfigError::Read`] or [`ConfigError::Settings`].
    pub fn from_file(places: &Places) -> Result<Self, ConfigError> {
        let path = places.config_file();
        let Some(text) = file::read_text(&path, MAX_FILE)? else { return Ok(Self::default()) };
        toml::from_str(&text).map_err(|source| ConfigError::Settings { path, source: Box::new(source) })
    }

    /// What the environment says. An empty variable counts as unset, as compose files leave them.
    ///
    /// # Errors
    /// [`ConfigError::Variable`].
    pub fn from_env(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let raw = |name: &str| env(name).filter(|value| !value.is_empty());
        let text = |name: &'static str| match raw(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(value)) => Err(ConfigError::Variable {
                name,
                value: value.to_string_lossy().into_owned(),
                why: "is not UTF-8".to_owned(),
            }),
        };
        let programs = [(Program::Xmrig, "MINER_CTRL_XMRIG"), (Program::TtMiner, "MINER_CTRL_TT_MINER")];
        Ok(Self {
            listen: text("MINER_CTRL_LISTEN")?.map(listen_in_environment).transpose()?,
            dashboard: text("MINER_CTRL_DASHBOARD")?.map(|value| DashboardChoice::parse(&value)),
            allowed_hosts: text("MINER_CTRL_ALLOWED_HOSTS")?.map(|list| list_of(&list)),
            public_url: text("MINER_CTRL_PUBLIC_URL")?,
            tls: word("MINER_CTRL_TLS", text("MINER_CTRL_TLS")?)?,
            tls_certificate: raw("MINER_CTRL_TLS_CERTIFICATE").map(PathBuf::from),
            tls_key: raw("MINER_CTRL_TLS_KEY").map(PathBuf::from),
            trusted_proxies: text("MINER_CTRL_TRUSTED_PROXIES")?
                .map(|list| words("MINER_CTRL_TRUSTED_PROXIES", &list_of(&list)))
                .transpose()?,
            password_file: raw("MINER_CTRL_PASSWORD_FILE").map(PathBuf::from),
            pairing: word("MINER_CTRL_PAIRING", text("MINER_CTRL_PAIRING")?)?,
            on_shutdown: word("MINER_CTRL_ON_SHUTDOWN", text("MINER_CTRL_ON_SHUTDOWN")?)?,
            programs: programs
                .into_iter()
                .filter_map(|(program, name)| raw(name).map(|path| (program, PathBuf::from(path))))
                .collect(),
            simulate: word::<Switch>("MINER_CTRL_SIMULATE", text("MINER_CTRL_SIMULATE")?)?.map(|switch| switch.0),
        })
    }
}

/// What this rig allows, from `policy.json`; without the file, everything.
///
/// # Errors
/// [`ConfigError::Read`] or [`ConfigError::Policy`]: a damaged policy stops the node, it does not open it.
pub fn load_policy(places: &Places) -> Result<Policy, ConfigError> {
    let path = places.policy_file();
    let Some(text) = file::read_text(&path, MAX_FILE)? else {
        // A link that leads nowhere was meant to lead to rules.
        return match path.symlink_metadata() {
            Ok(_) => Err(ConfigError::Policy { path, source: serde::de::Error::custom("the link leads to no file") }),
            Err(_) => Ok(Policy::default()),
        };
    };
    let parsed = serde_json::from_str(&text).and_then(|Rules(rules)| {
        if let Some((none, _)) = rules.iter().find(|(_, list)| list.is_null()) {
            return Err(serde::de::Error::custom(format!("`{none}` is null: leave it out to allow everything")));
        }
        if let Some(unknown) = rules.keys().find(|rule| !Policy::FIELDS.contains(&rule.as_str())) {
            let rules = Policy::FIELDS.join(", ");
            return Err(serde::de::Error::custom(format!("unknown rule `{unknown}`: the rules are {rules}")));
        }
        let policy: Policy = serde_json::from_value(rules.into())?;
        policy.meaningless().map_or(Ok(policy), |why| Err(serde::de::Error::custom(why)))
    });
    parsed.map_err(|source| ConfigError::Policy { path, source })
}

/// The rules of a policy, each once: of two lists the reader could not tell which one counts.
struct Rules(serde_json::Map<String, serde_json::Value>);

impl<'de> serde::Deserialize<'de> for Rules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> serde::de::Visitor<'de> for Once {
            type Value = Rules;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("rules by name")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut entries: A) -> Result<Rules, A::Error> {
                let mut rules = serde_json::Map::new();
                while let Some((name, list)) = entries.next_entry::<String, serde_json::Value>()? {
                    if rules.contains_key(&name) {
                        return Err(serde::de::Error::custom(format!("`{name}` is there twice")));
                    }
                    rules.insert(name, list);
                }
                Ok(Rules(rules))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// A yes or no as people write it in environments.
struct Switch(bool);

impl FromStr for Switch {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "1" | "true" => Ok(Self(true)),
            "0" | "false" => Ok(Self(false)),
            _ => Err("is not one of 1, true, 0, false"),
        }
    }
}

/// A proxy, by its address or its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy(pub IpNet);

impl FromStr for Proxy {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| "is neither an IP address nor a network like 10.0.0.0/8")
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|why| serde::de::Error::custom(format!("`{text}` {why}")))
    }
}

/// Where to listen; `off` alone leaves nothing, and the node only dials. Beside others it is no address, and is refused as
/// such.
pub(crate) fn places_of(written: Vec<String>) -> Vec<String> {
    if written.iter().all(|place| place == "off") { vec![] } else { written }
}

fn written_places<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a list of addresses, or \"off\"")]
    enum Written {
        List(Vec<String>),
        One(String),
    }
    Ok(Some(places_of(match Written::deserialize(deserializer)? {
        Written::List(list) => list,
        Written::One(place) => vec![place],
    })))
}

fn listen_in_environment(text: String) -> Result<Vec<String>, ConfigError> {
    let list = list_of(&text);
    if list.is_empty() && text != "off" {
        let why = "names no address: write `off` for a node that only dials".to_owned();
        return Err(ConfigError::Variable { name: "MINER_CTRL_LISTEN", value: text, why });
    }
    Ok(list)
}

/// A host's name as requests are compared with: in small letters, without the dot at its end.
fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    // An address as well: it is no mistake, though every address is allowed anyway.
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (named || name.parse::<IpAddr>().is_ok()).then_some(name)
}

fn list_of(text: &str) -> Vec<String> {
    if text == "off" {
        return Vec::new();
    }
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn word<T: FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    value: Option<String>,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(why) => Err(ConfigError::Variable { name, why: why.to_string(), value }),
    }
}

fn words<T: FromStr<Err: std::fmt::Display>>(name: &'static str, list: &[String]) -> Result<Vec<T>, ConfigError> {
    let parsed = list.iter().map(|item| {
        item.parse::<T>().map_err(|why| ConfigError::Variable { name, why: why.to_string(), value: item.clone() })
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;
    use std::error::Error;

    fn home() -> (tempfile::TempDir, Places) {
        let home = tempfile::tempdir().unwrap();
        let places = Places::resolve(Some(home.path()), |_| None).unwrap();
        places.make_directories().unwrap();
        (home, places)
    }

    #[test]
    fn without_anything_the_defaults_hold() {
        let (_home, places) = home();
        assert_eq!(NodeConfig::load(&places, |_| None, Settings::default()).unwrap(), NodeConfig::default());
        assert_eq!(load_policy(&places).unwrap(), Policy::default());
    }

    #[test]
    fn off_beside_an_address_is_kept_to_be_refused() {
        let places = |written: &[&str]| places_of(written.iter().map(|&place| place.to_owned()).collect());
        assert_eq!(places(&["off"]), [""; 0]);
        assert_eq!(places(&["off", ":19191"]), ["off", ":19191"]);
    }

    #[test]
    fn the_later_layer_wins() {
        let (_home, places) = home();
        let text = r#"
            listen = [":1", "/ip4/1.2.3.4/tcp/5/ws"]
            dashboard = "off"
            allowed_hosts = ["farm.lan"]
            tls = "off"
            tls_certificate = "/file/certificate"
            trusted_proxies = ["10.0.0.1"]
            pairing = "code"
            on_shutdown = "leave"
            programs = { xmrig = "/file/xmrig", tt-miner = "/file/tt" }
        "#;
        atomic::write(&places.config_file(), text.as_bytes()).unwrap();
        let env = |name: &str| match name {
            "MINER_CTRL_LISTEN" => Some(":2, :3".into()),
            "MINER_CTRL_PAIRING" => Some("off".into()),
            "MINER_CTRL_XMRIG" => Some("/env/xmrig".into()),
            "MINER_CTRL_DASHBOARD" => Some("".into()),
            "MINER_CTRL_TLS" => Some("on".into()),
            "MINER_CTRL_TLS_KEY" => Some("/env/key".into()),
            "MINER_CTRL_TRUSTED_PROXIES" => Some("::1, 172.16.0.0/12".into()),
            "MINER_CTRL_PASSWORD_FILE" => Some("/run/secrets/password".into()),
            "MINER_CTRL_PUBLIC_URL" => Some("http://farm.lan:9090".into()),
            _ => None,
        };
        let flags = Settings { pairing: Some(PairingMode::Ask), simulate: Some(true), ..Settings::default() };
        let config = NodeConfig::load(&places, env, flags).unwrap();
        let programs = [(Program::Xmrig, "/env/xmrig".into()), (Program::TtMiner, "/file/tt".into())];
        assert_eq!(
            config,
            NodeConfig {
                listen: vec![":2".into(), ":3".into()],
                dashboard: Some(DashboardChoice::Off),
                allowed_hosts: vec!["farm.lan".into()],
                public_url: Some("http://farm.lan:9090".into()),
                tls: TlsMode::On,
                tls_certificate: Some("/file/certificate".into()),
                tls_key: Some("/env/key".into()),
                trusted_proxies: vec!["::1".parse().unwrap(), "172.16.0.0/12".parse().unwrap()],
                password_file: Some("/run/secrets/password".into()),
                pairing: PairingMode::Ask,
                on_shutdown: OnShutdown::Leave,
                programs: programs.into(),
                simulate: true,
            }
        );
    }

    #[test]
    fn a_worker_has_no_dashboard_unless_somebody_asks_for_one() {
        let at = |dashboard: Option<&str>, role| {
            let dashboard = dashboard.map(DashboardChoice::parse);
            NodeConfig { dashboard, ..NodeConfig::default() }.dashboard_address(role).map(str::to_owned)
        };
        assert_eq!(at(None, Role::Dual).as_deref(), Some("127.0.0.1:9090"));
        assert_eq!(at(None, Role::Controller).as_deref(), Some("127.0.0.1:9090"));
        assert_eq!(at(None, Role::Worker), None);
        assert_eq!(at(Some("127.0.0.1:1"), Role::Worker).as_deref(), Some("127.0.0.1:1"));
        assert_eq!(at(Some("off"), Role::Dual), None);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_file() {
        let (_home, places) = home();
        for (text, key) in [
            ("lisen = [\":1\"]", "lisen"),
            ("[programs]\nxmrg = \"/x\"", "xmrg"),
            ("pairing = 1", "1"),
            ("tls = \"maybe\"", "maybe"),
            ("trusted_proxies = [\"10.0.0.0/40\"]", "10.0.0.0/40"),
        ] {
            atomic::write(&places.config_file(), text.as_bytes()).unwrap();
            let error = NodeConfig::load(&places, |_| None, Settings::default()).unwrap_err();
            assert!(error.to_string().contains("config.toml"), "{error}");
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains(key), "{cause}");
        }
    }

    #[test]
    fn a_wrong_variable_is_refused_by_name() {
        for (name, value) in [
            ("MINER_CTRL_PAIRING", "maybe"),
            ("MINER_CTRL_SIMULATE", "yes"),
            ("MINER_CTRL_ON_SHUTDOWN", "x"),
            ("MINER_CTRL_TLS", "yes"),
            ("MINER_CTRL_TRUSTED_PROXIES", "proxy.lan"),
        ] {
            let error = Settings::from_env(|asked| (asked == name).then(|| value.into())).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_node_that_only_dials_says_so_by_an_empty_list_or_a_word() {
        let (_home, places) = home();
        let listen = |text: &str| {
            atomic::write(&places.config_file(), text.as_bytes()).unwrap();
            NodeConfig::load(&places, |_| None, Settings::default()).unwrap().listen
        };
        for nowhere in ["listen = []", "listen = \"off\"", "listen = [\"off\"]"] {
            assert!(listen(nowhere).is_empty(), "{nowhere}");
        }
        assert_eq!(listen("listen = [\":1\"]"), [":1"]);
        let variable = |value: &'static str| {
            Settings::from_env(|asked| (asked == "MINER_CTRL_LISTEN").then(|| value.into())).map(|said| said.listen)
        };
        assert_eq!(variable("off").unwrap(), Some(vec![]));
        assert_eq!(variable("").unwrap(), None);
        assert!(variable(",").unwrap_err().to_string().contains("names no address"));
    }

    #[test]
    fn an_allowed_host_is_a_name_as_requests_are_compared_with() {
        let (_home, places) = home();
        let with = |host: &str| {
            let flags = Settings { allowed_hosts: Some(vec![host.into()]), ..Settings::default() };
            NodeConfig::load(&places, |_| None, flags).map(|config| config.allowed_hosts)
        };
        assert_eq!(with("FARM.lan.").unwrap(), ["farm.lan"]);
        for bad in ["", "http://farm.lan:9090", "farm.lan:9090", "farm.lan/rigs", "*.lan"] {
            assert!(matches!(with(bad), Err(ConfigError::AllowedHost(_))), "{bad}");
        }
    }

    #[test]
    fn a_public_url_is_one_for_browsers() {
        let (_home, places) = home();
        let with = |url: &str| {
            let flags = Settings { public_url: Some(url.into()), ..Settings::default() };
            NodeConfig::load(&places, |_| None, flags).map(|config| config.public_url)
        };
        assert_eq!(with("https://farm.lan").unwrap().as_deref(), Some("https://farm.lan"));
        for bad in ["nope", "javascript:alert(1)", "http://", "http://a b", "http://a/?y", "http://a/#z"] {
            assert!(matches!(with(bad), Err(ConfigError::PublicUrl(_))), "{bad}");
        }
    }

    #[test]
    fn a_key_without_its_certificate_is_refused() {
        let (_home, places) = home();
        let flags = Settings { tls_key: Some("/key".into()), ..Settings::default() };
        assert!(matches!(NodeConfig::load(&places, |_| None, flags), Err(ConfigError::KeyAlone)));
    }

    #[test]
    fn a_damaged_policy_stops_the_node() {
        let (_home, places) = home();
        for text in [
            "",
            "{",
            r#"{"walets": []}"#,
            r#"{"verbs": ["fly"]}"#,
            r#"{"wallets": null}"#,
            r#"{"wallets": ["a"], "wallets": ["b"]}"#,
            r#"{"wallets": [" a"]}"#,
            r#"{"wallets": ["a", "b\u200bc"]}"#,
            r#"{"pools": ["*"]}"#,
            r#"{"pools": ["stratum+tcp://pool.example"]}"#,
            r#"{"pools": ["::1"]}"#,
            r#"{"pools": ["pool.example/"]}"#,
        ] {
            atomic::write(&places.policy_file(), text.as_bytes()).unwrap();
            assert!(matches!(load_policy(&places), Err(ConfigError::Policy { .. })), "{text:?}");
        }
        let good = br#"{"wallets": ["mine"], "pools": ["pool.example", "ssl://b.example:1", "[::1]", "[::1]:3333"]}"#;
        atomic::write(&places.policy_file(), good).unwrap();
        assert_eq!(load_policy(&places).unwrap().wallets, Some(vec!["mine".into()]));
        std::fs::remove_file(places.policy_file()).unwrap();
        std::os::unix::fs::symlink("nowhere", places.policy_file()).unwrap();
        assert!(matches!(load_policy(&places), Err(ConfigError::Policy { .. })));
    }
}
