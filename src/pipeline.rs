//! Threads, queues and supervision: the only shell.
