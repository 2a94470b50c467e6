//! Which packet on the wire stands for which report.

use std::collections::VecDeque;

use crate::publish::store::Ticket;

/// The reports of one connection, from the request until the broker has read them, in order. The client sends requests in
/// order and gives each QoS 1 packet a number of its own; the broker reads packets in order.
#[derive(Debug, Default)]
pub(super) struct Wire(VecDeque<Flight>);

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    bytes: usize,
    /// Its number once it is sent; QoS 0 has the number 0.
    packet: Option<u16>,
}

impl Wire {
    /// A report of so many bytes was handed to the client.
    pub(super) fn requested(&mut self, ticket: Ticket, bytes: usize) {
        self.0.push_back(Flight { ticket, bytes, packet: None });
    }

    /// The client sent the oldest requested report as `packet`. The ticket of QoS 0 comes back: nobody will acknowledge it.
    /// It counts as on its way while it is `bold`.
    pub(super) fn sent(&mut self, packet: u16, bold: impl Fn(usize) -> bool) -> Option<Ticket> {
        let at = self.0.iter().position(|flight| flight.packet.is_none())?;
        let flight = self.0.get_mut(at)?;
        flight.packet = Some(packet);
        if packet != 0 {
            return None;
        }
        let (ticket, bold) = (flight.ticket.clone(), bold(flight.bytes));
        if !bold {
            self.0.remove(at);
        }
        Some(ticket)
    }

    /// The broker acknowledges `packet`: its report, and the most bytes of those that it read with it.
    pub(super) fn acknowledged(&mut self, packet: u16) -> Option<(Ticket, usize)> {
        let at = self.0.iter().position(|flight| flight.packet == Some(packet))?;
        let flight = self.0.remove(at)?;
        Some((flight.ticket, self.read(at).max(flight.bytes)))
    }

    /// The broker has read everything that was sent; the most bytes of it.
    pub(super) fn all_read(&mut self) -> usize {
        self.read(self.0.iter().take_while(|flight| flight.packet.is_some()).count())
    }

    /// The broker has read the first `count`, of which those are over that nobody acknowledges.
    fn read(&mut self, count: usize) -> usize {
        let most = self.0.iter().take(count).map(|flight| flight.bytes).max().unwrap_or(0);
        let rest = self.0.split_off(count);
        self.0.retain(|flight| flight.packet != Some(0));
        self.0.extend(rest);
        most
    }

    /// The most bytes of what is on its way.
    pub(super) fn largest(&self) -> Option<usize> {
        self.0.iter().map(|flight| flight.bytes).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_find_their_reports() {
        let mut wire = Wire::default();
        (0..3).for_each(|number| wire.requested(Ticket::Event(number), 100 + number as usize));
        assert_eq!(wire.sent(7, |_| false), None);
        assert_eq!(wire.sent(0, |_| false), Some(Ticket::Event(1)), "QoS 0 is done when it is sent");
        assert_eq!(wire.sent(8, |_| false), None);
        assert_eq!(wire.acknowledged(8), Some((Ticket::Event(2), 102)));
        assert_eq!(wire.acknowledged(7), Some((Ticket::Event(0), 100)));
        assert_eq!((wire.acknowledged(7), wire.sent(9, |_| false)), (None, None));
    }

    #[test]
    fn a_bold_one_that_nobody_acknowledges_is_on_its_way_until_what_follows_is_read() {
        let mut wire = Wire::default();
        (0..4).for_each(|number| wire.requested(Ticket::Event(number), 1000 - number as usize));
        wire.sent(0, |bytes| bytes > 500);
        assert_eq!(wire.largest(), Some(1000));
        wire.sent(1, |_| true);
        assert_eq!(wire.acknowledged(1), Some((Ticket::Event(1), 1000)), "it was read before");
        wire.sent(0, |_| true);
        assert_eq!((wire.all_read(), wire.largest()), (998, Some(997)));
    }
}
