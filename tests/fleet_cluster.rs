//! A fleet on a clustered broker (rmqtt, two nodes): workers share the events of a device wherever each is connected.
//! `make test-cluster` builds the broker.

mod broker;
mod daemon;
mod subscriber;
mod support;

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use broker::free_port;
use daemon::{Daemon, Lines, PATIENCE};
use serde_json::Value;
use subscriber::{Subscriber, clustered};

/// A node of the cluster; killed when dropped.
struct Node {
    process: Child,
    port: u16,
}

impl Node {
    fn start(number: usize, peers: &[u16]) -> Self {
        let program = std::env::var_os("TVSL_CLUSTER_NODE").expect("the broker's node: `make test-cluster`");
        let port = free_port();
        let mut command = Command::new(program);
        command.args([number.to_string(), port.to_string()]).args(peers.iter().map(u16::to_string));
        let mut process =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the node starts");
        Lines::of(process.stdout.take().expect("its output")).find(|line| line == "ready");
        Self { process, port }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The number of the event that a line tells of.
fn number(line: &str) -> Option<u64> {
    let event: Value = serde_json::from_str(line.strip_prefix("tvsl/test/events ")?).expect("JSON");
    Some(event["sequence"].as_u64().expect("a number"))
}

#[test]
#[ignore = "`make test-cluster` builds the broker first"]
fn workers_on_two_nodes_share_the_events_of_a_device() {
    let peers = [free_port(), free_port()];
    let nodes = [1, 2].map(|number| Node::start(number, &peers));
    let (_folder, config) = clustered(nodes[0].port, nodes[1].port);
    let workers = [("one", &nodes[0]), ("two", &nodes[1])]
        .map(|(id, node)| Subscriber::worker(node.port, id).subscribed());
    let _daemon = Daemon::start(&config);
    let (mut told, began) = ([BTreeSet::new(), BTreeSet::new()], Instant::now());
    while !(1..=60).all(|number| told.iter().any(|own| own.contains(&number))) {
        assert!(began.elapsed() < PATIENCE, "{told:?}");
        for (worker, own) in workers.iter().zip(&mut told) {
            let number = worker.lines.soon().and_then(|line| number(&line));
            assert!(number.is_none_or(|number| own.insert(number)), "{number:?} came again");
        }
    }
    assert!(told.iter().all(|own| own.len() > 5), "both had a share: {told:?}");
    assert_eq!(told[0].intersection(&told[1]).next(), None, "each event went to one worker");
}
