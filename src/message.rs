//! The message subscribers read, in one place.
