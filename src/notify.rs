//! Tells systemd: ready, alive, stopping.
