//! Good manifests, and many bad ones as data: the whole text that a person sees is a snapshot.
use super::*;
use crate::resources::Money;

/// The manifest of the design, word for word.
const GUESTBOOK: &str = r#"
app = "guestbook"

[component]                    # or [container] image = "…", or [site] path = "public/"
path = "guestbook.wasm"

[place]
home = ["FR", "DE"]            # jurisdictions that hold the quorum and accept writes
away = ["CN"]                  # where read copies and instances may run too
voters = 3
max_price = "12 EUR/month"

[scale]
min = 0
max = 20
target_concurrency = 50

[read]
max_staleness = "60s"          # of away reads while linked

[cut]                          # what holds when parts cannot talk
away = "stale"                 # or "stop"; stale answers carry Age
stale_for_max = "24h"
home_cut = "FR"
lost_after = "10m"
hold_for = "7d"

[domains]
names = ["guestbook.example.org"]
"#;

#[test]
fn the_manifest_of_the_design_means_what_it_says() {
    let manifest = Manifest::parse(GUESTBOOK).unwrap();
    assert_eq!(manifest.app, "guestbook");
    assert_eq!(manifest.component().unwrap(), "guestbook.wasm");
    assert_eq!(manifest.domains, ["guestbook.example.org"]);
    let policy = manifest.policy;
    assert_eq!(policy.home, ["FR".parse().unwrap(), "DE".parse().unwrap()]);
    assert_eq!(policy.away, ["CN".parse().unwrap()]);
    assert_eq!(policy.max_price, Some(Money { minor: 1_200, currency: "EUR".parse().unwrap() }));
    assert_eq!((policy.scale.min, policy.scale.max, policy.scale.target_concurrency), (0, 20, 50));
    assert_eq!(policy.max_staleness, Duration::from_mins(1));
    assert_eq!(policy.cut.away, AwayInCut::Stale);
    assert_eq!(policy.cut.home_cut, Some("FR".parse().unwrap()));
    assert_eq!(policy.cut.lost_after, Duration::from_mins(10));
    assert_eq!(policy.cut.hold_for, Duration::from_hours(7 * 24));
    assert_eq!(policy.cut.stale_for_max, Duration::from_hours(24));
}

#[test]
fn stores_are_strong_unless_their_section_says_that_they_converge() {
    let text = "app = \"a\"\ncomponent.path = \"a.wasm\"\n[state.visits]\nmode = \"converge\"\n[state.money]\nmode = \"strong\"\n\
                [state.names]\n";
    let manifest = Manifest::parse(text).unwrap();
    assert_eq!(manifest.policy.converging, ["visits"]);
    assert_eq!(manifest.strong, ["money", "names"]);
}

#[test]
fn who_recovers_an_app_is_named_in_its_first_manifest() {
    let ids: Vec<crate::id::OperatorId> = (1..=3_u8).map(|byte| crate::id::OperatorId([byte; 32])).collect();
    let named = ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
    let text =
        |more: &str| format!("app = \"a\"\ncomponent.path = \"a.wasm\"\n[recovery]\noperators = [{named}]\n{more}");
    let policy = |more: &str| Manifest::parse(&text(more)).unwrap().policy.recovery;
    assert_eq!(
        policy(""),
        Recovery { operators: ids.clone(), threshold: 2 },
        "more than half, unless it says otherwise"
    );
    assert_eq!(policy("threshold = 3").threshold, 3);
}

#[test]
fn what_is_left_out_is_the_default() {
    let manifest = Manifest::parse("app = \"a\"\ncomponent.path = \"a.wasm\"").unwrap();
    assert_eq!(manifest.policy, Policy::default());
}

#[test]
fn env_and_resources_reach_the_release() {
    let text = "app = \"a\"\ncomponent.path = \"a.wasm\"\n[env]\nB = \"2\"\nA = \"1\"\n[resources]\nmemory = \"128 MiB\"\ncpu = \"0.25\"\n";
    let manifest = Manifest::parse(text).unwrap();
    assert_eq!(manifest.env, [("A".into(), "1".into()), ("B".into(), "2".into())]);
    assert_eq!((manifest.policy.instance.memory_bytes, manifest.policy.instance.cpu_millis), (128 << 20, 250));
}

#[test]
fn where_requests_may_go_is_part_of_the_policy_that_is_signed() {
    let text = "app = \"a\"\n[component]\npath = \"a.wasm\"\n\
        allowed_outbound_hosts = [\"https://api.example.org:443\", \"http://*.example.net:8080\"]";
    let policy = Manifest::parse(text).unwrap().policy;
    assert_eq!(policy.outbound, ["https://api.example.org", "http://*.example.net:8080"]);
    let signed = crate::codec::encode(&policy);
    assert_eq!(crate::codec::decode::<Policy>("policy", &signed).unwrap(), policy);
}

#[test]
fn a_maximum_below_the_default_minimum_lowers_it() {
    let manifest = Manifest::parse("app = \"a\"\ncomponent.path = \"a.wasm\"\nscale.max = 1").unwrap();
    assert_eq!((manifest.policy.scale.min, manifest.policy.scale.max), (1, 1));
}

#[test]
fn a_container_is_read_and_refused_with_what_to_do() {
    let manifest = Manifest::parse("app = \"a\"\ncontainer.image = \"nginx:1\"").unwrap();
    let refusal = manifest.component().unwrap_err();
    assert_eq!(refusal.code, Code::Unsupported);
    insta::assert_snapshot!(refusal.detail);
}

/// Each line is put where it belongs in a manifest that is otherwise good.
#[test]
fn a_bad_manifest_is_told_where_it_is_wrong_and_what_to_write() {
    const HEAD: &str = "app = \"a\"\ncomponent.path = \"a.wasm\"\n";
    let bad = [
        // Typos name the nearest key.
        "[place]\nhom = [\"FR\"]",
        "[place]\n  voter = 3",
        "[scale]\nmax_instances = 3",
        "[plaec]\nhome = []",
        "[cut]\nlost_afer = \"10m\"",
        "colour = \"blue\"",
        "[component.more]\nx = 1",
        // A wrong kind names what is expected.
        "[place]\nvoters = \"three\"",
        "[place]\nvoters = -1",
        "[place]\nvoters = 3.5",
        "[place]\nhome = \"FR\"",
        "[place]\nhome = [\"fr\"]",
        "[place]\nhome = [\"FR\", 7]",
        "[place]\nmax_price = 12",
        "[place]\nmax_price = \"12 euros\"",
        "[place]\nallow_degraded = \"yes\"",
        "[resources]\nmemory = 64",
        "[resources]\nmemory = \"64 megs\"",
        "[resources]\ncpu = \"a bit\"",
        "[cut]\nlost_after = \"ten minutes\"",
        "[cut]\nlost_after = 10",
        "[read]\nmax_staleness = \"1 fortnight\"",
        "[env]\nDEBUG = true",
        "[domains]\nnames = \"www.example.org\"",
        "place = 3",
        // Values that are out of bounds, or contradict each other.
        "[place]\nvoters = 4",
        "[place]\nvoters = 99999999999",
        "[place]\nhome = [\"FR\", \"FR\"]",
        "[place]\nhome = [\"FR\"]\naway = [\"CN\", \"FR\"]",
        "[scale]\nmin = 30",
        "[scale]\nmin = 3\nmax = 2",
        "[scale]\nmax = 0",
        "[scale]\nmax = 1001",
        "[scale]\ntarget_concurrency = 0",
        "[resources]\nmemory = \"1 KiB\"",
        "[resources]\ncpu = 0",
        "[cut]\naway = \"freeze\"",
        "[cut]\nhome_cut = \"FR\"",
        "[place]\nhome = [\"DE\"]\n[cut]\nhome_cut = \"FR\"",
        "[cut]\nlost_after = \"1s\"",
        "[cut]\nlost_after = \"1h\"\nhold_for = \"10m\"",
        "[cut]\nhold_for = \"9999d\"",
        "[domains]\nnames = [\"https://example.org\"]",
        "[domains]\nnames = [\"Example.org\"]",
        "[domains]\nnames = [\"a.example.org\", \"a.example.org\"]",
        "[env]\n\"A=B\" = \"c\"",
        "[site]\npath = \"public/\"",
        // Who may recover it.
        "[state.visits]\nmode = \"convrge\"",
        "[state.visits]\nmod = \"converge\"",
        "[state.visits]\nmode = 3",
        "[state]\nmode = \"converge\"",
        "[state.\"\"]\nmode = \"converge\"",
        "[stat.visits]\nmode = \"converge\"",
        "[recovery]\nthreshold = 1",
        "[recovery]\noperators = []",
        "[recovery]\noperators = [\"orla\"]",
        "[recovery]\noperators = [\"6yjinugguzanvcr3kk4ajeymp3ylyqbpqkz6ovgcazqejd73hkrq\"]\nthreshold = 2",
        // Where it may go.
        "component.allowed_outbound_host = [\"https://api.example.org\"]",
        "component.allowed_outbound_hosts = \"https://api.example.org\"",
        "component.allowed_outbound_hosts = [443]",
        "component.allowed_outbound_hosts = [\"https://a.example.org\", \"api.example.org\"]",
        "component.allowed_outbound_hosts = [\"https://api.example.org/v1\"]",
        "component.allowed_outbound_hosts = [\"ftp://example.org\"]",
        "component.allowed_outbound_hosts = [\"https://*\"]",
        "component.allowed_outbound_hosts = [\"https://localhost:8080\"]",
        "component.allowed_outbound_hosts = [\"http://169.254.169.254\"]",
        "component.allowed_outbound_hosts = [\"https://[fd00:ec2::254]\"]",
        "component.allowed_outbound_hosts = [\"http://example.org:0\"]",
        "component.allowed_outbound_hosts = [\"http://a.example.org\", \"http://a.example.org:80\"]",
        // Not TOML.
        "[place\nvoters = 3",
        "[place]\nvoters = 3\nvoters = 5",
        "[place]\nhome = [\"FR\"",
        "app = \"b\"",
    ];
    let mut shown = String::new();
    for line in bad {
        shown.push_str(&told(&format!("{HEAD}{line}"), line));
    }
    for whole in [
        "",
        "app = \"a\"",
        "component.path = \"a.wasm\"",
        "app = \"My App\"",
        "app = 3",
        "app = \"a\"\n[component]",
        "app = \"a\"\ncomponent.path = \" \"",
        "app = \"ä\"\nß = 3",
    ] {
        shown.push_str(&told(whole, whole));
    }
    insta::assert_snapshot!(shown);
}

fn told(text: &str, title: &str) -> String {
    let error = Manifest::parse(text).expect_err(title);
    let at = error.span.clone().map_or("", |span| &text[span]);
    format!("{}\n  -> {error}\n  at {at:?}\n\n", title.replace('\n', " / "))
}

#[test]
fn the_position_counts_characters_not_bytes() {
    let error = Manifest::parse("app = \"a\" # schön\n\"ü\" = 1").unwrap_err();
    assert_eq!((error.line, error.column), (2, 1));
    let error = Manifest::parse("x = { app = \"ööö\", b = 1 }").unwrap_err();
    assert_eq!((error.line, error.column), (1, 1));
}

#[test]
fn a_huge_manifest_is_refused_before_it_is_read() {
    let text = "#".repeat(MANIFEST_BYTES_MAX + 1);
    assert!(Manifest::parse(&text).unwrap_err().message.contains("at most"));
}

proptest::proptest! {
    /// Whatever a person, or a cat on the keyboard, writes: an answer, and spans that can be shown.
    #[test]
    fn no_text_panics(text in "[ -~\\n\"=\\[\\]äß…]{0,200}") {
        if let Err(error) = Manifest::parse(&text)
            && let Some(span) = error.span
        {
            proptest::prop_assert!(text.get(span).is_some());
        }
    }

    #[test]
    fn no_changed_byte_panics(at in 0..GUESTBOOK.len(), with in 0_u8..128) {
        let mut bytes = GUESTBOOK.as_bytes().to_vec();
        bytes[at] = with;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = Manifest::parse(&text);
        }
    }
}
