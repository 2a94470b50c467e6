//! Regions to lasting identities.
