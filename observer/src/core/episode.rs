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
/// What is usual at idle follows a rise within about so long, and a fall at once: a slow ramp is no new idle.
const LEARNS_NS: f64 = 120e9;

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
    Idle { usual: Option<Level>, looked_ns: u64 },
    Under { usual: Option<Level>, peak: Level, fallen_ns: Option<u64> },
}

impl Default for Episodes {
    fn default() -> Self {
        Self { state: State::Idle { usual: None, looked_ns: 0 } }
    }
}

impl Episodes {
    /// Whether an episode is under way.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state, State::Under { .. })
    }

    /// An episode begins because someone says so.
    pub fn begin(&mut self) {
        self.state = State::Under { usual: self.usual(), peak: [0.0; 2], fallen_ns: None };
    }

    /// It ends because someone says so.
    pub fn end(&mut self) {
        self.state = State::Idle { usual: self.usual(), looked_ns: 0 };
    }

    /// What is usual at idle, as far as is known.
    fn usual(&self) -> Option<Level> {
        match self.state {
            State::Idle { usual, .. } | State::Under { usual, .. } => usual,
        }
    }

    /// Looks at the load of the last second. What it returns has happened: the state follows it.
    pub fn observe(&mut self, at_ns: u64, load: &Load) -> Option<Boundary> {
        let now = [load.connections_per_s.unwrap_or(0.0), load.concurrency.unwrap_or(0.0)];
        match &mut self.state {
            State::Idle { usual, looked_ns } => {
                let passed_ns = at_ns.saturating_sub(std::mem::replace(looked_ns, at_ns));
                let usual = usual.get_or_insert(now);
                if now.iter().zip(&*usual).any(|(now, usual)| *now > usual * LEAVES_IDLE + FLOOR) {
                    self.begin();
                    return Some(Boundary::Begins);
                }
                let share = (passed_ns as f64 / LEARNS_NS).min(1.0);
                for (now, usual) in now.iter().zip(usual) {
                    *usual = now.min(*usual + (now - *usual).max(0.0) * share);
                }
                None
            }
            State::Under { usual, peak, fallen_ns } => {
                now.iter().zip(&mut *peak).for_each(|(now, peak)| *peak = peak.max(*now));
                let idle = usual.unwrap_or([0.0; 2]).map(|usual| usual * LEAVES_IDLE + FLOOR);
                // Before there was a load, there is none that could be over.
                let was_there = peak.iter().zip(&idle).any(|(peak, idle)| peak > idle);
                let is_low = |at: usize| now[at] <= peak[at] * FALLS_TO || now[at] <= idle[at];
                if !was_there || !(0..now.len()).all(is_low) {
                    *fallen_ns = None;
                    return None;
                }
                let fell_ns = *fallen_ns.get_or_insert(at_ns);
                let settled = at_ns.saturating_sub(fell_ns) >= SETTLE_NS;
                settled.then(|| self.end()).map(|()| Boundary::Ended { at_ns: fell_ns })
            }
        }
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
    fn what_was_ended_by_hand_under_load_does_not_hide_the_next_test() {
        let mut episodes = Episodes::default();
        boundaries(&mut episodes, &[(5, 1.0, 1.0), (5, 1_000.0, 50.0)]);
        episodes.end();
        let found = boundaries(&mut episodes, &[(5, 0.0, 0.0), (5, 1_000.0, 50.0)]);
        assert!(!found.is_empty() && episodes.is_under_way(), "{found:?}");
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
}
