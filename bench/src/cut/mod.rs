//! France is cut off from Germany and Belgium: nine daemons, each a machine of its own with emulated links (`bocage-links`),
//! 30 ms there and back within a side and 470 ms across. Apps are at home on one side and away on the other; clients on both
//! sides write and read before, in and after the cut, and one more app is deployed on each side while it lasts.
//!
//! Read: who hosts (`nodes`), what clients do and see (`clients`), and whether that is what the apps promise (`contract`, pure).
mod nodes;
mod clients;
mod contract;

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use self::{
    clients::{Seen, agrees, reads, writes_away, writes_home},
    contract::{Cut, Promise, breaches_at_home, breaches_away, silence},
    nodes::{Deployed, Nodes, Side},
};
use crate::{
    client::Acknowledged,
    demo::Bocage,
    failover::compare,
    table::{Figure, count},
};

/// Seconds that an app may take no write at home, as `cut.toml` of the simulator expects it.
const SILENCE_AT_MOST: f64 = 30.0;
/// Seconds until all agree once the cut has healed, as promised.
const AGREE_AT_MOST: f64 = 5.0;
/// Clients use the apps for so long before the cut, and after all agree again.
const WHOLE: Duration = Duration::from_secs(15);
/// Who does not agree by then never will.
const PATIENCE: Duration = Duration::from_mins(2);
/// Breaches that are shown of one run.
const SHOWN_MAX: usize = 10;

/// Each is away on the other side: what it is called, where it is at home, where it is away, and what it does there in a cut.
const APPS: [(&str, Side, &str, &str, Promise); 4] = [
    ("french", Side::France, r#"["FR"]"#, r#"["DE"]"#, Promise::Stale),
    ("french-stops", Side::France, r#"["FR"]"#, r#"["DE"]"#, Promise::Stop),
    ("german", Side::Rest, r#"["DE", "BE"]"#, r#"["FR"]"#, Promise::Stale),
    ("german-stops", Side::Rest, r#"["DE", "BE"]"#, r#"["FR"]"#, Promise::Stop),
];
/// Deployed while the cut lasts.
const LATE: [(&str, Side, &str); 2] =
    [("late-french", Side::France, r#"["FR"]"#), ("late-german", Side::Rest, r#"["DE", "BE"]"#)];

/// What came of one run.
struct Ran {
    breaches: Vec<String>,
    /// Answers that were judged.
    judged: usize,
    silence_s: f64,
    deploys_failed: usize,
    agree_s: f64,
    lost: usize,
    doubled: usize,
}

pub(crate) fn measure(bocage: &Bocage, runs: usize, lasts: Duration) -> anyhow::Result<Vec<Figure>> {
    let mut all = Vec::new();
    for number in 0..runs {
        let nodes = Nodes::start(bocage, number as u64)?;
        let ran = run(&nodes, lasts).inspect_err(|error| nodes.show_logs(error))?;
        ran.breaches.iter().take(SHOWN_MAX).for_each(|breach| eprintln!("  {breach}"));
        eprintln!(
            "cut {}: {} answers judged, {} amiss; longest {:.2} s without a write; all agree after {:.2} s; {} lost, {} doubled",
            number + 1,
            ran.judged,
            ran.breaches.len(),
            ran.silence_s,
            ran.agree_s,
            ran.lost,
            ran.doubled
        );
        all.push(ran);
    }
    let each = |figure: fn(&Ran) -> f64| all.iter().map(figure).collect::<Vec<f64>>();
    Ok(vec![
        Figure::worst("cut: answers that their app does not promise", "", 0.0, each(|ran| count(ran.breaches.len()))),
        Figure::told("cut: answers that were judged", "", each(|ran| count(ran.judged))),
        Figure::worst(
            "cut: longest that an app took no write at home",
            "s",
            SILENCE_AT_MOST,
            each(|ran| ran.silence_s),
        ),
        Figure::worst("cut: deploys that failed, of one on each side", "", 0.0, each(|ran| count(ran.deploys_failed))),
        Figure::worst("cut healed: all nine edges agree on all apps", "s", AGREE_AT_MOST, each(|ran| ran.agree_s)),
        Figure::worst("cut: acknowledged entries lost", "", 0.0, each(|ran| count(ran.lost))),
        Figure::worst("cut: entries doubled", "", 0.0, each(|ran| count(ran.doubled))),
    ])
}

fn run(nodes: &Nodes<'_>, lasts: Duration) -> anyhow::Result<Ran> {
    let mut apps = Vec::new();
    for (name, side, home, away, promise) in APPS {
        let places = format!(
            "home = {home}\naway = {away}\n[read]\nmax_staleness = \"{}s\"\n[cut]\naway = \"{}\"\nstale_for_max = \"24h\"\n",
            contract::MAX_STALENESS.as_secs(),
            promise.word()
        );
        apps.push((nodes.deploy(name, side, &places)?, promise));
    }
    for (app, _) in &apps {
        nodes.until_away(app)?;
    }
    let over = AtomicBool::new(false);
    let over = &over;
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for (app, _) in &apps {
            let [home, away] = [nodes.client_of(app.side), nodes.client_of(app.side.other())];
            clients.push([
                scope.spawn(move || writes_home(home, app, over)),
                scope.spawn(move || writes_away(away, app, over)),
                scope.spawn(move || reads(home, app, over).map(|at_home| Seen { at_home, ..Seen::default() })),
                scope.spawn(move || reads(away, app, over).map(|away| Seen { away, ..Seen::default() })),
            ]);
        }
        let done = cut_and_heal(nodes, lasts, &apps);
        over.store(true, Relaxed);
        let mut seen = Vec::new();
        for of_app in clients {
            let mut all = Seen::default();
            for client in of_app {
                all.join(client.join().expect("no client panics")?);
            }
            seen.push(all);
        }
        judge(nodes, &apps, &seen, &done?)
    })
}

/// The cut, and what was seen of it from without.
struct Done {
    cut: Cut,
    deploys_failed: usize,
    agree_s: f64,
    late: Vec<(Deployed, Acknowledged)>,
}

fn cut_and_heal(nodes: &Nodes<'_>, lasts: Duration, apps: &[(Deployed, Promise)]) -> anyhow::Result<Done> {
    thread::sleep(WHOLE);
    let began = Instant::now();
    nodes.cut();
    eprintln!("cut: France is cut off");
    let (mut late, mut deploys_failed) = (Vec::new(), 0);
    for (name, side, home) in LATE {
        let signed = nodes
            .deploy(name, side, &format!("home = {home}\n"))
            .and_then(|app| Ok((clients::sign(nodes.client_of(side), &app, "in the cut")?, app)));
        match signed {
            Ok((entry, app)) => late.push((app, entry)),
            Err(error) => {
                eprintln!("cut: {name} was not deployed: {error:#}");
                deploys_failed += 1;
            }
        }
    }
    eprintln!("cut: deployed on both sides after {:.1} s", began.elapsed().as_secs_f64());
    thread::sleep(lasts.saturating_sub(began.elapsed()));
    let mut everything = Vec::new();
    for app in apps.iter().map(|(app, _)| app).chain(late.iter().map(|(app, _)| app)) {
        everything.push((app, clients::sign(nodes.client_of(app.side), app, "the last one in the cut")?.id));
    }
    let healed = Instant::now();
    nodes.heal();
    eprintln!("cut: healed");
    // Who never agrees is one figure that is not kept; the others are told nevertheless.
    let agree_s = match agrees(nodes, &everything, PATIENCE) {
        Ok(at) => at.duration_since(healed).as_secs_f64(),
        Err(error) => {
            eprintln!("cut: {error:#}");
            f64::INFINITY
        }
    };
    thread::sleep(WHOLE);
    Ok(Done { cut: Cut { began, healed }, deploys_failed, agree_s, late })
}

fn judge(nodes: &Nodes<'_>, apps: &[(Deployed, Promise)], seen: &[Seen], done: &Done) -> anyhow::Result<Ran> {
    let mut ran = Ran {
        breaches: Vec::new(),
        judged: 0,
        silence_s: 0.0,
        deploys_failed: done.deploys_failed,
        agree_s: done.agree_s,
        lost: 0,
        doubled: 0,
    };
    for ((app, promise), seen) in apps.iter().zip(seen) {
        let amiss = breaches_away(*promise, &done.cut, &seen.acknowledged, &seen.away)
            .into_iter()
            .chain(breaches_at_home(&done.cut, &seen.acknowledged, &seen.at_home));
        ran.breaches.extend(amiss.map(|breach| format!("{}: {breach}", app.name)));
        ran.judged += seen.away.len() + seen.at_home.len();
        let of_home = silence(&seen.told_at_home).context("an app took no write at all")?;
        ran.silence_s = ran.silence_s.max(of_home.as_secs_f64());
        // Through the other side's edge than the one by which most was written.
        let entries = clients::entries(nodes.client_of(app.side.other()), app)?;
        let (lost, doubled) = compare(&seen.acknowledged, &entries);
        ran.lost += lost;
        ran.doubled += doubled;
    }
    for (app, entry) in &done.late {
        let (lost, doubled) = compare(std::slice::from_ref(entry), &clients::entries(nodes.client_of(app.side), app)?);
        ran.lost += lost;
        ran.doubled += doubled;
    }
    Ok(ran)
}
