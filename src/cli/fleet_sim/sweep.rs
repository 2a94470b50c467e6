//! What simulated devices leave at a site's broker, their retained messages, taken back.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, Packet, PublishOptions, QoS};
use tokio::time::timeout;

use super::witness::PREFIX;
use crate::config::{Address, Config};
use crate::publish::mqtt;

/// Longest time for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests that wait at once; what is beyond is met again in the next round.
const ROOM: usize = 1024;

/// Empties every retained topic of simulated devices.
///
/// # Errors
/// The broker cannot be reached, or goes on showing some.
pub(super) async fn sweep(config: &Config, at: &Address) -> Result<(), String> {
    let swept = timeout(PATIENCE, rounds(config, at)).await;
    swept.unwrap_or_else(|_| Err(format!("not done within {} s", PATIENCE.as_secs())))
}

/// Subscribes anew, which shows what is retained, until that is nothing. A message of its own tells where a round ends.
async fn rounds(config: &Config, at: &Address) -> Result<(), String> {
    let name = format!("sweep-{:08x}", fastrand::u32(..));
    let options = mqtt::access(config, at, &format!("tvsl-{name}")).map_err(|error| error.to_string())?;
    let (client, mut connection) = AsyncClient::builder(options).capacity(ROOM).build();
    let (all, end, mut found) = (format!("{PREFIX}/#"), format!("{PREFIX}/{name}"), 0);
    loop {
        let event = connection.poll().await.map_err(|error| mqtt::reason(&error))?;
        let asked = match event {
            Event::Incoming(Packet::ConnAck(_)) => client.try_subscribe(&all, QoS::AtMostOnce),
            Event::Incoming(Packet::SubAck(_)) => {
                client.try_publish(end.as_str(), "end", PublishOptions::at_most_once())
            }
            Event::Incoming(Packet::Publish(message)) if message.topic == end.as_bytes() => {
                if std::mem::take(&mut found) == 0 {
                    return Ok(());
                }
                client.try_subscribe(&all, QoS::AtMostOnce)
            }
            Event::Incoming(Packet::Publish(message)) if message.retain => {
                found += 1;
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                client.try_publish(topic, "", PublishOptions::at_most_once().retained()).or(Ok(()))
            }
            _ => Ok(()),
        };
        asked.map_err(|error| error.to_string())?;
    }
}
