//! One node of a clustered MQTT broker (rmqtt), for tests/fleet_cluster.rs:
//!
//!     cluster-node NUMBER MQTT-PORT PEER-PORT...
//!
//! Nodes count from 1; the peer ports are those on which nodes talk to each other, of all of them in their order. Prints `ready` when it
//! listens.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rmqtt::context::ServerContext;
use rmqtt::net::Builder;
use rmqtt::node::Node;
use rmqtt::server::MqttServer;

/// The configuration that docs/fleet.md shows, and its addresses, in whose place those of the test stand.
const SHIPPED: &str = include_str!("../../../docs/fleet/cluster/rmqtt-cluster-broadcast.toml");
const ADDRESSES: &str = r#"["1@node-1.example:5363", "2@node-2.example:5363"]"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<u16> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let [number, port, ref peers @ ..] = numbers[..] else {
        return Err("cluster-node NUMBER MQTT-PORT PEER-PORT...".into());
    };
    assert!(SHIPPED.contains(ADDRESSES), "the shipped addresses");
    let here = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let names: Vec<String> =
        (1..).zip(peers).map(|(number, &port)| format!("{number}@{}", here(port))).collect();
    let always = 1e9; // never too busy to answer
    let context = ServerContext::new()
        .node(Node::new(number.into(), always, always, Duration::from_secs(10)))
        .plugins_config_map_add("rmqtt-cluster-broadcast", SHIPPED.replace(ADDRESSES, &format!("{names:?}")))
        .build()
        .await;
    let own = peers.get(usize::from(number) - 1).ok_or("no peer port of its own")?;
    context.node.start_grpc_server(context.clone(), here(*own), true, false);
    rmqtt_shared_subscription::register(&context, true, false).await?;
    rmqtt_cluster_broadcast::register(&context, true, true).await?;
    let listener = Builder::new().name("loopback").laddr(here(port)).allow_anonymous(true).bind()?.tcp()?;
    println!("ready");
    Ok(MqttServer::new(context).listener(listener).build().run().await?)
}
