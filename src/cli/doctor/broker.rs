//! The way to the broker, step by step: name, connection, MQTT, a message sent and read back.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, Packet, PublishOptions, QoS};
use tokio::runtime::Builder;

use super::Check;
use crate::config::{Address, Config};
use crate::publish::mqtt::{self, AccessError};

/// Longest time for each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// The steps up to the first that fails.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    if !config.mqtt.enabled {
        return vec![Check::skipped("broker", "[mqtt] enabled = false: nothing is sent")];
    }
    let (host, port) = (config.mqtt.host.as_str(), config.mqtt.port);
    let found = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            let cure =
                "check [mqtt] host and the name server (`resolvectl status`), or give the address as numbers";
            return vec![Check::failed("dns", format!("{host}: {error}"), cure)];
        }
    };
    let named = found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    let mut checks = vec![Check::ok("dns", format!("{host} is {named}"))];
    match reach(&found) {
        Ok(address) => checks.push(Check::ok("tcp", format!("{address} answers"))),
        Err(error) => {
            let cure = "check [mqtt] host and port, that the broker runs, and the firewalls on the way";
            checks.push(Check::failed("tcp", format!("{host}:{port}: {error}"), cure));
            return checks;
        }
    }
    checks.push(talk(config));
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

fn talk(config: &Config) -> Check {
    const STAGE: &str = "mqtt";
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Check::failed(STAGE, error.to_string(), "free memory or threads"),
    };
    let topic = config.topic("doctor");
    let rights = format!("let this user write and read {topic} and everything beside it (the broker's ACL)");
    match runtime.block_on(async { tokio::time::timeout(PATIENCE, echo(config, &topic)).await }) {
        Ok(Ok(())) => Check::ok(STAGE, format!("a message to {topic} came back")),
        Ok(Err(Told::Connection(error))) => {
            let told = mqtt::reason(&error);
            let cure = "look at the broker's log for what it says about this client";
            Check::failed(STAGE, told, cure)
        }
        Ok(Err(Told::Access(error))) => {
            Check::failed(STAGE, error.to_string(), "mend the file that the message names")
        }
        Ok(Err(Told::Refused)) => Check::failed(STAGE, format!("may not subscribe to {topic}"), rights),
        Err(_) => {
            let found = format!("a message to {topic} did not come back within {} s", PATIENCE.as_secs());
            Check::failed(STAGE, found, rights)
        }
    }
}

/// Why no message came back.
enum Told {
    Connection(Box<ConnectionError>),
    Access(AccessError),
    Refused,
}

/// Connects, subscribes, publishes and reads its own message.
async fn echo(config: &Config, topic: &str) -> Result<(), Told> {
    let word = format!("{:016x}", fastrand::u64(..));
    let client_id = format!("{}-doctor", config.mqtt.client_id);
    let broker = Address { host: config.mqtt.host.clone(), port: config.mqtt.port };
    let options = mqtt::access(config, &broker, &client_id).map_err(Told::Access)?;
    let (client, mut connection) = AsyncClient::builder(options).capacity(4).build();
    loop {
        match connection.poll().await.map_err(|error| Told::Connection(Box::new(error)))? {
            Event::Incoming(Packet::ConnAck(_)) => {
                client.try_subscribe(topic, QoS::AtLeastOnce).map_err(|_| Told::Refused)?;
            }
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
