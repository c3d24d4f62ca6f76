//! Where one test ends and the next begins, when nobody says so: by the load that leaves idle and falls back.

use super::verdict::Load;

/// A load is there when it is this much above idle.
const LEAVES_IDLE: f64 = 3.0;
/// And at least so much, in connections per second or open ones: a cron job is no test.
const FLOOR: f64 = 5.0;
/// It is over when it has fallen below this share of its own peak,
const FALLS_TO: f64 = 0.1;
/// and stayed there this long.
pub const SETTLE_NS: u64 = 10_000_000_000;
/// What is usual at idle follows a rise within about so long, and after a test a fall at once: a slow ramp is no new idle.
const LEARNS_NS: f64 = 120e9;
/// An episode that nobody began is the one of a load that comes within so long. A later load begins another one: what
/// broke in the days before is not its first.
const WAITS_NS: u64 = 120_000_000_000;

/// What the load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// It has left idle: a test begins.
    Begins,
    /// It has been back at idle for [`SETTLE_NS`].
    Ended {
        /// CLOCK_MONOTONIC at which it fell.
        at_ns: u64,
    },
}

/// Follows the load from episode to episode.
#[derive(Debug)]
pub struct Episodes {
    state: State,
}

/// Connections per second and open ones.
type Level = [f64; 2];

#[derive(Debug)]
enum State {
    Idle(Background),
    Under { usual: Option<Level>, peak: Level, fallen_ns: Option<u64>, waiting: Option<Waiting> },
}

/// An episode that nobody began waits for its load.
#[derive(Debug)]
struct Waiting {
    since_ns: u64,
    background: Background,
}

/// What goes on when nobody tests.
#[derive(Debug, Default)]
struct Background {
    usual: Option<Level>,
    looked_ns: u64,
    /// Whether it follows a fall as slowly as a rise: what is there from the beginning may be a test, and a fault makes a
    /// test dip.
    is_slow: bool,
}

impl Background {
    /// Whether the load has left it; if not, it follows the load.
    fn is_left(&mut self, at_ns: u64, now: Level) -> bool {
        let passed_ns = at_ns.saturating_sub(std::mem::replace(&mut self.looked_ns, at_ns));
        let usual = self.usual.get_or_insert(now);
        if now.iter().zip(&*usual).any(|(now, usual)| *now > usual * LEAVES_IDLE + FLOOR) {
            return true;
        }
        let share = (passed_ns as f64 / LEARNS_NS).min(1.0);
        for (now, usual) in now.iter().zip(usual) {
            let share = if *now < *usual && !self.is_slow { 1.0 } else { share };
            *usual += (now - *usual) * share;
        }
        false
    }
}

impl Default for Episodes {
    fn default() -> Self {
        Self { state: State::Idle(Background::default()) }
    }
}

impl Episodes {
    /// Whether an episode is under way.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state, State::Under { .. })
    }

    /// Whether a test that someone announces is another episode's than the one under way, if any.
    pub fn is_open(&self, at_ns: u64) -> bool {
        match &self.state {
            State::Idle(_) => true,
            State::Under { waiting, .. } => waiting.as_ref().is_some_and(|waiting| waiting.is_long(at_ns)),
        }
    }

    /// An episode begins because someone says so.
    pub fn begin(&mut self) {
        self.state = State::Under { usual: self.usual(), peak: [0.0; 2], fallen_ns: None, waiting: None };
    }

    /// An episode begins because observer does.
    pub fn begin_waiting(&mut self, at_ns: u64) {
        let background = Background { is_slow: true, ..Background::default() };
        let waiting = Some(Waiting { since_ns: at_ns, background });
        self.state = State::Under { usual: None, peak: [0.0; 2], fallen_ns: None, waiting };
    }

    /// The test that it waited for is the one that someone announces now.
    pub fn announce(&mut self) {
        if let State::Under { waiting, .. } = &mut self.state {
            *waiting = None;
        }
    }

    /// It ends because someone says so: what load there is now is no other test's.
    pub fn end(&mut self) {
        self.state = State::Idle(Background::default());
    }

    /// It is over.
    fn settle(&mut self) {
        self.state = State::Idle(Background { usual: self.usual(), ..Background::default() });
    }

    /// What is usual at idle, as far as is known.
    fn usual(&self) -> Option<Level> {
        match &self.state {
            State::Idle(background) => background.usual,
            State::Under { usual, waiting, .. } => {
                usual.or_else(|| waiting.as_ref().and_then(|waiting| waiting.background.usual))
            }
        }
    }

    /// Looks at the load of the last second. What it returns has happened: the state follows it.
    pub fn observe(&mut self, at_ns: u64, load: &Load) -> Option<Boundary> {
        let now = [load.connections_per_s.unwrap_or(0.0), load.concurrency.unwrap_or(0.0)];
        match &mut self.state {
            State::Idle(background) => {
                if !background.is_left(at_ns, now) {
                    return None;
                }
                self.begin();
                Some(Boundary::Begins)
            }
            State::Under { usual, peak, fallen_ns, waiting } => {
                if let Some(met) = waiting.take_if(|waiting| waiting.background.is_left(at_ns, now)) {
                    *usual = met.background.usual;
                    if met.is_long(at_ns) {
                        self.begin();
                        return Some(Boundary::Begins);
                    }
                }
                now.iter().zip(&mut *peak).for_each(|(now, peak)| *peak = peak.max(*now));
                let idle = usual.unwrap_or([0.0; 2]).map(|usual| usual * LEAVES_IDLE + FLOOR);
                // Before there was a load, there is none that could be over. What was usual may have been the load itself.
                let was_there = peak.iter().zip(&idle).any(|(peak, idle)| peak > idle);
                let has_fallen = |at: usize| now[at] <= peak[at] * FALLS_TO;
                let is_low = |at: usize| has_fallen(at) || (was_there && now[at] <= idle[at]);
                let is_any = peak.iter().any(|peak| *peak > FLOOR);
                if !is_any || !(0..now.len()).all(is_low) {
                    *fallen_ns = None;
                    return None;
                }
                let fell_ns = *fallen_ns.get_or_insert(at_ns);
                let settled = at_ns.saturating_sub(fell_ns) >= SETTLE_NS;
                settled.then(|| self.settle()).map(|()| Boundary::Ended { at_ns: fell_ns })
            }
        }
    }
}

impl Waiting {
    fn is_long(&self, at_ns: u64) -> bool {
        at_ns.saturating_sub(self.since_ns) >= WAITS_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a course, given as (seconds, connections per second, open ones).
    fn boundaries(episodes: &mut Episodes, course: &[(u64, f64, f64)]) -> Vec<(f64, Boundary)> {
        let (mut at_ns, mut found) = (0, Vec::new());
        for (seconds, connections_per_s, concurrency) in course {
            let load = Load {
                connections_per_s: Some(*connections_per_s),
                concurrency: Some(*concurrency),
                ..Load::default()
            };
            for _ in 0..seconds * 10 {
                found.extend(episodes.observe(at_ns, &load).map(|boundary| (at_ns as f64 / 1e9, boundary)));
                at_ns += 100_000_000;
            }
        }
        found
    }

    #[test]
    fn a_test_begins_when_the_load_leaves_idle_and_is_over_when_it_has_settled() {
        let mut episodes = Episodes::default();
        let course = [(5, 2.0, 3.0), (20, 400.0, 50.0), (15, 1.0, 2.0), (5, 300.0, 50.0)];
        let found = boundaries(&mut episodes, &course);
        let second = 1_000_000_000;
        assert_eq!(
            found,
            [
                (5.0, Boundary::Begins),
                (35.0, Boundary::Ended { at_ns: 25 * second }),
                (40.0, Boundary::Begins)
            ]
        );
        assert!(episodes.is_under_way());
    }

    #[test]
    fn keep_alive_connections_are_a_load_as_long_as_they_are_open() {
        let mut episodes = Episodes::default();
        let found = boundaries(&mut episodes, &[(5, 0.0, 0.0), (1, 100.0, 100.0), (60, 0.0, 100.0)]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_steady_background_is_idle_and_what_goes_up_and_down_in_a_test_is_one_test() {
        let mut steady = Episodes::default();
        assert_eq!(boundaries(&mut steady, &[(60, 200.0, 40.0)]), []);
        let mut waves = Episodes::default();
        waves.begin();
        let wave = [(5, 500.0, 50.0), (5, 10.0, 2.0)];
        assert_eq!(boundaries(&mut waves, &wave.repeat(5)), []);
    }

    #[test]
    fn a_slow_ramp_is_a_test_and_not_a_new_idle() {
        let mut episodes = Episodes::default();
        let ramp: Vec<(u64, f64, f64)> = (0..120).map(|second| (1, 0.0, f64::from(second) * 0.8)).collect();
        let found = boundaries(&mut episodes, &ramp);
        assert!(matches!(found[..], [(at_s, Boundary::Begins)] if at_s < 15.0), "{found:?}");
    }

    #[test]
    fn what_was_ended_by_hand_under_load_stays_ended_and_does_not_hide_the_next_test() {
        let begin: [fn(&mut Episodes); 2] = [|_| {}, |episodes| episodes.begin_waiting(0)];
        for begin in begin {
            let mut episodes = Episodes::default();
            begin(&mut episodes);
            boundaries(&mut episodes, &[(5, 1.0, 1.0), (5, 1_000.0, 50.0)]);
            assert!(episodes.is_under_way());
            episodes.end();
            assert_eq!(boundaries(&mut episodes, &[(5, 1_000.0, 50.0), (5, 0.0, 0.0)]), []);
            let found = boundaries(&mut episodes, &[(5, 1_000.0, 50.0)]);
            assert!(matches!(found[..], [(_, Boundary::Begins)]), "{found:?}");
        }
    }

    #[test]
    fn a_test_over_a_background_is_over_when_the_background_is_all_that_is_left() {
        let mut episodes = Episodes::default();
        let found = boundaries(&mut episodes, &[(10, 40.0, 8.0), (20, 300.0, 60.0), (15, 42.0, 9.0)]);
        assert!(matches!(found[..], [(_, Boundary::Begins), (_, Boundary::Ended { .. })]), "{found:?}");
    }

    #[test]
    fn an_episode_that_someone_began_waits_for_its_load() {
        let mut episodes = Episodes::default();
        episodes.begin();
        assert_eq!(boundaries(&mut episodes, &[(120, 1.0, 1.0)]), []);
    }

    /// What is found where nobody began the episode.
    fn waiting(course: &[(u64, f64, f64)]) -> Vec<(f64, Boundary)> {
        let mut episodes = Episodes::default();
        episodes.begin_waiting(0);
        boundaries(&mut episodes, course)
    }

    #[test]
    fn an_episode_that_nobody_began_is_that_of_the_load_that_comes_soon() {
        let second = 1_000_000_000;
        let over = Boundary::Ended { at_ns: 110 * second };
        assert_eq!(waiting(&[(100, 1.0, 1.0), (10, 300.0, 50.0), (15, 1.0, 1.0)]), [(120.0, over)]);
        // And of the load that is there already.
        assert_eq!(waiting(&[(110, 300.0, 50.0), (15, 1.0, 1.0)]), [(120.0, over)]);
    }

    #[test]
    fn a_load_that_comes_later_begins_another_one() {
        let idle = waiting(&[(200, 1.0, 1.0), (10, 300.0, 50.0)]);
        assert_eq!(idle, [(200.0, Boundary::Begins)]);
        let steady = waiting(&[(200, 100.0, 20.0), (10, 900.0, 50.0), (15, 110.0, 20.0)]);
        assert_eq!(steady[0], (200.0, Boundary::Begins));
        assert!(matches!(steady[1..], [(_, Boundary::Ended { .. })]), "{steady:?}");
    }

    #[test]
    fn a_test_in_steps_is_one_whoever_began_the_episode() {
        let steps = [(10, 0.0, 0.0), (180, 100.0, 10.0), (180, 400.0, 40.0), (180, 1_600.0, 160.0)];
        assert_eq!(waiting(&steps), []);
    }

    #[test]
    fn a_test_that_dips_is_one_although_it_was_there_from_the_beginning() {
        assert_eq!(waiting(&[(200, 300.0, 50.0), (3, 0.0, 50.0), (60, 300.0, 50.0)]), []);
    }

    #[test]
    fn an_episode_that_someone_began_under_load_is_over_with_it() {
        let mut episodes = Episodes::default();
        episodes.begin_waiting(0);
        assert_eq!(boundaries(&mut episodes, &[(20, 1_000.0, 50.0)]), []);
        episodes.begin();
        let found = boundaries(&mut episodes, &[(20, 1_000.0, 50.0), (15, 0.0, 0.0)]);
        assert!(matches!(found[..], [(30.0, Boundary::Ended { .. })]), "{found:?}");
    }

    #[test]
    fn who_announces_a_test_late_begins_another_episode() {
        let mut episodes = Episodes::default();
        episodes.begin_waiting(0);
        assert!(!episodes.is_open(119_000_000_000) && episodes.is_open(120_000_000_000));
        boundaries(&mut episodes, &[(150, 40.0, 8.0)]);
        episodes.begin();
        assert!(!episodes.is_open(500_000_000_000));
        let found = boundaries(&mut episodes, &[(20, 300.0, 60.0), (15, 42.0, 9.0)]);
        assert!(
            matches!(found[..], [(_, Boundary::Ended { .. })]),
            "the background is all that is left: {found:?}"
        );
    }
}
