//! Clients, each on a host: it lives on a thread inside of it, so its connections begin there.
use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bocage_links::Host;
use bocage_processes::EDGE;
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::{
    contract::{Exchange, What},
    nodes::{Deployed, Nodes},
};
use crate::client::{Acknowledged, Client, Entry};

/// Between two requests of one client.
const THINK: Duration = Duration::from_millis(500);
/// Between two writes away, which are few: each is an entry more for all readers.
const THINK_AWAY: Duration = Duration::from_secs(3);
/// An entry that must be taken is taken within this.
const SIGN_MAX: Duration = Duration::from_secs(30);
/// Who looks whether all agree asks again after so long, answered or not.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What clients of one app saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Of all of them.
    pub(super) acknowledged: Vec<Acknowledged>,
    /// When the one at home was told of each.
    pub(super) told_at_home: Vec<Instant>,
    /// Reads at home.
    pub(super) at_home: Vec<Exchange>,
    /// On the other side.
    pub(super) away: Vec<Exchange>,
}

impl Seen {
    pub(super) fn join(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.told_at_home.extend(other.told_at_home);
        self.at_home.extend(other.at_home);
        self.away.extend(other.away);
    }
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

/// Of a refusal: RFC 9457, as edges say it.
#[derive(Deserialize)]
struct Problem {
    certainty: String,
}

/// Does this on a host.
fn on<T: Send>(host: &Host, work: impl AsyncFnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    host.namespace.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work())
    })?
}

/// Signs again and again at home, each entry until it is taken.
pub(super) fn writes_home(host: &Host, app: &Deployed, over: &AtomicBool) -> anyhow::Result<Seen> {
    on(host, async || {
        let (mut client, mut seen) = (Client::new(EDGE, &app.host), Seen::default());
        for number in 0_u64.. {
            let text = format!("{} home {number}", app.name);
            let Some(entry) = unless(over, client.sign(&text)).await else { break };
            seen.told_at_home.push(entry.at);
            seen.acknowledged.push(entry);
            sleep(THINK).await;
        }
        // A silence that lasts until the end is one.
        seen.told_at_home.push(Instant::now());
        Ok(seen)
    })
}

/// Signs away, each entry once.
pub(super) fn writes_away(host: &Host, app: &Deployed, over: &AtomicBool) -> anyhow::Result<Seen> {
    on(host, async || {
        let (mut client, mut seen) = (Client::new(EDGE, &app.host), Seen::default());
        let mut number = 0_u64;
        while !over.load(Relaxed) {
            let text = format!("{} away {number}", app.name);
            let asked = Instant::now();
            let answer = client.ask(Method::POST, "/entries", Some(&text), Bytes::from(text.clone())).await;
            let answered = Instant::now();
            if let Some(id) = taken(&answer) {
                seen.acknowledged.push(Acknowledged { id, text, at: answered });
            }
            seen.away.push(Exchange { asked, answered, what: wrote(&answer) });
            number += 1;
            sleep(THINK_AWAY).await;
        }
        Ok(seen)
    })
}

/// Reads again and again, here: what is behind the entry before the last one seen, so that no answer is long and the highest is
/// always in it, if it is there at all.
pub(super) fn reads(host: &Host, app: &Deployed, over: &AtomicBool) -> anyhow::Result<Vec<Exchange>> {
    on(host, async || {
        let (mut client, mut seen, mut highest_seen) = (Client::new(EDGE, &app.host), Vec::new(), 1);
        while !over.load(Relaxed) {
            let asked = Instant::now();
            let answer = client.get(&behind(highest_seen - 1)).await;
            let answered = Instant::now();
            let what = read(&answer)?;
            if let What::Read { highest, .. } = what {
                let more = answer.is_ok_and(|answer| answer.headers().contains_key(header::LINK));
                // A copy that is older than what was seen before says nothing of itself here: it is asked for all that it has.
                highest_seen = highest.max(1);
                if more || highest == 0 {
                    sleep(LOOK_EVERY).await;
                    continue;
                }
            }
            seen.push(Exchange { asked, answered, what });
            sleep(THINK).await;
        }
        Ok(seen)
    })
}

fn behind(id: u64) -> String {
    format!("/entries?after={id}")
}

/// An entry that must be taken soon.
pub(super) fn sign(host: &Host, app: &Deployed, text: &str) -> anyhow::Result<Acknowledged> {
    on(host, async || {
        let mut client = Client::new(EDGE, &app.host);
        let what = || format!("{} takes no write within {} s", app.name, SIGN_MAX.as_secs());
        timeout(SIGN_MAX, client.sign(text)).await.with_context(what)
    })
}

/// All entries of an app.
pub(super) fn entries(host: &Host, app: &Deployed) -> anyhow::Result<Vec<Entry>> {
    on(host, async || Client::new(EDGE, &app.host).entries().await)
}

/// When every edge had answered for every app, with an entry that was signed at its home after this was called; behind each app:
/// an entry that is not much older.
pub(super) fn agrees(nodes: &Nodes<'_>, apps: &[(&Deployed, u64)], patience: Duration) -> anyhow::Result<Instant> {
    let began = Instant::now();
    thread::scope(|scope| {
        let mut looking = Vec::new();
        for (app, before) in apps {
            let text = format!("{} healed", app.name);
            let (home, signed) = (nodes.client_of(app.side), text.clone());
            let signs = move || sign(home, app, &signed).map(|entry| (entry.at, None));
            looking.push((app, "home", scope.spawn(signs)));
            for (operator, host) in nodes.hosts() {
                let text = text.clone();
                let looks = move || on(host, async || shows(app, &text, *before, began + patience).await);
                looking.push((app, operator, scope.spawn(looks)));
            }
        }
        let mut last = began;
        for (app, whose, it) in looking {
            let (at, before) = it.join().expect("no client panics")?;
            if at > last {
                let after = at.duration_since(began).as_secs_f64();
                eprintln!("cut: {} agrees at {whose} {after:.2} s after healing; just before: {before:?}", app.name);
                last = at;
            }
        }
        Ok(last)
    })
}

/// When an edge showed this entry, and what it said just before.
async fn shows(app: &Deployed, text: &str, behind_id: u64, until: Instant) -> anyhow::Result<(Instant, Option<What>)> {
    let mut before = None;
    loop {
        // A connection of its own each time: what waits on an old one is not waited for.
        let mut client = Client::new(EDGE, &app.host);
        let answer = timeout(LOOK_MAX, client.get(&behind(behind_id))).await.unwrap_or_else(|late| Err(late.into()));
        let what = read(&answer)?;
        if let (Ok(answer), What::Read { .. }) = (&answer, &what)
            && serde_json::from_slice::<Vec<Entry>>(answer.body())?.iter().any(|entry| entry.text == text)
        {
            return Ok((Instant::now(), before));
        }
        anyhow::ensure!(Instant::now() < until, "{} does not show {text:?} everywhere: {what:?}", app.name);
        before = Some(what);
        sleep(LOOK_EVERY).await;
    }
}

/// `None`: it was over first.
async fn unless<T>(over: &AtomicBool, work: impl Future<Output = T>) -> Option<T> {
    let ended = async {
        while !over.load(Relaxed) {
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = ended => None,
        done = work => Some(done),
    }
}

fn taken(answer: &anyhow::Result<Response<Bytes>>) -> Option<u64> {
    let answer = answer.as_ref().ok().filter(|answer| answer.status() == StatusCode::CREATED)?;
    serde_json::from_slice::<Id>(answer.body()).ok().map(|Id { id }| id)
}

fn wrote(answer: &anyhow::Result<Response<Bytes>>) -> What {
    match answer {
        Ok(answer) if answer.status() == StatusCode::CREATED => What::Written,
        Ok(answer) if is_definite(answer) => What::Unwritten,
        other => What::Unsure(shown(other)),
    }
}

fn read(answer: &anyhow::Result<Response<Bytes>>) -> anyhow::Result<What> {
    let answer = match answer {
        Ok(answer) if answer.status() == StatusCode::OK => answer,
        other => return Ok(What::Unread(shown(other))),
    };
    let entries: Vec<Entry> = serde_json::from_slice(answer.body())?;
    let age = answer.headers().get(header::AGE).map(|age| age.to_str()).transpose()?.map(str::parse).transpose()?;
    Ok(What::Read { highest: entries.last().map_or(0, |entry| entry.id), age: age.map(Duration::from_secs) })
}

/// The edge, or the guest on a definite word of its store, says that it was not done.
fn is_definite(answer: &Response<Bytes>) -> bool {
    match serde_json::from_slice::<Problem>(answer.body()) {
        Ok(problem) => problem.certainty == "definite",
        Err(_) => answer.status() == StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn shown(answer: &anyhow::Result<Response<Bytes>>) -> String {
    match answer {
        Ok(answer) => format!("{} {}", answer.status(), String::from_utf8_lossy(answer.body()).trim()),
        Err(error) => format!("{error:#}"),
    }
}
