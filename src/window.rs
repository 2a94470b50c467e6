//! A frame with the sound up to it, on one clock.
