//! One open page, and what it was told so far.
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use tokio::sync::watch;

use super::hub::{Hub, Shown, json};

/// So many pages may be open at once; one more is refused until another is closed.
pub(super) const PAGES_MAX: usize = 64;

/// After so long an interval's availability hardly changes any more.
const OPEN_MS: u64 = 20_000;

/// An event for pages: its name, and JSON.
pub(super) type Told = (&'static str, Arc<str>);

/// See the module. A page that is slow misses scenes and nothing else: whatever it does, no more waits for it than one event of
/// each name.
pub(super) struct Reader {
    hub: Arc<Hub>,
    news: watch::Receiver<u64>,
    begun: bool,
    places: usize,
    scene: u64,
    /// The last interval of availability that it was told.
    past: u64,
    changes: u64,
    ended: bool,
    next: VecDeque<Told>,
}

impl Reader {
    /// None if too many pages are open.
    pub(super) fn new(hub: Arc<Hub>) -> Option<Self> {
        let news = hub.news.subscribe();
        if hub.news.receiver_count() > PAGES_MAX {
            return None;
        }
        let next = VecDeque::new();
        Some(Self { hub, news, begun: false, places: 0, scene: 0, past: 0, changes: 0, ended: false, next })
    }

    /// The next event; waits for it.
    pub(super) async fn next(&mut self) -> Option<Told> {
        loop {
            self.look();
            if let Some(told) = self.next.pop_front() {
                return Some(told);
            }
            self.news.changed().await.ok()?;
        }
    }

    fn look(&mut self) {
        if !self.next.is_empty() {
            return;
        }
        let hub = Arc::clone(&self.hub);
        let shown = hub.shown();
        let first = !mem::replace(&mut self.begun, true);
        if first {
            self.next.push_back(("about", json(&hub.about)));
        }
        if mem::replace(&mut self.changes, shown.pace.changes) != shown.pace.changes || first {
            self.next.push_back(("pace", json(&shown.pace)));
        }
        if mem::replace(&mut self.places, shown.places.0) != shown.places.0 {
            self.next.push_back(("places", Arc::clone(&shown.places.1)));
        }
        if mem::replace(&mut self.scene, shown.scene.0) != shown.scene.0 {
            if let Some(missed) = self.missed(&shown) {
                self.next.push_back(("past", missed));
            }
            self.next.push_back(("scene", Arc::clone(&shown.scene.1)));
        }
        if let (Some(end), false) = (&shown.end, self.ended) {
            self.ended = true;
            self.next.push_back(("end", Arc::clone(end)));
        }
    }

    /// Availability that stood in scenes which this page was not told, if the newest does not tell it as well; and once more
    /// that of intervals which were still open when it was told them.
    fn missed(&mut self, shown: &Shown) -> Option<Arc<str>> {
        let (first, last) = shown.told?;
        let since = mem::replace(&mut self.past, last);
        let missed = shown.past.range(..first).next_back().is_some_and(|(ended, _)| *ended > since);
        let open = since.saturating_sub(OPEN_MS).min(first);
        missed.then(|| json(&shown.past.range(open..first).collect::<BTreeMap<_, _>>()))
    }
}

#[cfg(test)]
mod tests {
    use bocage_simulator::{
        Scenario,
        scene::{AreaSeen, PlaceSeen, Scene},
    };

    use super::*;
    use crate::verb::sim::live::{hub::About, pace::Asked};

    /// Of one second's availability.
    fn scene(at_s: u32, nodes: usize) -> Scene {
        let place = PlaceSeen { area: 0, site: 0, operator: "FR-1".into() };
        Scene {
            at_s: at_s.into(),
            stood_s: Some(1.0),
            heals: false,
            conditions: "u".repeat(nodes),
            leads: BTreeMap::new(),
            links: Vec::new(),
            cuts: Vec::new(),
            frames: 0,
            availability: vec![(at_s.into(), BTreeMap::from([("FR".to_owned(), 1.0)]))],
            faults: Vec::new(),
            violations: Vec::new(),
            areas: vec![AreaSeen { jurisdiction: "FR".into(), city: None }],
            places: vec![place; nodes],
        }
    }

    fn hub() -> Arc<Hub> {
        let scenario = Scenario::parse("name = \"x\"\nduration_s = 1\n[[population]]\njurisdiction = \"FR\"\n");
        Arc::new(Hub::new(About::of(&scenario.unwrap(), 7), "10".parse().unwrap()))
    }

    fn told(reader: &mut Reader) -> Vec<Told> {
        reader.look();
        reader.next.drain(..).collect()
    }

    fn names(reader: &mut Reader) -> Vec<&'static str> {
        told(reader).into_iter().map(|(name, _)| name).collect()
    }

    fn past(told: &[Told]) -> &str {
        told.iter().find(|(name, _)| *name == "past").map_or("", |(_, past)| past)
    }

    #[test]
    fn a_page_that_is_opened_late_is_told_the_past_and_then_only_what_is_new() {
        let hub = hub();
        (1..=3).for_each(|at| hub.show(&scene(at, 2)));
        let mut late = Reader::new(Arc::clone(&hub)).unwrap();
        let first = told(&mut late);
        assert_eq!(
            first.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["about", "pace", "places", "past", "scene"]
        );
        assert_eq!(past(&first), r#"{"1000":{"FR":1.0},"2000":{"FR":1.0}}"#);
        assert!(names(&mut late).is_empty());
        hub.ask(Asked::Pause);
        assert_eq!(names(&mut late), ["pace"]);
    }

    #[test]
    fn a_slow_page_misses_scenes_and_no_interval_and_never_has_much_waiting_for_it() {
        let hub = hub();
        hub.show(&scene(1, 1));
        let mut slow = Reader::new(Arc::clone(&hub)).unwrap();
        assert_eq!(names(&mut slow), ["about", "pace", "places", "scene"]);
        for at in 2..=1_000 {
            hub.show(&scene(at, 1));
            hub.ask(Asked::Pause);
        }
        let caught_up = told(&mut slow);
        assert_eq!(caught_up.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["pace", "past", "scene"]);
        let missed: BTreeMap<String, BTreeMap<String, f64>> = serde_json::from_str(past(&caught_up)).unwrap();
        assert_eq!(missed.len(), 999, "from the one that may not have been final to the one before the newest");
        assert!(caught_up.last().unwrap().1.contains("\"at_s\":1000.0"));
        assert!(names(&mut slow).is_empty());
    }

    #[test]
    fn the_past_is_bounded_and_so_are_the_pages() {
        let hub = hub();
        (0..7_210).for_each(|at| hub.show(&scene(at, 1)));
        {
            let shown = hub.shown();
            assert_eq!((shown.past.len(), shown.past.keys().next()), (7_200, Some(&10_000)));
        }
        let mut open: Vec<Reader> = (0..PAGES_MAX).map_while(|_| Reader::new(Arc::clone(&hub))).collect();
        assert_eq!(open.len(), PAGES_MAX);
        assert!(Reader::new(Arc::clone(&hub)).is_none());
        open.pop();
        assert!(Reader::new(Arc::clone(&hub)).is_some());
    }
}
