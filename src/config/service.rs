//! The sections `[mqtt]`, `[log]` and `[service]`: whom it tells.

use super::value;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// `[mqtt]`: the broker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Whether anything is sent.
    pub enabled: bool,
    /// Address of the broker.
    #[serde(deserialize_with = "value::host")]
    pub host: String,
    /// Port of the broker.
    #[serde(deserialize_with = "value::port")]
    pub port: u16,
    /// Start of every topic, with `{device}` still in it; use [`super::Config::topic`].
    #[serde(deserialize_with = "value::prefix")]
    pub prefix: String,
    /// Name of this client at the broker; never empty once a configuration is loaded.
    #[serde(deserialize_with = "value::client_id")]
    pub client_id: String,
    /// Brokers that are tried when the first is away.
    pub fallbacks: Vec<Address>,
    /// Time between two looks whether a broker before the one that is connected to is back.
    #[serde(deserialize_with = "value::return_every")]
    pub return_every: Duration,
    /// File or systemd credential that says who this client is; empty: nobody.
    pub username_file: PathBuf,
    /// File or systemd credential with the password; empty: none.
    pub password_file: PathBuf,
    /// Time between signs of life when nothing else is sent.
    #[serde(deserialize_with = "value::keep_alive")]
    pub keep_alive: Duration,
    /// How `detections` are written.
    pub format: Format,
    /// The camera's coordinate frame in [`Format::Ros2`].
    pub frame_id: String,
    /// Most messages a second on `detections`; 0: no limit.
    #[serde(deserialize_with = "value::per_second")]
    pub detections_rate: f64,
    /// Whether `detections` tells of empty pictures.
    pub send_empty: bool,
    /// Time between the updates of an event.
    #[serde(deserialize_with = "value::seconds")]
    pub update_every: Duration,
    /// Time between the messages of `level`; zero: none.
    #[serde(deserialize_with = "value::seconds")]
    pub level_every: Duration,
    /// Time between the messages of `snapshot`; zero: none.
    #[serde(deserialize_with = "value::seconds")]
    pub snapshot_every: Duration,
    /// Time between the messages of `heatmap`; zero: none.
    #[serde(deserialize_with = "value::seconds")]
    pub heatmap_every: Duration,
    /// Most bytes of such a message.
    #[serde(rename = "picture_kilobytes", deserialize_with = "value::kilobytes")]
    pub picture_bytes: usize,
    /// Most messages of `detections` that wait for the broker.
    #[serde(deserialize_with = "value::store")]
    pub keep_detections: usize,
    /// Most messages of `events` that wait for the broker.
    #[serde(deserialize_with = "value::store")]
    pub keep_events: usize,
    /// Whether subscribers may change settings.
    pub commands: bool,
    /// File that keeps what they changed; empty: see [`super::Config::settings_file`].
    pub settings_file: PathBuf,
    /// Events on disk.
    pub store: DiskStore,
    /// Home Assistant's discovery.
    pub home_assistant: HomeAssistant,
    /// Encryption.
    pub tls: Tls,
}

impl Mqtt {
    /// Every broker, in the order in which they are tried.
    pub fn brokers(&self) -> Vec<Address> {
        let first = Address { host: self.host.clone(), port: self.port };
        std::iter::once(first).chain(self.fallbacks.iter().cloned()).collect()
    }
}

/// `[mqtt.store]`: events that the broker has not taken, on disk.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskStore {
    /// Whether they are kept there at all.
    pub enabled: bool,
    /// Time between writes: what a crash may lose.
    #[serde(deserialize_with = "value::flush")]
    pub every: Duration,
    /// Most bytes there.
    #[serde(rename = "megabytes", deserialize_with = "value::megabytes")]
    pub bytes: u64,
    /// Older events give way.
    #[serde(rename = "hours", deserialize_with = "value::hours")]
    pub age: Duration,
    /// The file; empty: see [`super::Config::store_file`].
    pub file: PathBuf,
}

/// How `detections` are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON.
    Json,
    /// The same fields in CBOR.
    Cbor,
    /// `vision_msgs/Detection2DArray` as JSON.
    Ros2,
}

/// Where a broker listens, written `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address {
    /// Name or number of the host.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('@') {
            return Err(value::STRANGER.into());
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((&text, ""));
        let fine = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
        let port = port.parse().ok().filter(|port| *port > 0 && fine).ok_or_else(|| {
            format!("{text:?} is no broker, expected \"HOST:PORT\", such as \"192.168.1.11:1883\"")
        })?;
        Ok(Address { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// `[mqtt.home_assistant]`: discovery.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeAssistant {
    /// Whether Home Assistant is told of this device; otherwise what it was told before is taken back.
    pub enabled: bool,
    /// Start of the topics that it discovers from.
    #[serde(deserialize_with = "value::prefix")]
    pub prefix: String,
    /// Names that this device had before.
    #[serde(deserialize_with = "value::topic_levels")]
    pub former: Vec<String>,
}

/// `[mqtt.tls]`: encryption.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whether the connection is encrypted.
    pub enabled: bool,
    /// Authorities to trust, PEM; empty: the system's.
    pub ca_file: PathBuf,
    /// This client's certificate, PEM; empty: none.
    pub certificate_file: PathBuf,
    /// Its key, PEM: a file or a systemd credential.
    pub key_file: PathBuf,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Least important messages shown.
    pub level: LogLevel,
    /// How a message is written.
    pub format: LogFormat,
}

/// Importance of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something may not work.
    Warn,
    /// What a user wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How log messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human, with the journal's priorities under systemd.
    Auto,
    /// One readable line for a message.
    Human,
    /// One JSON object for a message.
    Json,
}

/// `[monitor]`: what can be read over HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// Where it listens.
    #[serde(deserialize_with = "value::ip")]
    pub address: IpAddr,
    /// The port there; 0: it does not listen.
    #[serde(deserialize_with = "value::port_or_zero")]
    pub port: u16,
}

impl Monitor {
    /// Where it listens; `None` if it does not.
    pub fn listens(&self) -> Option<SocketAddr> {
        (self.port > 0).then(|| SocketAddr::new(self.address, self.port))
    }
}

/// `[service]`: the word with systemd.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The service counts as started after this even if a device is still waited for.
    #[serde(deserialize_with = "value::start")]
    pub start_within: Duration,
}
