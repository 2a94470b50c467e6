//! How the broker is reached, and what a failure to reach it means.

use rumqttc::{ConnectionError, LastWill, MqttOptions, QoS};

use crate::config::Config;
use crate::message::Presence;
use crate::publish::store::WINDOW;

/// A message larger than this is no message of ours.
const LARGEST_PACKET: usize = 256 * 1024;

/// How the configured broker is reached and what it is shown, for a client called `client_id`.
pub fn access(config: &Config, client_id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, (config.mqtt.host.clone(), config.mqtt.port));
    options.set_keep_alive(u16::try_from(config.mqtt.keep_alive.as_secs()).unwrap_or(u16::MAX));
    options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
    options
}

/// The same for the daemon: with its last will.
pub(super) fn options(config: &Config) -> MqttOptions {
    let mut options = access(config, &config.mqtt.client_id);
    options.set_inflight(WINDOW as u16);
    let gone = Presence::Offline.word();
    options.set_last_will(LastWill::new(config.topic("status"), gone, QoS::AtLeastOnce, true));
    options
}

/// What went wrong, and what to look at.
pub fn reason(error: &ConnectionError) -> String {
    use rumqttc::ConnectReturnCode::{BadClientId, BadUserNamePassword, NotAuthorized, ServiceUnavailable};
    match error {
        ConnectionError::ConnectionRefused(NotAuthorized | BadUserNamePassword) => {
            "it refuses this client: not authorised (it wants a user name and password, or forbids this client id)"
                .into()
        }
        ConnectionError::ConnectionRefused(BadClientId) => {
            "it refuses the client id; set [mqtt] client_id".into()
        }
        ConnectionError::ConnectionRefused(ServiceUnavailable) => "it says that it is unavailable".into(),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            "it does not answer in time; check [mqtt] host and port, and the network".into()
        }
        ConnectionError::Io(error) => format!("{error}; check [mqtt] host and port, and that the broker runs"),
        other => other.to_string(),
    }
}
