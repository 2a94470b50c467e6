//! Window, model, regions and tracks as one `push`; no threads.
