//! Disks fail under running nodes, by `BOCAGE_DISK_FAULTS`, while clients write all the time: syncs fail, bytes rot, a disk is wiped,
//! one is full, and every death is a power cut. Nothing that was acknowledged is lost, nothing else is served, and as many voters hold the
//! app again as before.
mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    Person,
    hedge::{Demo, kill},
    nodes::{self, Running},
};
use serde_json::Value;

/// Where each node looks for its faults, in its own folder.
const FAULTS: &str = "disk-faults.toml";
/// Whatever a mesh of five on one machine does by itself, it does within this.
const SOON: Duration = Duration::from_mins(1);
/// Into a disk without room for another segment goes no more than this.
const FILL: usize = 400 << 10;
const FILLS_MAX: usize = 200;

impl Demo {
    fn status(&self, through: &Value) -> Value {
        self.person.asks(&["status", "guestbook", "--node", control(through)])
    }

    /// The app's replicas, as a node knows them.
    fn replicas(&self, through: &Value) -> Vec<Value> {
        self.status(through)["cells"][0]["replicas"].as_array().unwrap().clone()
    }

    /// A node that was killed, or that ended, starts again from its folder.
    fn start_again(&self, node: &Value) -> Running {
        let log = fs::OpenOptions::new().append(true).open(log(node)).unwrap();
        nodes::run_in(&self.person, node["dir"].as_str().unwrap(), log)
    }
}

fn control(node: &Value) -> &str {
    node["control"].as_str().unwrap()
}

fn log(node: &Value) -> PathBuf {
    Path::new(node["dir"].as_str().unwrap()).join("log")
}

fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    nodes::within(SOON, what, is_so);
}

/// From now on the disk of a node fails so.
fn suffers(node: &Value, faults: &str, seed: u64) {
    let dir = Path::new(node["dir"].as_str().unwrap());
    let half = dir.join("disk-faults.new");
    fs::write(&half, format!("faults = [{faults}]\nseed = {seed}\n")).unwrap();
    fs::rename(half, dir.join(FAULTS)).unwrap();
}

/// Whether a node's log says this, past what it said before.
fn said(node: &Value, before: usize, what: &str) -> bool {
    fs::read_to_string(log(node)).unwrap().get(before..).is_some_and(|text| text.contains(what))
}

fn length(node: &Value) -> usize {
    fs::read_to_string(log(node)).unwrap().len()
}

/// Whether a process runs; a dead one that nobody waited for does not.
fn runs(pid: u64) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

fn curl(args: &[&str]) -> Option<String> {
    let output = Command::new("curl").args(["--silent", "--fail", "--max-time", "10"]).args(args).output();
    let output = output.expect("this test needs curl: apt-get install curl");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("the guestbook answers text"))
}

/// What a page of the book says, id by id; `None`: the request failed.
fn page(url: &str, after: u64) -> Option<BTreeMap<u64, String>> {
    let entries: Vec<Value> = serde_json::from_str(&curl(&[&format!("{url}?after={after}")])?).unwrap();
    let entry = |it: &Value| (it["id"].as_u64().unwrap(), it["text"].as_str().unwrap().to_owned());
    Some(entries.iter().map(entry).collect())
}

/// Signs the book through one edge and reads it through the other, in turns, until told to stop.
struct Client {
    go_on: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeMap<u64, String>>>,
    thread: thread::JoinHandle<()>,
}

impl Client {
    fn start(urls: [String; 2]) -> Self {
        let (go_on, acknowledged) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<BTreeMap<u64, String>>>::default());
        let (going, written) = (go_on.clone(), acknowledged.clone());
        let thread = thread::spawn(move || {
            for number in 0.. {
                if !going.load(Relaxed) {
                    return;
                }
                let (text, at) = (format!("entry {number}"), number % 2);
                let key = format!("Idempotency-Key: key-{number}");
                let began = Instant::now();
                let id = loop {
                    let answer = curl(&["-H", &key, "--data-binary", &text, &urls[at]]);
                    let answer = answer.and_then(|answer| serde_json::from_str::<Value>(&answer).ok());
                    if let Some(id) = answer.and_then(|answer| answer["id"].as_u64()) {
                        break id;
                    }
                    assert!(began.elapsed() < SOON, "{text} is not acknowledged");
                    thread::sleep(Duration::from_millis(20));
                };
                written.lock().unwrap().insert(id, text);
                // What is read is what was written: a page may be old, but it says nothing else.
                for (id, text) in page(&urls[1 - at], id.saturating_sub(5)).unwrap_or_default() {
                    let written = written.lock().unwrap();
                    assert!(
                        written.get(&id).is_none_or(|it| *it == text),
                        "{id} reads {text:?}: {:?}",
                        written.get(&id)
                    );
                }
            }
        });
        Self { go_on, acknowledged, thread }
    }

    fn goes_on(&self) {
        let count = || self.acknowledged.lock().unwrap().len();
        let before = count();
        eventually("writes are acknowledged", || count() > before + 3);
    }

    fn stop(self) -> BTreeMap<u64, String> {
        self.go_on.store(false, Relaxed);
        self.thread.join().expect("the client saw nothing wrong");
        self.acknowledged.lock().unwrap().clone()
    }
}

#[test]
fn disks_fail_under_clients_and_nothing_acknowledged_is_lost() {
    let person = Person::who_says("BOCAGE_DISK_FAULTS", FAULTS);
    let demo = Demo::of(person, "disks", &[]);
    for (node, seed) in demo.nodes().iter().zip(1..) {
        assert!(said(node, 0, "BOCAGE_DISK_FAULTS is set"), "it is loud");
        suffers(node, r#""power""#, seed);
    }
    let first = demo.status(&demo.nodes()[0])["cells"][0].clone();
    let votes = |node: &Value| first["replicas"].as_array().unwrap().iter().any(|it| it["node_id"] == node["node_id"]);
    let (voters, others): (Vec<&Value>, Vec<&Value>) = demo.nodes().iter().partition(|node| votes(node));
    let (leaders, followers): (Vec<&Value>, Vec<&Value>) =
        voters.iter().copied().partition(|node| node["node_id"] == first["leader"]);
    let (leader, rots, wiped, aside) = (leaders[0], followers[0], followers[1], others[0]);
    let client = Client::start([others[0], others[1]].map(|node| demo.url(node, "/entries")));
    client.goes_on();

    // Syncs fail: the node that led acknowledges nothing more, says why, and ends; started again it goes on from what was synced.
    suffers(leader, r#""power", "fail-sync""#, 6);
    eventually("a node whose disk fails ends", || !runs(leader["pid"].as_u64().unwrap()));
    assert!(said(leader, 0, "the disk failed") && said(leader, 0, "What was synced is whole"));
    client.goes_on();
    suffers(leader, r#""power""#, 7);
    let _leader_again = demo.start_again(leader);
    eventually("it answers for the app again", || {
        demo.person.types(&["status", "guestbook", "--node", control(leader)]).code == 0
    });

    // Bytes rot: the cell is not read from such a disk, and comes back from the others.
    let mut rots_again = None;
    for seed in 10..30 {
        match rots_again.take() {
            None => kill(rots),
            Some(running) => drop::<Running>(running),
        }
        suffers(rots, r#""power", "rot""#, seed);
        let before = length(rots);
        rots_again = Some(demo.start_again(rots));
        let lost = || said(rots, before, "CellQuarantined");
        eventually("its disk is read", || lost() || said(rots, before, "CellOpened"));
        if lost() {
            break;
        }
    }
    suffers(rots, r#""power""#, 30);
    assert!(said(rots, 0, "CellQuarantined"), "of twenty tries one hits what the cell needs");
    is_whole_again(&demo, rots, aside);
    client.goes_on();

    // A disk is replaced by an empty one.
    kill(wiped);
    fs::remove_dir_all(Path::new(wiped["dir"].as_str().unwrap()).join("disk")).unwrap();
    let _wiped_again = demo.start_again(wiped);
    is_whole_again(&demo, wiped, aside);
    client.goes_on();

    // A disk takes no more segments: that of a voter, whoever votes by now.
    let replicas = demo.replicas(aside);
    let votes = |node: &Value| replicas.iter().any(|it| it["node_id"] == node["node_id"]);
    let full = *voters.iter().find(|node| votes(node)).expect("two of the five are no voters of the first hour");
    let before = length(full);
    suffers(full, r#""power", "disk-full""#, 40);
    let mut fills = 0;
    while !said(full, before, "the disk is full") {
        fills += 1;
        assert!(fills < FILLS_MAX, "{FILLS_MAX} values of {FILL} bytes need no new segment");
        fill(&demo, aside);
    }
    eventually("a node whose disk is full ends", || said(full, before, "the node stopped"));
    client.goes_on();
    suffers(full, r#""power""#, 41);
    let _full_again = demo.start_again(full);
    eventually("with room it answers for the app again", || {
        demo.person.types(&["status", "guestbook", "--node", control(full)]).code == 0
    });

    let acknowledged = client.stop();
    for node in demo.nodes() {
        let (url, mut book) = (demo.url(node, "/entries"), BTreeMap::new());
        eventually("the whole book is read at every edge", || {
            let last = book.last_key_value().map_or(0, |(id, _)| *id);
            let more = page(&url, last);
            book.extend(more.clone().unwrap_or_default());
            more.is_some_and(|page| page.is_empty()) && book.len() >= acknowledged.len()
        });
        for (id, text) in &acknowledged {
            assert_eq!(book.get(id), Some(text), "acknowledged as {id}");
        }
        let mut texts: Vec<&String> = book.values().collect();
        texts.sort_unstable();
        assert!(texts.windows(2).all(|pair| pair[0] != pair[1]), "no entry is there twice");
    }
}

/// As many vote as before, nobody is joining, and whoever stands on the node that lost what it held came after that: itself, under another
/// id, or another in its place, if it was called down first.
fn is_whole_again(demo: &Demo, node: &Value, through: &Value) {
    eventually("redundancy is whole again", || {
        let replicas = demo.replicas(through);
        let is_anew =
            |it: &Value| it["node_id"] != node["node_id"] || it["why"].as_str().unwrap().contains("was wiped");
        replicas.len() == 3 && replicas.iter().all(|it| it["role"] == "voter" && is_anew(it))
    });
}

/// Writes much into the log, and the same key each time.
fn fill(demo: &Demo, through: &Value) {
    let mut set = demo.person.command(&["kv", "set", "guestbook", "much", "-", "--node", control(through)]);
    let mut set = set.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The node that leads may be the one that ends; then nobody reads all of it.
    let _ = set.stdin.take().unwrap().write_all(&vec![b'x'; FILL]);
    set.wait().unwrap();
}
