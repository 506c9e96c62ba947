//! Manifests: text that a tenant writes.
use bocage_protocol::manifest::Manifest;

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "manifest", about: "manifests of apps", run, seeds, bytes_max: 8 << 10, heap: None };

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Manifest::parse(text) {
        assert!(!error.to_string().is_empty(), "a manifest that is turned away is told why");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let whole = r#"app = "guestbook"

[component]
path = "guestbook.wasm"

[env]
GREETING = "hello"

[place]
home = ["FR", "DE"]
away = ["CN"]
voters = 3
max_price = "12 EUR/month"

[scale]
min = 0
max = 20
target_concurrency = 50

[read]
max_staleness = "60s"

[cut]
away = "stale"
stale_for_max = "24h"
home_cut = "FR"
lost_after = "10m"
hold_for = "7d"

[domains]
names = ["guestbook.example.org"]
"#;
    vec![("whole".into(), whole.as_bytes().to_vec()), ("typo".into(), b"app = \"x\"\n[scael]\nmin = 1e9\n".to_vec())]
}
