//! `bocage sim`, as a researcher types it: results, sweeps that are killed, comparisons, pages, hunts.
mod common;

use std::{fs, time::Duration};

use common::{LAB, Person};

/// Of [`LAB`].
const SWEEP: &str = "[sweep]\nseeds = 3\n[sweep.grid]\nnetwork.inside_ms = [2, 30]\n";

fn swept() -> String {
    format!("{LAB}{SWEEP}")
}

#[test]
fn results_of_a_run_are_kept_once_and_change_nothing() {
    let person = Person::new();
    person.has("lab.toml", swept());
    let plain = person.asks(&["sim", "run", "lab.toml", "--seed", "7"]);
    let kept = person.asks(&["sim", "run", "lab.toml", "--seed", "7", "--out", "results"]);
    assert_eq!(plain["trace_hash"], kept["trace_hash"]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(person.path("results/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["trace_hash"], plain["trace_hash"]);
    for file in ["measures.parquet", "measures.csv", "scenario.toml", "report.json"] {
        assert!(fs::metadata(person.path("results").join(file)).unwrap().len() > 100, "{file}");
    }
    let again = person.types(&["sim", "run", "lab.toml", "--out", "results"]);
    again.failed(2, &["error[results]", "already holds something", "--out"]);
    let page = person.asks(&["sim", "report", "results"]);
    assert_eq!(page["report"], "results/report.html");
    assert!(fs::read_to_string(person.path("results/report.html")).unwrap().contains("</svg>"));
}

#[test]
fn a_sweep_that_is_killed_goes_on_and_its_variants_are_compared() {
    let person = Person::new();
    person.has("lab.toml", swept());
    let runs = |variant: &str| -> Vec<String> {
        let folder = person.path("swept/runs").join(variant);
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".parquet"))
            .collect()
    };
    let both = || runs("network.inside_ms=2").len() + runs("network.inside_ms=30").len();
    let mut killed = person.command(&["sim", "sweep", "lab.toml", "--out", "swept", "--threads", "1"]).spawn().unwrap();
    for _ in 0..1_200 {
        if both() >= 2 || killed.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = both();
    assert!(before >= 2, "it had begun");
    let swept = person.asks(&["sim", "sweep", "lab.toml", "--out", "swept"]);
    assert_eq!((&swept["runs"], &swept["found"]), (&6.into(), &before.into()));
    assert_eq!((&swept["violated"], both()), (&0.into(), 6));
    let compared =
        person.asks(&["sim", "compare", "swept/runs/network.inside_ms=2", "swept/runs/network.inside_ms=30"]);
    let writes = &compared["measures"]["write_p50_ms"];
    assert!(writes["difference"].as_f64().unwrap() > 0.0 && writes["interval"].is_array(), "{writes}");
    person.types(&["sim", "compare", "swept", "swept"]).failed(2, &["2 variants"]);
    person.types(&["sim", "compare", "nowhere", "swept"]).failed(2, &["nowhere"]);
}

#[test]
fn a_mistake_is_drawn_where_it_stands_also_in_an_included_file() {
    let person = Person::new();
    person.has("base.toml", "[network]\ndelay_msec = 3\n");
    person.has("lab.toml", format!("include = \"base.toml\"\n{LAB}{SWEEP}"));
    person
        .types(&["sim", "run", "lab.toml"])
        .failed(2, &["base.toml:2:1", "unknown key \"delay_msec\"", "did you mean \"delay_ms\"", "bocage sim schema"]);
    person.types(&["sim", "run", "nowhere.toml"]).failed(2, &["nowhere.toml"]);
    let schema = person.types(&["sim", "schema"]);
    assert!(schema.code == 0 && schema.out.contains("\"absent_founders\""));
}

#[test]
fn a_hunt_answers_in_numbers_and_its_capsule_plays_back() {
    let person = Person::new();
    let said =
        person.types(&["sim", "hunt", "--seeds", "2", "--bug", "corrupt-digest", "--capsules", "found", "-o", "json"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let hunted: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(hunted["seeds_per_s"].as_f64().unwrap() > 0.0 && hunted["busy_seeds_per_s"].as_f64().unwrap() > 0.0);
    assert!(hunted["violations"].as_u64().unwrap() > 0);
    let capsule = hunted["failed"][0]["capsule_file"].as_str().unwrap();
    let replayed = person.types(&["sim", "replay", capsule]);
    assert_eq!(replayed.code, 1);
    for words in ["the same as in the capsule", "VIOLATED", "the frames that led there", "peers:"] {
        assert!(replayed.out.contains(words), "no {words:?} in:\n{}", replayed.out);
    }
    let before = person.types(&["sim", "replay", capsule, "--until", "5", "--node", "0"]);
    assert!(before.code == 0 && before.out.contains("before what the capsule is about"), "{}", before.out);
    person.types(&["sim", "replay", capsule, "--node", "99"]).failed(2, &["no node 99"]);
    let measured = person.asks(&["sim", "bench", "--pending", "1000", "--events", "10000", "--runs", "1"]);
    assert!(measured["events_per_s"].as_f64().unwrap() > 0.0);
}
