//! Draws what was found over the picture.
