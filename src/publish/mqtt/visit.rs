//! The other brokers, while the device is connected to one: whether one that is preferred answers again, and what one
//! that it left still says of it.

use std::collections::BTreeSet;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ClientError, Event, EventLoop, Outgoing, Packet, PublishOptions, QoS, SubscribeFilter,
};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::access::{access, reason};
use super::link::hurried;
use super::{Ends, GOODBYE};
use crate::config::{Address, Config};
use crate::message::{ClassState, OnOff, Part, Presence, Report};

/// A broker that takes longer is away.
const LONGEST: Duration = Duration::from_secs(5);

/// Brokers to look after.
#[derive(Debug, Default)]
pub(super) struct Visits {
    /// Those that the device was connected to, and that were not told that it is not any more.
    left: BTreeSet<String>,
}

impl Visits {
    /// The connection to `broker` is over; nothing could be said there.
    pub fn leave(&mut self, broker: &Address) {
        self.left.insert(broker.to_string());
    }

    /// Goes round every `mqtt.return_every`, until a broker before number `here` takes this client: gives its number.
    pub async fn preferred(&mut self, config: &Config, here: usize, ends: Ends<'_>) -> usize {
        loop {
            sleep(config.mqtt.return_every).await;
            self.take_leave(config, here, ends).await;
            for (index, broker) in config.mqtt.brokers().iter().enumerate().take(here) {
                if called(visit(config, broker, ends, false).await, broker) {
                    return index;
                }
            }
        }
    }

    /// The last round, when the device stops: nothing is waited for.
    pub async fn end(mut self, config: &Config, here: usize, ends: Ends<'_>) {
        timeout(GOODBYE, self.take_leave(config, here, ends)).await.ok();
    }

    /// Has every broker that was left say that the device is gone, but for number `here`, as far as they can be reached.
    pub async fn take_leave(&mut self, config: &Config, here: usize, ends: Ends<'_>) {
        for (index, broker) in config.mqtt.brokers().iter().enumerate() {
            let left = self.left.contains(&broker.to_string()) && here != index;
            if left && called(visit(config, broker, ends, true).await, broker) {
                info!(%broker, "it was left when it was away, and knows now that this device is not there");
                self.left.remove(&broker.to_string());
            }
        }
    }
}

/// Whether a visit was one.
fn called(visit: Result<(), String>, broker: &Address) -> bool {
    if let Err(why) = &visit {
        debug!(%broker, "not back yet: {why}");
    }
    visit.is_ok()
}

/// Calls at `broker`, and, to `take_leave`, has it say that this device is gone.
async fn visit(config: &Config, broker: &Address, ends: Ends<'_>, take_leave: bool) -> Result<(), String> {
    let client_id = format!("{}-visit", config.mqtt.client_id);
    let mut options = access(config, broker, &client_id).map_err(|error| error.to_string())?;
    ends.dialer.dial(&mut options);
    let (client, network) = hurried(options);
    let mut call = Call { client, network };
    let said = timeout(LONGEST, call.make(config, ends, take_leave)).await;
    said.unwrap_or_else(|_| Err(format!("no answer within {} s", LONGEST.as_secs())))
}

struct Call {
    client: AsyncClient,
    network: EventLoop,
}

impl Call {
    async fn make(&mut self, config: &Config, ends: Ends<'_>, take_leave: bool) -> Result<(), String> {
        self.until(|packet| matches!(packet, Packet::ConnAck(_))).await?;
        if take_leave {
            for report in self.farewell(config, ends).await? {
                self.tell(config, &report).await?;
            }
        } else {
            // One that takes clients and answers nothing they ask for would be left again at once.
            let health = config.topic(&Report::health_topic(Part::Broker.name()));
            self.client.try_subscribe(health, QoS::AtMostOnce).map_err(refused)?;
            self.until(|packet| matches!(packet, Packet::SubAck(_))).await?;
        }
        self.client.try_disconnect().map_err(refused)?;
        while !matches!(self.next().await?, Event::Outgoing(Outgoing::Disconnect)) {}
        Ok(())
    }

    /// What the broker is to say: that this device is gone, and that what it says is sounding sounds no more. Nothing, if it
    /// says of the present connection what is told over that: then it is of one memory with the other broker, as the nodes
    /// of a cluster are, and nobody left it.
    async fn farewell(&mut self, config: &Config, ends: Ends<'_>) -> Result<Vec<Report>, String> {
        let present = ends.teller.connection().and_then(|report| report.payload(&config.mqtt).ok());
        let (health, states) =
            (config.topic(&Report::health_topic(Part::Broker.name())), config.topic("state/+"));
        let filters = [health.clone(), states.clone()];
        let asked = filters.clone().map(|filter| SubscribeFilter::new(filter, QoS::AtMostOnce));
        self.client.try_subscribe_many(asked).map_err(refused)?;
        self.until(|packet| matches!(packet, Packet::SubAck(_))).await?;
        // What is retained comes before the answer to a later request.
        self.client.try_unsubscribe_many(filters).map_err(refused)?;
        let (mut same, mut told) = (false, Vec::new());
        self.until(|packet| {
            if let Packet::Publish(message) = packet {
                same |= message.topic == health && present.as_deref() == Some(&message.payload);
                told.extend(serde_json::from_slice::<ClassState>(&message.payload));
            }
            matches!(packet, Packet::UnsubAck(_))
        })
        .await?;
        let moment = ends.teller.moment();
        let (published, clock_synced) = (moment.unix(moment.now), moment.synced);
        let open = |state: &ClassState| state.state == OnOff::On || !state.ending.is_empty();
        let on = told.into_iter().filter(|state| !same && open(state));
        let off = on.map(|state| {
            let stamped = ClassState { published, clock_synced, ..state };
            ClassState { state: OnOff::Off, sources: vec![], ending: vec![], ..stamped }
        });
        let gone = (!same).then_some(Report::Status(Presence::Offline));
        Ok(gone.into_iter().chain(off.map(|state| Report::State(Box::new(state)))).collect())
    }

    async fn tell(&mut self, config: &Config, report: &Report) -> Result<(), String> {
        let payload = report.payload(&config.mqtt).map_err(|error| error.to_string())?;
        let options = PublishOptions::at_least_once().retained();
        self.client.try_publish(report.address(config), payload, options).map_err(refused)?;
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await
    }

    /// Waits for a packet that is `enough`.
    async fn until(&mut self, mut enough: impl FnMut(&Packet) -> bool) -> Result<(), String> {
        loop {
            if let Event::Incoming(packet) = self.next().await?
                && enough(&packet)
            {
                return Ok(());
            }
        }
    }

    async fn next(&mut self) -> Result<Event, String> {
        self.network.poll().await.map_err(|error| reason(&error))
    }
}

fn refused(error: ClientError) -> String {
    error.to_string()
}
