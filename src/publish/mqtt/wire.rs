//! Which packet on the wire stands for which report.

use std::collections::{HashMap, VecDeque};

use crate::publish::store::Ticket;

/// The reports of one connection, from the request to the broker's acknowledgement. The client sends
/// requests in order and gives each QoS 1 packet a number of its own.
#[derive(Debug, Default)]
pub(super) struct Wire {
    requested: VecDeque<Ticket>,
    sent: HashMap<u16, Ticket>,
}

impl Wire {
    /// A report was handed to the client.
    pub(super) fn requested(&mut self, ticket: Ticket) {
        self.requested.push_back(ticket);
    }

    /// The client sent the oldest requested report as `packet`; QoS 0 has the number 0, and its ticket
    /// comes back: nobody will acknowledge it.
    pub(super) fn sent(&mut self, packet: u16) -> Option<Ticket> {
        let ticket = self.requested.pop_front()?;
        if packet == 0 {
            return Some(ticket);
        }
        self.sent.insert(packet, ticket);
        None
    }

    /// The broker acknowledges `packet`.
    pub(super) fn acknowledged(&mut self, packet: u16) -> Option<Ticket> {
        self.sent.remove(&packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_find_their_reports() {
        let mut wire = Wire::default();
        (0..3).for_each(|number| wire.requested(Ticket::Event(number)));
        assert_eq!(wire.sent(7), None);
        assert_eq!(wire.sent(0), Some(Ticket::Event(1)), "QoS 0 is done when it is sent");
        assert_eq!(wire.sent(8), None);
        assert_eq!(wire.acknowledged(8), Some(Ticket::Event(2)));
        assert_eq!(wire.acknowledged(7), Some(Ticket::Event(0)));
        assert_eq!((wire.acknowledged(7), wire.sent(9)), (None, None));
    }
}
