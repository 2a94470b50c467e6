//! The way to each broker, step by step: name, connection, encryption, MQTT, a message sent and read back.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Packet, PublishOptions, QoS};
use tokio::runtime::Builder;

use super::{Check, Verdict};
use crate::config::{Address, Config};
use crate::publish::mqtt::{self, AccessError};

/// Longest time for each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// The cure of a password or a key that systemd shows to the service alone.
const CREDENTIAL: &str = "mend the file that it names; if it is a credential of the service, try it as that: \
                          `sudo systemd-run --pipe --wait --property=LoadCredential=NAME:FILE tvsl doctor`";

/// The steps for every configured broker, each up to the first that fails. While one of them works, another that does not
/// is a warning.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    if !config.mqtt.enabled {
        return vec![Check::skipped("broker", "[mqtt] enabled = false: nothing is sent")];
    }
    let tried: Vec<_> = config.mqtt.brokers().iter().map(|broker| steps(config, broker)).collect();
    let works = tried.iter().any(|steps| steps.iter().all(|step| step.verdict != Verdict::Failed));
    let mut checks = tried.concat();
    for check in checks.iter_mut().filter(|check| works && check.verdict == Verdict::Failed) {
        check.verdict = Verdict::Warning;
    }
    checks
}

/// Name, connection, encryption, MQTT, and a message.
fn steps(config: &Config, broker: &Address) -> Vec<Check> {
    let found = match (broker.host.as_str(), broker.port).to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            let cure =
                "check [mqtt] host and the name server (`resolvectl status`), or give the address as numbers";
            return vec![Check::failed("dns", format!("{}: {error}", broker.host), cure)];
        }
    };
    let named = found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    let mut checks = vec![Check::ok("dns", format!("{} is {named}", broker.host))];
    match reach(&found) {
        Ok(address) => {
            checks.push(Check::ok("tcp", format!("{address} answers")));
            checks.extend(talk(config, broker));
        }
        Err(error) => {
            let cure = "check [mqtt] host and port, that the broker runs, and the firewalls on the way";
            checks.push(Check::failed("tcp", format!("{broker}: {error}"), cure));
        }
    }
    checks
}

/// The first address that accepts a connection.
fn reach(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(_) => return Ok(*address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What a client of ours meets there: encryption, MQTT, a message that comes back.
fn talk(config: &Config, broker: &Address) -> Vec<Check> {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Check::failed("mqtt", error.to_string(), "free memory or threads")],
    };
    let client_id = format!("{}-doctor", config.mqtt.client_id);
    let options = match mqtt::access(config, broker, &client_id) {
        Ok(options) => options,
        Err(error) => return vec![unreadable(&error)],
    };
    let (client, mut connection) = AsyncClient::builder(options).capacity(4).build();
    match runtime.block_on(greeting(&mut connection)) {
        Ok(()) => {}
        Err(error) if config.mqtt.tls.enabled && mqtt::in_handshake(&error) => {
            return vec![refusal("tls", &error)];
        }
        Err(error) => return vec![encrypted(config, broker), refusal("mqtt", &error)],
    }
    let topic = config.topic("doctor");
    let echoed = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, echo(&client, &mut connection, &topic)).await });
    let taken = Check::ok("mqtt", format!("{broker} takes this client"));
    vec![encrypted(config, broker), taken, published(&topic, echoed.unwrap_or(Err(Told::Nothing)))]
}

/// A file that the broker shall be shown something of.
fn unreadable(error: &AccessError) -> Check {
    let stage = if error.key().is_some_and(|key| !key.starts_with("mqtt.tls")) { "mqtt" } else { "tls" };
    match error {
        AccessError::Secret(secret) if secret.may_be_credential() => {
            Check::warning(stage, error.to_string(), CREDENTIAL)
        }
        _ => Check::failed(stage, error.to_string(), "mend the file that the message names"),
    }
}

fn encrypted(config: &Config, broker: &Address) -> Check {
    if config.mqtt.tls.enabled {
        Check::ok("tls", format!("{broker} shows a certificate that is trusted and of this name"))
    } else {
        Check::skipped("tls", "[mqtt.tls] enabled = false: whoever is on the way can read along")
    }
}

/// Why the broker does not take this client; the words end in a cure where there is one.
fn refusal(stage: &'static str, error: &ConnectionError) -> Check {
    let told = mqtt::reason(error);
    match told.rsplit_once("; ") {
        Some((found, cure)) => Check::failed(stage, found, cure),
        None => {
            let cure = "look at the broker's log for what it says about this client; if it wants TLS, set [mqtt.tls] enabled";
            Check::failed(stage, told, cure)
        }
    }
}

fn published(topic: &str, echoed: Result<(), Told>) -> Check {
    const STAGE: &str = "publish";
    let rights = format!("let this user write and read {topic} and everything beside it (the broker's ACL)");
    match echoed {
        Ok(()) => Check::ok(STAGE, format!("a message to {topic} came back")),
        Err(Told::Connection(error)) => refusal(STAGE, &error),
        Err(Told::Refused) => Check::failed(STAGE, format!("may not subscribe to {topic}"), rights),
        Err(Told::Nothing) => {
            let found = format!("a message to {topic} did not come back within {} s", PATIENCE.as_secs());
            Check::failed(STAGE, found, rights)
        }
    }
}

/// Why no message came back.
enum Told {
    Connection(Box<ConnectionError>),
    Refused,
    Nothing,
}

/// Waits until the broker takes this client; the client itself gives up after some seconds.
async fn greeting(connection: &mut EventLoop) -> Result<(), ConnectionError> {
    while !matches!(connection.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
    Ok(())
}

/// Subscribes, publishes and reads its own message.
async fn echo(client: &AsyncClient, connection: &mut EventLoop, topic: &str) -> Result<(), Told> {
    let word = format!("{:016x}", fastrand::u64(..));
    client.try_subscribe(topic, QoS::AtLeastOnce).map_err(|_| Told::Refused)?;
    loop {
        match connection.poll().await.map_err(|error| Told::Connection(Box::new(error)))? {
            Event::Incoming(Packet::SubAck(answer)) => {
                if answer.return_codes.contains(&rumqttc::SubscribeReasonCode::Failure) {
                    return Err(Told::Refused);
                }
                let options = PublishOptions::at_least_once();
                client.try_publish(topic, word.clone(), options).map_err(|_| Told::Refused)?;
            }
            Event::Incoming(Packet::Publish(message)) if message.payload == word.as_bytes() => {
                return Ok(());
            }
            _ => {}
        }
    }
}
