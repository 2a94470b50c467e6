//! A wire between the daemon and the broker that a test can cut, stall and mend.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Listens on a port of its own and carries every connection to the broker.
pub struct Wire {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Both ends of every connection.
    open: Mutex<Vec<TcpStream>>,
    /// Whether what the broker answers is thrown away.
    deaf: AtomicBool,
    /// Of every connection: whether it is half-open, and nothing passes any more.
    dead: Mutex<Vec<Arc<AtomicBool>>>,
    /// Whether nothing moves, and the condition that it moves again.
    stalled: Mutex<bool>,
    moves: Condvar,
    /// Connections made so far.
    made: AtomicUsize,
}

impl State {
    /// Waits while nothing moves.
    fn wait(&self) {
        let stalled = self.stalled.lock().expect("no panic");
        drop(self.moves.wait_while(stalled, |stalled| *stalled).expect("no panic"));
    }
}

impl Wire {
    pub fn to(broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)) {
                    carry(client, server, &shared);
                }
            }
        });
        Self { port, state }
    }

    /// Breaks every connection; new ones are carried.
    pub fn cut(&self) {
        for end in self.state.open.lock().expect("no panic").drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
        self.state.deaf.store(false, Ordering::SeqCst);
    }

    /// Every connection stays open and carries nothing any more, as when a router forgets it; new ones are carried.
    pub fn forget(&self) {
        self.state
            .dead
            .lock()
            .expect("no panic")
            .drain(..)
            .for_each(|dead| dead.store(true, Ordering::SeqCst));
    }

    /// Nothing moves from now on, in either direction and on new connections too, and nothing is lost: it waits in the wire
    /// and, once that is full, at both ends.
    pub fn stall(&self) {
        *self.state.stalled.lock().expect("no panic") = true;
    }

    /// Everything moves again, what waited first.
    pub fn resume(&self) {
        *self.state.stalled.lock().expect("no panic") = false;
        self.state.moves.notify_all();
    }

    /// Connections made so far.
    pub fn connections(&self) -> usize {
        self.state.made.load(Ordering::SeqCst)
    }

    /// From now on the broker hears everything and its answers are lost, until the wire is cut.
    pub fn lose_answers(&self) {
        self.state.deaf.store(true, Ordering::SeqCst);
    }
}

fn carry(client: TcpStream, server: TcpStream, state: &Arc<State>) {
    state.made.fetch_add(1, Ordering::SeqCst);
    let twin = |end: &TcpStream| end.try_clone().expect("a descriptor");
    let mut open = state.open.lock().expect("no panic");
    open.retain(|end| end.peer_addr().is_ok()); // those that have ended would hold descriptors for ever
    open.extend([twin(&client), twin(&server)]);
    drop(open);
    let (client_in, server_in) = (twin(&client), twin(&server));
    let (shared, up, down) = (Arc::clone(state), Arc::clone(state), Arc::clone(state));
    let dead = Arc::new(AtomicBool::new(false));
    state.dead.lock().expect("no panic").push(Arc::clone(&dead));
    let alive = move || !dead.load(Ordering::SeqCst);
    let there = alive.clone();
    thread::spawn(move || pump(client_in, server, &up, there));
    thread::spawn(move || pump(server_in, client, &down, || alive() && !shared.deaf.load(Ordering::SeqCst)));
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: &State, passes: impl Fn() -> bool) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        state.wait();
        if passes() && to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
