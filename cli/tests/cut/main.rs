//! France is cut off from everybody else: nine real processes on a small internet of network namespaces, two apps, each at home on
//! one side and away on the other. Needs root, iproute2 and nftables; without them it fails and says so.
//!
//! The cut lasts half a minute, or as many seconds as `BOCAGE_CUT_S` says.
#![allow(dead_code, reason = "the internet and its hosters are those of the NATs' tests, of which this uses a part")]
#[path = "../common/mod.rs"]
mod common;
#[path = "../nat/hosters.rs"]
mod hosters;
#[path = "../nat/internet.rs"]
mod internet;

use std::time::{Duration, Instant};

use common::Person;
use hosters::{Hoster, Plan, found, until};
use internet::{Host, Internet};

const PATIENT: Duration = Duration::from_secs(120);
/// What the apps let a read away be old while linked.
const STALENESS_S: u64 = 5;

/// Deploys the guestbook under another name, and says where it is served.
fn deploy(person: &Person, through: &Hoster, app: &str, home: &str, away: &str) -> String {
    let wasm = common::root().join("examples/guestbook/guestbook.wasm");
    std::fs::copy(wasm, person.path("guestbook.wasm")).expect("the example is there");
    let manifest = format!(
        "app = \"{app}\"\n[component]\npath = \"guestbook.wasm\"\n[place]\nhome = [{home}]\naway = [{away}]\nvoters = 3\n\
         [scale]\nmin = 1\nmax = 5\n[read]\nmax_staleness = \"{STALENESS_S}s\"\n[cut]\naway = \"stale\"\nstale_for_max = \"1h\"\n"
    );
    let file = format!("{app}.toml");
    person.has(&file, manifest);
    let node = through.folder.to_str().expect("a path in UTF-8");
    let began = Instant::now();
    loop {
        let said = through.types(person, &["deploy", &file, "--node", node, "--output", "json"]);
        if said.code == 0 {
            let value: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
            return value["host"].as_str().expect("it names the host").to_owned();
        }
        assert!(began.elapsed() < PATIENT, "{}{}\n{}", said.out, said.err, through.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// How many entries an edge says that there are, and how old that is.
fn entries(at: &Hoster, host: &str) -> Option<(usize, Option<u64>)> {
    let (status, age, body) = at.asks(host, "/entries", None);
    let entries: Vec<serde_json::Value> = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
    Some((entries.len(), age))
}

fn signs(at: &Hoster, host: &str, text: &str) -> bool {
    at.asks(host, "/entries", Some(text)).0 == 201
}

/// One side's app while the cut lasts: home writes on, away reads what was there, older and older.
struct Watched<'a> {
    host: &'a str,
    home: &'a Hoster,
    away: &'a Hoster,
    signed: usize,
    before: usize,
}

impl Watched<'_> {
    fn goes_on(&mut self, since: Instant, hosters: &[Hoster]) {
        let text = format!("entry {} of {}", self.signed, self.host);
        assert!(signs(self.home, self.host, &text), "home writes on\n{}", self.home.log());
        self.signed += 1;
        // A cut that has just begun is not noticed yet.
        if since.elapsed() < Duration::from_secs(6) {
            return;
        }
        let read = entries(self.away, self.host);
        let logs = || hosters.iter().map(Hoster::log).collect::<String>();
        let Some((count, Some(age))) = read else { panic!("{read:?}: away reads on, and says how old\n{}", logs()) };
        assert_eq!(count, self.before, "it knows nothing newer");
        assert!(
            Duration::from_secs(age) >= since.elapsed().saturating_sub(Duration::from_secs(1)),
            "{age} s is not honest"
        );
        assert!(!signs(self.away, self.host, "never"), "away writes nothing");
    }
}

#[test]
fn both_sides_of_a_cut_go_on_and_agree_when_it_has_healed() {
    let (person, mut internet) = (Person::new(), Internet::new());
    let mut plans = Vec::new();
    let places = [
        ("relay", "BE"),
        ("beech", "BE"),
        ("birch", "BE"),
        ("alder", "FR"),
        ("ash", "FR"),
        ("aspen", "FR"),
        ("dogwood", "DE"),
        ("damson", "DE"),
        ("date", "DE"),
    ];
    for (name, jurisdiction) in places {
        let host = internet.public(name);
        plans.push(Plan { name, jurisdiction, host, relay: name == "relay" });
    }
    let mut hosters = found(person.home.path(), plans);
    hosters.iter_mut().for_each(Hoster::starts);
    let french: Vec<Host> = hosters[3..6].iter().map(|hoster| hoster.host.clone()).collect();

    let fr = deploy(&person, &hosters[3], "french", "\"FR\"", "\"DE\"");
    let de = deploy(&person, &hosters[6], "german", "\"DE\", \"BE\"", "\"FR\"");
    for (at, host) in [(3, &fr), (6, &de)] {
        until(&hosters, "it is signed at home", PATIENT, || signs(&hosters[at], host, "first"));
    }
    // Rules 4 come fifteen seconds after the start, copies soon after.
    for (at, host) in [(6, &fr), (3, &de)] {
        until(&hosters, "a copy away answers", PATIENT, || {
            entries(&hosters[at], host).is_some_and(|(_, age)| age.is_some_and(|age| age <= STALENESS_S + 1))
        });
    }
    // Cells fall asleep, and marks go on proving what copies hold.
    std::thread::sleep(Duration::from_secs(8));
    for (at, host) in [(6, &fr), (3, &de)] {
        let (count, age) = entries(&hosters[at], host).expect("it answers");
        assert!(count == 1 && age.is_some_and(|age| age <= STALENESS_S + 1), "{count} entries, {age:?} s old");
    }

    internet.cut(&french);
    let since = Instant::now();
    let lasts = std::env::var("BOCAGE_CUT_S").map_or(30, |seconds| seconds.parse().expect("a number of seconds"));
    let mut signed = [1, 1];
    {
        let mut apps = [
            Watched { host: &fr, home: &hosters[3], away: &hosters[6], signed: 1, before: 1 },
            Watched { host: &de, home: &hosters[6], away: &hosters[3], signed: 1, before: 1 },
        ];
        while since.elapsed() < Duration::from_secs(lasts) {
            apps.iter_mut().for_each(|app| app.goes_on(since, &hosters));
            std::thread::sleep(Duration::from_millis(500));
        }
        signed.iter_mut().zip(&apps).for_each(|(signed, app)| *signed = app.signed);
    }
    // Whoever restarts while cut off starts from its own disk, and counts age by its clock then.
    for at in 3..6 {
        hosters[at].dies();
        hosters[at].starts();
    }
    let cut_for = since.elapsed().as_secs();
    let took = until(&hosters, "a node that restarts while cut off answers from its own disk", PATIENT, || {
        let holds = |at: &Hoster| {
            entries(at, &de).is_some_and(|(count, age)| count == 1 && age.is_some_and(|age| age + 1 >= cut_for))
        };
        hosters[3..6].iter().any(holds)
    });
    eprintln!("figure: from the restart of all French nodes, cut off, until the copy answers: {took:?}");
    until(&hosters, "the French app writes on after that", PATIENT, || signs(&hosters[3], &fr, "after the restart"));
    signed[0] += 1;

    internet.heal(&french);
    let healed = Instant::now();
    for ((at, host), signed) in [(6, &fr), (3, &de)].into_iter().zip(signed) {
        until(&hosters, "away knows all that home has agreed on", PATIENT, || {
            entries(&hosters[at], host)
                .is_some_and(|(count, age)| count == signed && age.is_none_or(|age| age <= STALENESS_S + 1))
        });
        eprintln!("figure: from the end of the cut until {host} is known away: {:?}", healed.elapsed());
    }
    for (at, host) in [(6, &fr), (3, &de)] {
        until(&hosters, "and can be written from there", PATIENT, || signs(&hosters[at], host, "from away"));
    }
    for ((at, host), signed) in [(3, &fr), (6, &de)].into_iter().zip(signed) {
        assert_eq!(entries(&hosters[at], host), Some((signed + 1, None)), "nothing is doubled, lost or resurrected");
    }
}
