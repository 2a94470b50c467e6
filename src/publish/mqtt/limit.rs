//! The largest message that a broker takes. MQTT 3.1.1 has no word for it: a broker closes the connection on one that is
//! too large, and would on each of its repetitions.
//!
//! Pure. A close that comes while one message is on its way that is larger than all that were read on this connection
//! makes that one suspect. It is tried once more, on a connection that has lasted a while, so that nothing else explains
//! a second close; after that, messages as large are left out.

/// What is known of one broker.
#[derive(Debug, Default)]
pub(super) struct Limit {
    /// The largest that it read on this connection.
    passed: usize,
    /// It closed the connection while one of so many bytes was on its way.
    suspect: Option<usize>,
    /// The least that it does not take.
    refused: Option<usize>,
}

/// When a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    Later,
    Never,
}

impl Limit {
    /// A connection begins.
    pub(super) fn begin(&mut self) {
        self.passed = 0;
    }

    /// Tries again what was refused.
    pub(super) fn forget(&mut self) {
        self.refused = None;
    }

    /// The least that it is known not to take.
    pub(super) fn refused(&self) -> Option<usize> {
        self.refused
    }

    /// Whether one of so many bytes is larger than all that it read on this connection: those go one at a time.
    pub(super) fn is_bold(&self, bytes: usize) -> bool {
        bytes > self.passed
    }

    /// When one of so many bytes is sent; `alone`: no bold one is on its way; `good`: the connection has lasted a while.
    pub(super) fn turn(&self, bytes: usize, alone: bool, good: bool) -> Turn {
        let reaches = |least: Option<usize>| least.is_some_and(|least| bytes >= least);
        if reaches(self.refused) {
            Turn::Never
        } else if (reaches(self.suspect) && !good) || (self.is_bold(bytes) && !alone) {
            Turn::Later
        } else {
            Turn::Now
        }
    }

    /// It read one of so many bytes.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.passed = self.passed.max(bytes);
        self.suspect = self.suspect.filter(|suspect| bytes < *suspect);
    }

    /// It closed the connection while `largest` was the largest on its way; tells whether that explains it.
    pub(super) fn close(&mut self, largest: Option<usize>) -> bool {
        let cause = largest.filter(|&bytes| self.passed > 0 && self.is_bold(bytes));
        match (cause, self.suspect.take()) {
            (Some(bytes), Some(suspect)) if bytes >= suspect => self.refused = Some(suspect),
            (cause, _) => self.suspect = cause,
        }
        cause.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_closes_the_connection_twice_is_left_out_and_nothing_smaller() {
        let mut limit = Limit::default();
        for good in [false, true] {
            limit.begin();
            assert_eq!(limit.turn(300, true, false), Turn::Now);
            assert_eq!(limit.turn(5000, false, true), Turn::Later, "one bold one at a time");
            limit.pass(300);
            assert_eq!(limit.turn(5000, true, good), Turn::Now);
            assert!(limit.close(Some(5000)));
        }
        limit.begin();
        assert_eq!((limit.refused(), limit.turn(5000, true, true)), (Some(5000), Turn::Never));
        assert_eq!(limit.turn(4999, true, false), Turn::Now);
        limit.forget();
        assert_eq!(limit.turn(5000, true, false), Turn::Now, "it may have been raised");
    }

    #[test]
    fn a_suspect_waits_for_a_connection_that_lasts() {
        let mut limit = Limit::default();
        limit.pass(300);
        limit.close(Some(5000));
        limit.begin();
        assert_eq!((limit.turn(5000, true, false), limit.turn(5000, true, true)), (Turn::Later, Turn::Now));
        assert!(!limit.close(None), "closed before it was sent");
        assert_eq!(limit.turn(5000, true, false), Turn::Now, "so it was not the cause");
    }

    proptest! {
        /// Closes that have another cause cost no message, unless one hits the same message twice, the second time
        /// on a connection that lasted.
        #[test]
        fn nothing_is_left_out_without_two_closes_on_it(closes in prop::collection::vec((any::<bool>(), 1usize..9000), 0..50)) {
            let (mut limit, mut suspect) = (Limit::default(), None);
            for (during, bytes) in closes {
                limit.begin();
                limit.pass(200);
                let sent = during && limit.turn(bytes, true, false) == Turn::Now;
                prop_assert!(suspect.is_none_or(|least| bytes < least) || !sent, "a suspect waits");
                limit.close(sent.then_some(bytes));
                suspect = sent.then_some(bytes).filter(|&bytes| bytes > 200);
                prop_assert_eq!(limit.refused(), None);
            }
        }
    }
}
