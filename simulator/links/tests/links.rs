//! The links between real sockets and processes. Nothing here rests on how fast the machine is: times have lower bounds, and
//! upper ones that only a machine that stands still misses. Needs root, /dev/net/tun, iproute2 and curl; without them it fails
//! and says so.
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bocage_links::{Counts, Host, Link, Links, LinksError, Namespace, ip};

const MS: Duration = Duration::from_millis(1);
/// Whatever happens at all happens within this.
const PATIENT: Duration = Duration::from_secs(30);
/// Nothing was on its way that takes longer than this; a silence as long is one.
const SILENCE: Duration = Duration::from_millis(300);
/// Tells this test's own process from the ones that it starts of itself.
const INNER: &str = "BOCAGE_LINKS_INNER";

fn raise(names: &[&str], link: Link) -> Links {
    Links::raise(names, 7, link).unwrap_or_else(|error| panic!("{error}"))
}

/// A socket on a host, which waits for as long as any answer may take.
fn socket(host: &Host) -> UdpSocket {
    let bound = host.namespace.within(|| UdpSocket::bind((host.address, 0))).expect("it was made");
    let socket = bound.expect("a port");
    socket.set_read_timeout(Some(PATIENT)).expect("a timeout");
    socket
}

fn at(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("it is bound")
}

fn send(from: &UdpSocket, to: &UdpSocket, number: u32) {
    from.send_to(&number.to_be_bytes(), at(to)).expect("it is sent");
}

/// The next number that comes; `None` after a while of silence.
fn next(socket: &UdpSocket, silence: Duration) -> Option<u32> {
    socket.set_read_timeout(Some(silence)).expect("a timeout");
    let mut bytes = [0; 4];
    match socket.recv(&mut bytes) {
        Ok(_) => Some(u32::from_be_bytes(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENT, "not within {PATIENT:?}: {what}");
        thread::sleep(MS);
    }
}

/// Sends so many from the first host to the second, few enough at a time that no buffer of the kernel is full, and says which
/// came, in their order.
fn sent(links: &Links, count: u32) -> Vec<u32> {
    const AT_ONCE: u32 = 100;
    let (from, to) = (socket(&links.hosts()[0]), socket(&links.hosts()[1]));
    let mut came = Vec::new();
    for first in (0..count).step_by(AT_ONCE as usize) {
        for number in first..count.min(first + AT_ONCE) {
            send(&from, &to, number);
        }
        let all = u64::from(count.min(first + AT_ONCE));
        until("each has its fate", || {
            let Counts { arrived, lost, cut, doubled, .. } = links.counts();
            arrived + lost + cut == all + doubled
        });
        while (came.len() as u64) < links.counts().arrived {
            came.push(next(&to, PATIENT).expect("it was handed over"));
        }
    }
    came
}

#[test]
fn a_round_trip_takes_twice_the_delay() {
    let links = raise(&["a", "b"], Link::taking(MS * 40));
    let [a, b] = [0, 1].map(|host| socket(&links.hosts()[host]));
    for number in 0..10 {
        let began = Instant::now();
        send(&a, &b, number);
        assert_eq!(next(&b, PATIENT), Some(number));
        assert!(began.elapsed() >= MS * 40, "{:?} one way", began.elapsed());
        send(&b, &a, number);
        assert_eq!(next(&a, PATIENT), Some(number));
        assert!((MS * 80..PATIENT).contains(&began.elapsed()), "{:?} there and back", began.elapsed());
    }
}

#[test]
fn a_program_on_one_host_asks_a_server_on_another() {
    let links = raise(&["client", "server"], Link { jitter: MS * 5, ..Link::taking(MS * 25) });
    let [client, server] = [0, 1].map(|host| &links.hosts()[host]);
    let bound = server.namespace.within(|| TcpListener::bind((server.address, 80))).expect("it was made");
    let listener = bound.expect("port 80 is free, for this host is new");
    let body = "x".repeat(100_000);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let serving = thread::spawn(move || {
        let (mut stream, from) = listener.accept().expect("a client");
        let mut request = [0; 1_024];
        let _ = stream.read(&mut request).expect("a request");
        stream.write_all(answer.as_bytes()).expect("it is read");
        from.ip()
    });
    let began = Instant::now();
    let url = format!("http://{}/", server.address);
    let got = client.namespace.command("curl").args(["-s", "-m", "30", &url]).output().expect("curl is installed");
    assert_eq!(String::from_utf8_lossy(&got.stdout).len(), body.len(), "{}", String::from_utf8_lossy(&got.stderr));
    assert!(began.elapsed() >= MS * 100, "a connection and a question are two round trips: {:?}", began.elapsed());
    assert_eq!(serving.join().expect("it serves"), client.address);
}

#[test]
fn of_a_thousand_packets_their_share_is_lost_and_the_same_ones_by_the_same_seed() {
    let link = Link { lost_per_mille: 100, ..Link::default() };
    let came = sent(&raise(&["a", "b"], link), 1_000);
    assert!((870..=930).contains(&came.len()), "{} of 1,000 came", came.len());
    assert!(came.is_sorted(), "losing does not mix them");
    assert_eq!(sent(&raise(&["a", "b"], link), 1_000), came);
    let other = Links::raise(&["a", "b"], 8, link).expect("as before");
    assert_ne!(sent(&other, 1_000), came);
}

#[test]
fn some_come_twice_and_some_are_overtaken() {
    let link = Link { twice_per_mille: 100, behind_per_mille: 100, ..Link::taking(MS * 50) };
    let links = raise(&["a", "b"], link);
    let came = sent(&links, 500);
    let counts = links.counts();
    assert_eq!(came.iter().collect::<BTreeSet<_>>().len(), 500, "none is lost");
    assert_eq!(came.len() as u64, 500 + counts.doubled);
    assert!(counts.doubled > 20 && counts.behind > 20, "{counts:?}");
    let overtaken = (1..came.len()).filter(|at| came[..*at].iter().any(|earlier| *earlier > came[*at])).count();
    assert!(overtaken > 10, "{came:?}");
}

#[test]
fn a_one_way_cut_stops_one_way_and_healing_ends_it() {
    let links = raise(&["a", "b", "c"], Link::default());
    let [a, b, c] = [0, 1, 2].map(|host| socket(&links.hosts()[host]));
    links.cut(&[0], &[1]);
    send(&a, &b, 1);
    assert_eq!(next(&b, SILENCE), None, "there nothing comes through");
    for (from, to) in [(&b, &a), (&a, &c), (&c, &b)] {
        send(from, to, 2);
        assert_eq!(next(to, PATIENT), Some(2), "every other way is open");
    }
    links.heal(&[0], &[1]);
    send(&a, &b, 3);
    assert_eq!(next(&b, PATIENT), Some(3));
    assert_eq!(links.counts().cut, 1);
}

#[test]
fn who_is_cut_off_hears_nobody_of_the_others_and_is_heard_by_none_until_it_rejoins() {
    let links = raise(&["a", "b", "c", "d"], Link::default());
    let [a, b, c, d] = [0, 1, 2, 3].map(|host| socket(&links.hosts()[host]));
    let across = [(&a, &c), (&c, &a), (&b, &d), (&d, &b)];
    links.cut_off(&[0, 1]);
    for (from, to) in across {
        send(from, to, 1);
        assert_eq!(next(to, SILENCE), None);
    }
    for (from, to) in [(&a, &b), (&b, &a), (&c, &d), (&d, &c)] {
        send(from, to, 2);
        assert_eq!(next(to, PATIENT), Some(2), "each side goes on");
    }
    links.rejoin(&[0, 1]);
    for (from, to) in across {
        send(from, to, 3);
        assert_eq!(next(to, PATIENT), Some(3));
    }
}

#[test]
fn what_is_under_way_when_a_cut_comes_is_lost_and_links_change_while_they_run() {
    let links = raise(&["a", "b"], Link::taking(SILENCE));
    let [a, b] = [0, 1].map(|host| socket(&links.hosts()[host]));
    send(&a, &b, 1);
    links.cut(&[0], &[1]);
    until("its way ends at the cut", || links.counts().cut == 1);
    links.set(&[0], &[1], Link::default());
    let began = Instant::now();
    send(&a, &b, 2);
    assert_eq!(next(&b, PATIENT), Some(2), "the first one never came");
    send(&b, &a, 3);
    assert_eq!(next(&a, PATIENT), Some(3));
    assert!(began.elapsed() >= SILENCE, "the way back is as it was");
}

fn exists(namespace: &str) -> bool {
    std::path::Path::new("/run/netns").join(namespace).exists()
}

fn names(links: &Links) -> Vec<String> {
    links.hosts().iter().map(|host| host.namespace.name().to_owned()).collect()
}

#[test]
fn hosts_go_with_all_that_runs_on_them_when_they_are_dropped_and_after_a_panic() {
    let links = raise(&["a", "b"], Link::default());
    let names_of_first = names(&links);
    let mut runs = links.hosts()[0].namespace.command("sleep").arg("600").spawn().expect("it starts");
    until("it is inside", || {
        let inside = Command::new("ip").args(["netns", "pids", &names_of_first[0]]).output().expect("ip runs");
        String::from_utf8_lossy(&inside.stdout).lines().any(|pid| pid == runs.id().to_string())
    });
    drop(links);
    assert!(!runs.wait().expect("it was started").success(), "it was ended");
    assert!(!names_of_first.iter().any(|name| exists(name)), "{names_of_first:?}");

    let panicked = thread::spawn(|| {
        let links = raise(&["a", "b"], Link::default());
        std::panic::panic_any(names(&links));
    });
    let names = *panicked.join().expect_err("it panicked").downcast::<Vec<String>>().expect("their names");
    assert_eq!(names.len(), 2);
    assert!(!names.iter().any(|name| exists(name)), "{names:?}");
}

/// This test again, in a process of its own that only raises links and drops them.
fn inner(test: &str, under: &[&str]) -> Command {
    let this = std::env::current_exe().expect("it runs");
    let mut words = under.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().expect("there is one"));
    command.args(words).args([test, "--exact", "--nocapture"]).env(INNER, "").stdin(Stdio::null());
    command
}

#[test]
fn what_a_killed_run_left_is_taken_away_by_the_next() {
    if std::env::var_os(INNER).is_some() {
        drop(Namespace::new("next").expect("namespaces can be made"));
        return;
    }
    let mut dead = Command::new("true").spawn().expect("it starts");
    dead.wait().expect("it ends");
    let left = format!("bcg{}x0-left", dead.id());
    ip(&["netns", "add", &left]).expect("namespaces can be made");
    let mut runs = Command::new("ip").args(["netns", "exec", &left, "sleep", "600"]).spawn().expect("it starts");
    let next = inner("what_a_killed_run_left_is_taken_away_by_the_next", &[]).output().expect("it runs");
    assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
    assert!(!exists(&left), "{left} is still there");
    // It may have been too late to be inside: then there was no inside any more.
    assert!(!runs.wait().expect("it was started").success());
}

#[test]
fn without_privileges_it_says_what_to_do() {
    if std::env::var_os(INNER).is_some() {
        let refused: LinksError = Links::raise(&["a"], 7, Link::default()).expect_err("it may not");
        panic!("{refused}");
    }
    let without = ["setpriv", "--inh-caps=-all", "--bounding-set=-net_admin,-sys_admin"];
    let said = inner("without_privileges_it_says_what_to_do", &without).output().expect("setpriv is of util-linux");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    for word in ["ip netns add", "Operation not permitted", "apt-get install -y iproute2", "run it as root"] {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
}
