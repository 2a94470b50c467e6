//! The broker: connects for ever, says whether this device is there, and sends what the outbox holds.
//!
//! The connection is polled by a task of its own, which nothing cancels half-way; the sender only ever
//! tries ([`AsyncClient::try_publish`]), so a broker that is slow, full or gone holds up nothing but
//! the outbox.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet,
    PublishOptions, QoS,
};
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use super::{Backoff, Outbox};
use crate::config::Config;

/// Payloads of the retained topic `status`.
pub mod status {
    /// Connected and at work.
    pub const ONLINE: &str = "online";
    /// Gone without a word: the broker says so in our place (Last Will).
    pub const OFFLINE: &str = "offline";
    /// Stopped on purpose.
    pub const STOPPED: &str = "stopped";
}

/// Requests between our sender and the client's connection; the outbox holds the rest.
const IN_FLIGHT: u16 = 32;
/// A message larger than this is no message of ours.
const LARGEST_PACKET: usize = 256 * 1024;
/// Longest time for a connection to be made.
const CONNECT_SECONDS: u64 = 5;
/// A connection that is full is tried again after this time, if nothing else wakes the sender.
const FULL: Duration = Duration::from_millis(20);
/// Longest time for the last messages and the goodbye at a clean stop.
const GOODBYE: Duration = Duration::from_millis(800);

/// Sends what `outbox` holds to the configured broker until `stop` is notified, then says goodbye.
/// Connects again for ever; every change of the connection is logged with its reason.
pub async fn run(config: &Config, outbox: Arc<Outbox>, stop: Arc<Notify>) {
    let (client, mut connection) =
        AsyncClient::builder(options(config)).capacity(usize::from(IN_FLIGHT)).build();
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT_SECONDS);
    network.set_tcp_nodelay(true);
    connection.set_network_options(network);
    let (connected, is_connected) = watch::channel(false);
    let link = Link {
        client: client.clone(),
        connected,
        broker: format!("{}:{}", config.mqtt.host, config.mqtt.port),
        status: config.topic("status"),
    };
    let polling = tokio::spawn(link.keep(connection));
    let sender = Sender { client, is_connected, outbox, topic: config.topic("detections") };
    tokio::select! {
        () = sender.forward() => {}
        () = stop.notified() => {}
    }
    if tokio::time::timeout(GOODBYE, sender.goodbye(&config.topic("status"), polling)).await.is_err() {
        warn!("the broker did not take the last messages within {} ms", GOODBYE.as_millis());
    }
}

/// How the configured broker is reached and what it is shown, for a client called `client_id`.
pub fn access(config: &Config, client_id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(client_id, (config.mqtt.host.clone(), config.mqtt.port));
    options.set_keep_alive(u16::try_from(config.mqtt.keep_alive.as_secs()).unwrap_or(u16::MAX));
    options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
    options
}

fn options(config: &Config) -> MqttOptions {
    let mut options = access(config, &config.mqtt.client_id);
    options.set_inflight(IN_FLIGHT);
    options.set_last_will(LastWill::new(config.topic("status"), status::OFFLINE, QoS::AtLeastOnce, true));
    options
}

/// The connection and what is known of it.
struct Link {
    client: AsyncClient,
    connected: watch::Sender<bool>,
    broker: String,
    status: String,
}

impl Link {
    /// Polls the connection for ever, with growing waits between attempts; returns once it was closed
    /// on purpose.
    async fn keep(self, mut connection: EventLoop) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut said = String::new();
        loop {
            match connection.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    info!(broker = self.broker, "connected to the broker");
                    backoff.reset();
                    said.clear();
                    self.greet();
                    self.connected.send_replace(true);
                }
                Ok(Event::Outgoing(Outgoing::Disconnect))
                | Err(ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout) => return,
                Ok(event) => debug!(?event, "mqtt"),
                Err(error) => {
                    self.connected.send_replace(false);
                    let wait = backoff.next(fastrand::f64());
                    self.complain(&error, wait, &mut said);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Says on every connection that this device is there: the broker may have told its last will.
    fn greet(&self) {
        let options = PublishOptions::at_least_once().retained();
        if let Err(error) = self.client.try_publish(self.status.clone(), status::ONLINE, options) {
            warn!(topic = self.status, "the status could not be sent: {error}");
        }
    }

    /// Tells why there is no connection: each reason once as a warning, its repetitions quietly.
    fn complain(&self, error: &ConnectionError, wait: Duration, said: &mut String) {
        let why = reason(error);
        let seconds = wait.as_secs_f64();
        if *said == why {
            debug!(broker = self.broker, "still no connection: {why}; trying again in {seconds:.1} s");
        } else {
            warn!(
                broker = self.broker,
                "no connection to the broker: {why}; trying again for ever, first in {seconds:.1} s"
            );
            *said = why;
        }
    }
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

/// Takes messages from the outbox to the client.
struct Sender {
    client: AsyncClient,
    is_connected: watch::Receiver<bool>,
    outbox: Arc<Outbox>,
    topic: String,
}

impl Sender {
    /// Sends for ever.
    async fn forward(&self) {
        let mut is_connected = self.is_connected.clone();
        loop {
            if is_connected.wait_for(|connected| *connected).await.is_err() {
                return;
            }
            if self.send_waiting() {
                self.outbox.arrival().await;
            } else {
                tokio::time::sleep(FULL).await;
            }
        }
    }

    /// Hands over what waits; `false` if the connection took no more.
    fn send_waiting(&self) -> bool {
        while let Some(message) = self.outbox.take() {
            let options = PublishOptions::at_least_once();
            if self.client.try_publish(self.topic.clone(), message.clone(), options).is_err() {
                self.outbox.put_back(message);
                return false;
            }
        }
        true
    }

    /// Sends what still waits and the word `stopped`, and closes the connection.
    async fn goodbye(&self, status: &str, polling: tokio::task::JoinHandle<()>) {
        if !*self.is_connected.borrow() {
            return polling.abort();
        }
        while !self.send_waiting() {
            tokio::time::sleep(FULL).await;
        }
        let options = PublishOptions::at_least_once().retained();
        while self.client.try_publish(status, status::STOPPED, options).is_err() {
            tokio::time::sleep(FULL).await;
        }
        if self.client.disconnect_with_timeout(GOODBYE).await.is_ok() {
            let _ = polling.await;
        }
    }
}
