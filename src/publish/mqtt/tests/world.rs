//! A world under simulated time: brokers with weather, the publisher in it, and a witness of what is told.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rumqttc::{ConnAck, ConnectReturnCode, MqttOptions, PubAck, SubAck, UnsubAck};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use super::super::access::LARGEST_PACKET;
use super::super::course::{Course, follow_between};
use super::*;
use crate::clock::paused::{Paused, play};
use crate::config::Overrides;
use crate::message::tests::info;
use crate::message::{HealthMessage, Level, Settings};

/// Waits between tries: from this, doubling,
const FIRST: Duration = Duration::from_millis(500);
/// to this.
pub(super) const MOST: Duration = Duration::from_secs(10);
/// Longest time that it takes to reach a broker.
pub(super) const OPENING: Duration = Duration::from_secs(1);
/// The least that can be configured.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Longest time until it has stopped: two goodbyes, if the settings were just read anew, each with a last round.
const STOPPING: Duration = GOODBYE.saturating_mul(4);
/// The event loop's clock has no finer parts.
const TICK: Duration = Duration::from_millis(2);

/// What a device tells every second.
const LEVEL: Level = Level {
    schema: 1,
    device: String::new(),
    level_dbfs: -20.0,
    heard: 0.0,
    published: 0.0,
    clock_synced: None,
};

/// What a broker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// It takes clients and answers.
    Fine,
    /// It is not there: connections are cut, a try fails.
    Gone,
    /// It can be reached and never says a word; connections fall silent for ever, as when a router forgot them.
    Mute,
    /// The same, and it cannot even be reached: a try gets no answer.
    Hung,
    /// It takes clients, answers pings and messages, and never what they ask to read.
    Deaf,
    /// It takes no such client: connections are cut, a try is refused.
    Refusing,
    /// Another client has the same id: each takes the other's place.
    Rival,
}

/// Brokers, and what came of the publisher's tries.
pub(super) struct World {
    brokers: Vec<watch::Sender<Weather>>,
    course: watch::Sender<Course>,
    random: Mutex<fastrand::Rng>,
    tries: Mutex<Tries>,
    heard: Mutex<Vec<(HealthState, String)>>,
}

#[derive(Default)]
struct Tries {
    /// Whether one is under way, or what it led to holds.
    under_way: bool,
    /// A broker that a visit found well.
    called: Option<usize>,
    /// Who tried last, and where.
    last: Option<(String, usize)>,
    /// When the last one was over, and whether it had led to a good connection.
    over: Option<(Instant, bool)>,
    /// Since when it has been told that there is a connection.
    open: Option<Instant>,
    /// Connections that a broker answers, and when it last did.
    sessions: u32,
    held: Option<Instant>,
    /// What a subscriber was told that cannot be: that there is no connection.
    untrue: Option<HealthMessage>,
    /// Waits since a good connection.
    rounds: u32,
    /// The waits that had the longest bound.
    longest: Vec<Duration>,
}

/// A try, and the connection that it leads to, for as long as the client keeps it.
struct Attempt(Arc<World>);

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut tries = self.0.tries();
        let good = tries.open.take().is_some_and(|open| open.elapsed() >= GOOD);
        (tries.under_way, tries.over) = (false, Some((Instant::now(), good)));
    }
}

impl World {
    /// Plays `act` in a world of so many brokers, while the publisher runs in it.
    pub fn play<T>(seed: u64, brokers: usize, act: impl AsyncFnOnce(&World) -> T) -> T {
        fastrand::seed(seed);
        play(async {
            let names: Vec<String> = (1..brokers).map(|broker| format!("\"broker{broker}:1883\"")).collect();
            let text = format!(
                "mqtt.host = \"broker0\"\nmqtt.fallbacks = [{}]\nmqtt.keep_alive = 5\n",
                names.join(", ")
            );
            let config = Config::parse(&text, std::path::Path::new("test")).expect("a configuration");
            let (clock, settings) = (Paused::new(), Settings::new(&config, &Overrides::default()));
            let teller = Teller::new(&config, (info(&config), settings.clone()), 1, &clock);
            let course = Course { info: info(&config), config: config.clone(), settings };
            let world = Arc::new(World {
                brokers: (0..brokers).map(|_| watch::Sender::new(Weather::Fine)).collect(),
                course: watch::Sender::new(course),
                random: Mutex::new(fastrand::Rng::with_seed(seed)),
                tries: Mutex::default(),
                heard: Mutex::default(),
            });
            let (stop, former) = (Notify::new(), Former::new(&config, vec![]));
            let ends = Ends { teller: &teller, listener: &*world, dialer: &world };
            let stopped = Notify::new();
            let acted = async {
                let outcome = act(&world).await;
                stop.notify_one();
                let in_time = timeout(STOPPING + TICK, stopped.notified()).await;
                assert!(in_time.is_ok(), "it was to stop, and goes on");
                outcome
            };
            let followed = async {
                follow_between(world.course.subscribe(), ends, former, &stop).await;
                stopped.notify_one();
            };
            // What wants no answer hides a dead connection from the client.
            let steady = async {
                loop {
                    sleep(Duration::from_secs(1)).await;
                    teller.outbox().put(Report::Level(LEVEL));
                }
            };
            let played = async { tokio::join!(acted, followed).0 };
            tokio::select! {
                outcome = played => outcome,
                never = steady => never,
            }
        })
    }

    /// From now on the brokers do this.
    pub fn weather(&self, weather: &[Weather]) {
        for (broker, weather) in self.brokers.iter().zip(weather) {
            broker.send_replace(*weather);
        }
    }

    /// Other settings: the publisher begins anew, under another client id.
    pub fn reload(&self) {
        self.course.send_modify(|course| course.config.mqtt.client_id.push('+'));
    }

    /// Lets time pass. A connection that is dead is not told to hold for longer than it takes to notice.
    pub async fn watch(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
            let tries = self.tries();
            assert!(
                tries.open.is_none() || tries.dead() <= NOTICED,
                "told to hold, and dead for {:?}",
                tries.dead()
            );
            assert_eq!(tries.untrue, None);
        }
    }

    /// Lets it come to a preferred broker, if it is on its way there.
    pub async fn arrive(&self) {
        if self.told().1.starts_with("going back") {
            self.watch(2 * OPENING).await;
        }
    }

    /// Whether a try is under way, or a connection is held.
    pub fn trying(&self) -> bool {
        self.tries().under_way
    }

    /// Whether it is told that there is a connection.
    pub fn connected(&self) -> bool {
        self.tries().open.is_some()
    }

    /// What was told last.
    pub fn told(&self) -> (HealthState, String) {
        self.heard().last().cloned().expect("something is told at the start")
    }

    /// All that was told.
    pub fn heard(&self) -> MutexGuard<'_, Vec<(HealthState, String)>> {
        self.heard.lock().expect("no panic")
    }

    /// The waits that were at most [`MOST`] long.
    pub fn longest_waits(&self) -> Vec<Duration> {
        self.tries().longest.clone()
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client tries to reach a broker: alone, in its turn, and after the wait that is due.
    fn begins(self: &Arc<Self>, client: String, broker: usize) -> Attempt {
        let mut tries = self.tries();
        assert!(
            !std::mem::replace(&mut tries.under_way, true),
            "a try beside another, or beside a connection"
        );
        let called = tries.called.take();
        let before = tries.last.replace((client.clone(), broker)).filter(|(id, _)| *id == client);
        match (before, tries.over) {
            // It is gone back to at once, unless the connection broke before.
            (Some((_, last)), Some((over, _)))
                if called == Some(broker) && broker < last && over.elapsed() <= TICK =>
            {
                tries.rounds = 0;
            }
            (Some((_, last)), Some((over, good))) => {
                tries.follows(broker, over.elapsed(), last, good, self.brokers.len())
            }
            _ => {
                assert_eq!(broker, 0, "it begins with the first");
                tries.rounds = 0;
            }
        }
        Attempt(Arc::clone(self))
    }

    /// The way to a broker.
    async fn reach(self: Arc<Self>, broker: usize, visit: bool) -> io::Result<DuplexStream> {
        let takes = OPENING.mul_f64(self.chance());
        sleep(takes).await;
        let weather = self.brokers[broker].subscribe();
        let now = *weather.borrow();
        match now {
            Weather::Gone => Err(io::ErrorKind::ConnectionRefused.into()),
            Weather::Hung => std::future::pending().await,
            _ => {
                let (near, far) = duplex(LARGEST_PACKET);
                tokio::spawn(serve(self, weather, far, visit.then_some(broker)));
                Ok(near)
            }
        }
    }

    /// A broker reads what is for subscribers.
    fn reads(&self, packet: &Packet) {
        let Packet::Publish(told) = packet else { return };
        if told.topic.ends_with(b"/health/broker") {
            let told: HealthMessage = serde_json::from_slice(&told.payload).expect("a message");
            let holds = matches!(told.health.state, HealthState::Ok | HealthState::Degraded);
            let mut tries = self.tries();
            tries.untrue = tries.untrue.take().or((!holds).then_some(told));
        }
    }

    fn chance(&self) -> f64 {
        self.random.lock().expect("no panic").f64()
    }
}

impl Tries {
    /// For how long no broker answered.
    fn dead(&self) -> Duration {
        match self.sessions {
            0 => self.held.map_or(Duration::MAX, |held| held.elapsed()),
            _ => Duration::ZERO,
        }
    }

    /// A try of `broker` so long after the one of `last` was over, of so many brokers.
    fn follows(&mut self, broker: usize, wait: Duration, last: usize, good: bool, brokers: usize) {
        let next = if good { 0 } else { (last + 1) % brokers };
        assert_eq!(broker, next, "after {last}, which was good: {good}");
        if broker > 0 {
            return assert!(wait <= TICK, "the next one is tried at once, and not after {wait:?}");
        }
        let rounds = if good { 0 } else { self.rounds };
        self.rounds = rounds + 1;
        let most = (FIRST * 2_u32.pow(rounds.min(5))).min(MOST);
        assert!(
            wait >= most / 2 && wait <= most + TICK,
            "{wait:?}, and not between half of {most:?} and all of it"
        );
        self.longest.extend((most == MOST).then_some(wait));
    }
}

impl Dialer for Arc<World> {
    fn dial(&self, options: &mut MqttOptions) {
        let (host, _) = options.broker().tcp_address().expect("an address");
        let broker = host.trim_start_matches("broker").parse().expect("a number");
        let client = options.client_id();
        if client.ends_with("-visit") {
            let world = Arc::clone(self);
            options.set_socket_connector(move |_, _| Arc::clone(&world).reach(broker, true));
            return;
        }
        let attempt = self.begins(client, broker);
        options.set_socket_connector(move |_, _| attempt.reach(broker));
    }
}

impl Attempt {
    fn reach(&self, broker: usize) -> impl Future<Output = io::Result<DuplexStream>> + use<> {
        Arc::clone(&self.0).reach(broker, false)
    }
}

impl Listener for World {
    fn wish(&self, _: Wish) {}

    fn health(&self, health: &Health) {
        if matches!(health.state, HealthState::Ok | HealthState::Degraded) {
            let mut tries = self.tries();
            // Later it may be dead for as long as it takes to notice.
            let holds = tries.open.is_some() || tries.dead() <= TICK;
            assert!(holds, "told {:?} although no broker answers", health.state);
            tries.open.get_or_insert_with(Instant::now);
        }
        self.heard().push((health.state, health.reason.clone()));
    }
}

/// A connection that a broker holds, and answers; of a visit it is none.
struct Session(Option<Arc<World>>);

impl Session {
    fn new(world: &Arc<World>, visit: Option<usize>) -> Self {
        let mut tries = world.tries();
        if visit.is_some() {
            tries.called = visit;
            return Self(None);
        }
        tries.sessions += 1;
        Self(Some(Arc::clone(world)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(world) = &self.0 else { return };
        let mut tries = world.tries();
        (tries.sessions, tries.held) = (tries.sessions - 1, Some(Instant::now()));
    }
}

/// A broker's end of a connection, or of a visit to the broker of this number.
async fn serve(
    world: Arc<World>,
    mut weather: watch::Receiver<Weather>,
    mut stream: DuplexStream,
    visit: Option<usize>,
) {
    let (mut bytes, mut session, mut rival) = (Default::default(), None, None);
    loop {
        tokio::select! {
            read = stream.read_buf(&mut bytes) => if !read.is_ok_and(|count| count > 0) { return },
            _ = weather.changed() => {}
            () = sleep_until(rival.unwrap_or_else(Instant::now)), if rival.is_some() => return,
        }
        let now = *weather.borrow_and_update();
        match now {
            Weather::Fine => rival = None,
            Weather::Mute | Weather::Hung => break,
            Weather::Gone => return,
            Weather::Refusing if session.is_some() => return,
            Weather::Rival if session.is_some() && rival.is_none() && visit.is_none() => return,
            Weather::Deaf | Weather::Refusing | Weather::Rival => {}
        }
        while let Ok(packet) = Packet::read(&mut bytes, LARGEST_PACKET) {
            if matches!(packet, Packet::Connect(_)) && now != Weather::Refusing {
                session = Some(Session::new(&world, visit));
                rival = (now == Weather::Rival && visit.is_none())
                    .then(|| Instant::now() + GOOD.mul_f64(0.8 * world.chance()));
            }
            if visit.is_none() {
                world.reads(&packet);
            }
            let unheard = now == Weather::Deaf && matches!(packet, Packet::Subscribe(_));
            let mut out = Default::default();
            if let Some(answer) = answer(packet, session.is_some()).filter(|_| !unheard) {
                answer.write(&mut out, LARGEST_PACKET).expect("a packet");
                stream.write_all(&out).await.ok();
            }
        }
        if session.is_none() {
            return; // it was refused
        }
    }
    drop(session);
    let mut unheard = [0; 1024];
    while stream.read(&mut unheard).await.is_ok_and(|count| count > 0) {}
}

/// What a broker says to a packet of a client that it takes, or does not.
fn answer(packet: Packet, taken: bool) -> Option<Packet> {
    use ConnectReturnCode::{NotAuthorized, Success};
    let granted = SubscribeReasonCode::Success(QoS::AtMostOnce);
    Some(match packet {
        Packet::Connect(_) => {
            Packet::ConnAck(ConnAck::new(if taken { Success } else { NotAuthorized }, false))
        }
        Packet::Subscribe(asked) => {
            Packet::SubAck(SubAck::new(asked.pkid, vec![granted; asked.filters.len()]))
        }
        Packet::Unsubscribe(asked) => Packet::UnsubAck(UnsubAck::new(asked.pkid)),
        Packet::Publish(told) if told.qos == QoS::AtLeastOnce => Packet::PubAck(PubAck::new(told.pkid)),
        Packet::PingReq => Packet::PingResp,
        _ => return None,
    })
}
