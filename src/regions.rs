//! Heat map to regions.
