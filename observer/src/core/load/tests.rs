use std::net::SocketAddr;

use super::*;

const NETNS: u32 = 7;

fn listener(number: u16) -> Subject {
    Subject {
        netns: Some(NETNS),
        listener: Some(SocketAddr::from(([127, 0, 0, 1], number))),
        ..Subject::HOST
    }
}

/// So many listeners accept a connection in each of so many bins.
fn history(listeners: u16, bins: u64) -> LoadHistory {
    let mut history = LoadHistory::default();
    for at_ns in (1..=bins).map(|bin| bin * BIN_NS) {
        let accepted = |number| Increment {
            signal: Signal::ConnectionAccepted,
            tier: Tier::Trampoline,
            subject: listener(number),
            generator: false,
            events: 1 + at_ns / BIN_NS % 5,
            first: Bracket { lo_ns: at_ns, hi_ns: at_ns },
            last_ns: at_ns,
        };
        let frame = Frame { mono_ns: at_ns, ..Frame::default() };
        history.enter(&frame, &(0..listeners).map(accepted).collect::<Vec<_>>());
    }
    history
}

/// What one of them accepted in the bins around the sixtieth.
fn rates(history: &LoadHistory) -> Vec<Option<f64>> {
    let rate = |bin: u64| history.accepted_per_s(&listener(3), bin * BIN_NS, (bin + 1) * BIN_NS);
    (40..65).map(rate).collect()
}

const ONSET: Bracket = Bracket { lo_ns: 60 * BIN_NS, hi_ns: 60 * BIN_NS };

#[test]
fn two_thousand_listeners_do_not_make_it_grow_and_nothing_is_lost() {
    let mut history = history(2_000, 300);
    let counted = |history: &LoadHistory| {
        history.flow_everywhere(Signal::ConnectionAccepted, |_| true).map(|flow| flow.between(0, 301))
    };
    let all = counted(&history);
    history.thin(&[ONSET]);
    let kept: usize = history.streams.values().chain(history.everywhere.values()).map(Bins::len).sum();
    assert!(kept <= KEPT_BINS, "{kept}");
    assert_eq!(counted(&history), all);
}

#[test]
fn what_led_to_an_onset_stays_known_and_what_is_long_ago_gets_coarser() {
    let whole = history(200, 2_000);
    let mut history = history(200, 2_000);
    history.thin(&[ONSET]);
    assert!(history.streams.values().all(|stream| stream.len() <= KEPT_BINS / 200));
    assert_eq!(rates(&history), rates(&whole));
    let mut forgetful = self::history(200, 2_000);
    forgetful.thin(&[]);
    assert_ne!(rates(&forgetful), rates(&whole));
}
