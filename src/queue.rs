//! The one bounded queue between capture and analysis: recorded sources wait, live ones shed the oldest.
