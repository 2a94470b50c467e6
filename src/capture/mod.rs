//! Cameras, microphones and recorded media as timed frames and samples.
