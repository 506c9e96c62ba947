//! `bocage sim validate` with real processes. Needs root, /dev/net/tun and iproute2; without them it fails and says so.
mod common;

use std::fs;

use common::{LAB, Person, root};

#[test]
fn real_processes_and_the_simulator_answer_one_question_and_all_answers_are_kept() {
    let person = Person::new();
    let scenario = root().join("simulator/scenarios/validate-offer.toml");
    let scenario = scenario.to_str().expect("a path in UTF-8");
    let words = ["sim", "validate", scenario, "--runs", "3", "--seeds", "1", "--out", "kept", "--output", "json"];
    let said = person.types(&words);
    // Three answers are too few to be sure, whatever they are.
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let held: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(held["holds"], false);
    // Whatever else goes on at this machine, a way across Europe takes longer than 10 ms, and nothing takes for ever.
    for (world, count) in [("real", 3), ("simulated", 5)] {
        let answers = held[world]["all_ms"].as_array().expect("all answers");
        assert_eq!(answers.len(), count);
        assert!(answers.iter().all(|ms| ms.as_f64().is_some_and(|ms| (10.0..10_000.0).contains(&ms))), "{held}");
    }
    let csv = fs::read_to_string(person.path("kept/answers.csv")).expect("answers are kept");
    assert_eq!((csv.lines().next(), csv.lines().count()), (Some("world,run,question,ms"), 9));
    assert!(fs::metadata(person.path("kept/validation.json")).is_ok_and(|file| file.len() > 100));
    person.types(&words).failed(2, &["error[results]", "already holds something"]);
}

#[test]
fn what_real_processes_cannot_do_is_drawn_where_it_stands() {
    let person = Person::new();
    person.has("lab.toml", LAB);
    person.types(&["sim", "validate", "lab.toml"]).failed(2, &["lab.toml:2:1", "nothing is asked", "[validate]"]);
    person.has("lab.toml", format!("{LAB}[validate]\nquestion = \"failover\"\n"));
    person.types(&["sim", "validate", "lab.toml"]).failed(2, &["lab.toml", "one client that only writes"]);
}
