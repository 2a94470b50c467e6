//! Every setting and its default; opens no device.
