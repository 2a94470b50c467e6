//! States name the sources that go on: what a subscriber reads after any crash, restart or line that broke.

use super::*;

#[test]
fn a_state_forgets_a_source_only_after_its_end_was_sent() {
    let mut store = Store::new(&Config::default().mqtt);
    let (mut on, start) = (state(OnOff::On), event(1));
    if let (Report::State(state), Report::Event(event)) = (&mut on, &start) {
        state.sources.push(event.source.clone());
    }
    let order = |store: &mut Store| {
        let (tickets, told): (Vec<_>, Vec<_>) = std::iter::from_fn(|| store.take(NOW)).unzip();
        let states = told.iter().filter_map(|report| match report {
            Report::State(state) => Some(format!("{:?}", state.state)),
            _ => None,
        });
        let told = told.iter().map(Report::topic).chain(states).collect::<Vec<_>>();
        (tickets, told)
    };
    store.connected();
    store.put(on, NOW);
    store.put(start, NOW);
    assert_eq!(order(&mut store).1, ["state/dog", "events", "On"], "what starts is in the state first");
    store.disconnected();
    store.put(event(2), NOW); // the end
    store.put(state(OnOff::Off), NOW);
    store.connected();
    let (tickets, told) = order(&mut store);
    assert_eq!(told, ["state/dog", "events", "events", "On"], "the broker may have neither state nor start");
    tickets.iter().for_each(|ticket| store.acknowledge(ticket));
    assert_eq!(order(&mut store).1, ["state/dog", "Off"]);
}

/// A store whose broker has the start of a source and the state that names it.
fn barking() -> Store {
    let mut store = Store::new(&Config::default().mqtt);
    let (mut on, start) = (state(OnOff::On), event(1));
    if let (Report::State(state), Report::Event(event)) = (&mut on, &start) {
        state.sources.push(event.source.clone());
    }
    store.connected();
    store.put(on, NOW);
    store.put(start, NOW);
    all(&mut store);
    store
}

/// Sends what there is to send, has it acknowledged, and so on; the topics, and what states say.
fn all(store: &mut Store) -> Vec<String> {
    let mut told = Vec::new();
    while let Some((ticket, report)) = store.take(NOW) {
        told.push(match &report {
            Report::State(state) => format!("{:?}, {} ending", state.state, state.ending.len()),
            Report::Gone(_) => "gone".into(),
            report => report.topic(),
        });
        store.acknowledge(&ticket);
        assert!(told.len() < 10, "it goes on for ever: {told:?}");
    }
    told
}

fn end() -> EventMessage {
    let Report::Event(start) = event(2) else { unreachable!("an event") };
    EventMessage { event: EventPhase::End, ..*start }
}

/// A store that owes the end of a source that an earlier run left.
fn owing(config: &config::Mqtt) -> Store {
    let mut store = Store::new(config);
    store.connected();
    store.put(state(OnOff::Off), NOW);
    store.put_owed(end(), NOW);
    store
}

#[test]
fn a_state_is_taken_back_after_the_end_of_what_it_names() {
    let mut store = barking();
    store.disconnected();
    store.put(Report::Event(Box::new(end())), NOW);
    store.put(Report::Gone("state/dog".into()), NOW);
    store.connected();
    assert_eq!(all(&mut store), ["events", "gone"]);
    assert!(store.is_empty() && !store.takes_back());
}

#[test]
fn what_has_ended_is_not_on_again() {
    let mut store = barking();
    store.put(Report::Event(Box::new(end())), NOW);
    store.put(state(OnOff::Off), NOW);
    let (ticket, _) = store.take(NOW).expect("the end");
    store.take(NOW).expect("the state, whose answer is lost");
    store.acknowledge(&ticket);
    store.disconnected();
    store.connected();
    assert_eq!(all(&mut store), ["Off, 0 ending"]);
}

#[test]
fn what_an_earlier_run_left_is_named_until_it_is_ended() {
    let mut store = owing(&Config::default().mqtt);
    assert_eq!(all(&mut store), ["Off, 1 ending", "events", "Off, 0 ending"]);
}

#[test]
fn what_was_left_under_a_former_name_is_taken_back_after_it_is_ended() {
    let mut store = owing(&Config::default().mqtt);
    store.take_back("tvsl/old/state/dog".into(), [end().source].iter(), NOW);
    assert_eq!(all(&mut store), ["Off, 1 ending", "events", "tvsl/old/state/dog", "Off, 0 ending"]);
    assert!(store.is_empty() && !store.takes_back());
}

#[test]
fn an_end_that_gives_way_is_named_no_more() {
    let (mut config, update) = (Config::default().mqtt, EventMessage { event: EventPhase::Update, ..end() });
    config.keep_events = 2;
    let mut store = owing(&config);
    store.disconnected();
    (0..2).for_each(|_| store.put(Report::Event(Box::new(update.clone())), NOW)); // the end gives way
    store.connected();
    let (_, told) = store.take(NOW).expect("the state");
    let Report::State(state) = told else { panic!("{told:?}") };
    assert!(!state.ending.iter().any(|source| source.id == end().source.id), "{state:?}");
}

/// What happens to the sources of one class.
#[derive(Debug, Clone, Copy)]
enum Life {
    Start,
    End(prop::sample::Index),
    Carry(usize, usize),
    Break,
    Connect,
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        4 => Just(Life::Start),
        4 => any::<prop::sample::Index>().prop_map(Life::End),
        6 => (0usize..6, 0usize..6).prop_map(|(there, back)| Life::Carry(there, back)),
        1 => Just(Life::Break),
        2 => Just(Life::Connect),
    ]
}

/// A device whose dogs bark, and whose states are told as [`Teller`](crate::publish::Teller) does.
struct Kennel {
    world: World,
    barking: Vec<String>,
    number: u64,
}

impl Kennel {
    fn source(id: &str) -> Source {
        let Report::Event(event) = event(1) else { unreachable!("an event") };
        Source { id: id.into(), ..event.source }
    }

    fn tell(&mut self, phase: EventPhase, id: &str) {
        self.number += 1;
        let (Report::Event(mut event), Report::State(mut state)) = (event(self.number), state(OnOff::On))
        else {
            unreachable!("an event and a state")
        };
        (event.event, event.source) = (phase, Self::source(id));
        state.sources = self.barking.iter().map(|id| Self::source(id)).collect();
        state.state = if self.barking.is_empty() { OnOff::Off } else { OnOff::On };
        self.world.store.put(Report::Event(event), NOW);
        self.world.store.put(Report::State(state), NOW);
    }

    fn live(&mut self, life: Life) {
        match life {
            Life::Start => {
                let id = self.number.to_string();
                self.barking.push(id.clone());
                self.tell(EventPhase::Start, &id);
            }
            Life::End(which) if !self.barking.is_empty() => {
                let id = self.barking.remove(which.index(self.barking.len()));
                self.tell(EventPhase::End, &id);
            }
            Life::End(_) => {}
            Life::Carry(there, back) => self.world.carry(there, back),
            Life::Break => self.world.step(Step::Break),
            Life::Connect => self.world.step(Step::Connect),
        }
        let store = &mut self.world.store;
        self.world.there.extend(std::iter::from_fn(|| store.take(NOW)));
    }

    /// Whatever the broker has by now, a crash leaves nothing open that its state does not name: a source whose start was
    /// told, or that was named before, and whose end was not told.
    fn owes_nothing(&self) -> Result<(), TestCaseError> {
        let (mut named, mut known, mut started, mut ended) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for report in &self.world.told {
            match report {
                Report::State(state) => {
                    let sources = state.sources.iter().chain(&state.ending);
                    named = sources.map(|source| source.id.clone()).collect();
                    known.extend(named.iter().cloned());
                }
                Report::Event(event) if event.event == EventPhase::Start => {
                    started.insert(event.source.id.clone());
                }
                Report::Event(event) => drop(ended.insert(event.source.id.clone())),
                _ => {}
            }
        }
        for id in started.difference(&ended) {
            prop_assert!(named.contains(id), "{id} began, did not end, and {named:?} are named");
        }
        for id in known.difference(&ended) {
            prop_assert!(named.contains(id), "{id} was named and did not end, and {named:?} are named");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What the broker has of a class at any moment is enough for the next run to end what a crash leaves open.
    #[test]
    fn a_crash_leaves_nothing_open(lives in prop::collection::vec(life(), 0..200)) {
        let mut kennel = Kennel { world: World::new(1000), barking: vec![], number: 0 };
        for life in lives {
            kennel.live(life);
            kennel.owes_nothing()?;
        }
        kennel.world.settle();
        kennel.owes_nothing()?;
        let last = kennel.world.told.iter().rev().find_map(|report| match report {
            Report::State(state) => Some(state),
            _ => None,
        });
        let ids = |sources: &[Source]| sources.iter().map(|source| source.id.clone()).collect::<Vec<_>>();
        prop_assert_eq!(last.map(|state| ids(&state.sources)).unwrap_or_default(), kennel.barking);
        prop_assert_eq!(last.map(|state| ids(&state.ending)).unwrap_or_default(), Vec::<String>::new());
    }
}

#[test]
fn naming_what_is_over_takes_few_states_and_short_ones() {
    let mut kennel = Kennel { world: World::new(1000), barking: vec![], number: 0 };
    for _ in 0..500 {
        kennel.live(Life::Start);
        let id = kennel.barking.remove(0);
        kennel.tell(EventPhase::End, &id);
    }
    kennel.world.settle();
    let states = kennel.world.told.iter().filter_map(|report| match report {
        Report::State(state) => Some(state.ending.len()),
        _ => None,
    });
    let states = states.collect::<Vec<_>>();
    assert!(
        states.len() <= 2 + 500 / ANNOUNCED && states.iter().all(|ending| *ending <= ANNOUNCED),
        "{states:?}"
    );
}
