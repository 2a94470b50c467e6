//! Messages out to the broker; never in the way of analysis.
