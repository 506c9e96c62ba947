//! Cities, lines and what befalls them: as people write them, and what they do to a mesh.
mod common;

use std::{fs, path::Path};

use bocage_simulator::{Experiment, Report, Scenario, run, scenario::What};
use common::twelve;

/// Six operators in three cities with three kinds of line.
const CITIES: &str = "name = \"cities\"\nduration_s = 60\nsettle_s = 60
[[population]]
jurisdiction = \"FR\"
operators = 2
city = \"Lyon\"
access = \"dsl\"
[[population]]
jurisdiction = \"FR\"
operators = 2
sites = 2
nodes = 2
cities = [\"Paris\", \"Strasbourg\"]
access = \"datacentre\"
[[population]]
jurisdiction = \"US\"
operators = 2
city = \"New York\"
access = \"business-fibre\"
";

fn complaint(text: &str) -> String {
    Scenario::parse(text).unwrap_err().to_string()
}

fn clean(report: &Report) {
    assert_eq!(report.violations, [], "{}", report.to_text());
}

#[test]
fn a_city_or_a_class_that_there_is_not_is_named_with_its_place_and_its_neighbour() {
    let text = complaint(&CITIES.replace("\"Lyon\"", "\"Lyons\""));
    assert!(text.contains("line 7, column 8") && text.contains("did you mean \"Lyon\""), "{text}");
    let text = complaint(&CITIES.replace("\"Strasbourg\"", "\"Strassbourg\""));
    assert!(text.contains("line 14, column 20") && text.contains("\"Strasbourg\""), "{text}");
    let text = complaint(&CITIES.replace("\"dsl\"", "\"dsll\""));
    assert!(text.contains("line 8") && text.contains("did you mean \"dsl\""), "{text}");
    let text = complaint(&CITIES.replace("cities = ", "city = \"Paris\"\ncities = "));
    assert!(text.contains("line 14") && text.contains("not both"), "{text}");
    let text = complaint(&CITIES.replace("sites = 2\n", ""));
    assert!(text.contains("line 13") && text.contains("2 cities for 1 sites"), "{text}");
    let text = complaint(&format!("{CITIES}[network.figures]\nfibre_per_mille = 900\n"));
    assert!(text.contains("line 21") && text.contains("faster than light"), "{text}");
    let text = complaint(&format!("{CITIES}[[network.route]]\ncities = [\"Lyon\", \"Nowhere\"]\ndelay_us = 1\n"));
    assert!(text.contains("line 21") && text.contains("Nowhere"), "{text}");
    let line = "delay_us = 1\njitter_us = 1\nup_mbit = 0\ndown_mbit = 1\nup_buffer_kib = 64\ndown_buffer_kib = 64\n";
    let text = complaint(&format!("{CITIES}[[network.access]]\nclass = \"dsl\"\n{line}"));
    assert!(text.contains("line 21") && text.contains("up_mbit = 0"), "{text}");
    let text = complaint(&format!("{CITIES}[network.burst]\nevery_s = 1\nlasts_ms = 0\nloss_per_mille = 1\n"));
    assert!(text.contains("line 23") && text.contains("no burst"), "{text}");
}

#[test]
fn a_matrix_says_the_delays_and_what_it_lacks_is_shown_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let load = || Experiment::load(&folder.path().join("lab.toml"));
    let complaint = || load().unwrap_err().to_string();
    write("lab.toml", &format!("{CITIES}[network]\nmatrix = \"ms.csv\"\n"));
    let text = complaint();
    assert!(text.contains("lab.toml: line 22, column 10") && text.contains("ms.csv"), "{text}");

    write(
        "ms.csv",
        "from,Lyon,Paris,Strasbourg,New York\nLyon,0,8,,80\nParis,8.5,0,9,75.5\nStrasbourg,,9,0,82\nNew York,80,,82,0\n",
    );
    let text = complaint();
    assert!(text.contains("ms.csv: line 2, column 10"), "{text}");
    assert!(text.contains("Lyon and Strasbourg") && text.contains("[[network.route]]"), "{text}");

    let route = "[[network.route]]\ncities = [\"Strasbourg\", \"Lyon\"]\ndelay_us = 4_500\n";
    write("lab.toml", &format!("{CITIES}[network]\nmatrix = \"ms.csv\"\n{route}"));
    let lab = load().unwrap();
    let routes: Vec<(String, u64)> = lab
        .scenario()
        .network
        .route
        .iter()
        .map(|route| {
            let route = route.get_ref();
            (route.cities.join("-"), route.delay_us)
        })
        .collect();
    assert_eq!(routes.len(), 6);
    assert!(routes.contains(&("Lyon-Paris".into(), 4_125)) && routes.contains(&("New York-Paris".into(), 37_750)));
    assert!(lab.hashes().keys().any(|path| path.ends_with("ms.csv")));
    // What was resolved needs no matrix any more.
    let resolved = lab.scenario().to_toml();
    assert_eq!(Scenario::parse(&resolved).unwrap().to_toml(), resolved);

    write("ms.csv", "from,Lyon,Paris,Strasburg,New York\n");
    let text = complaint();
    assert!(
        text.contains("lab.toml: line 14") && text.contains("has no city Strasbourg") && text.contains("Strasburg"),
        "{text}"
    );
    write("ms.csv", "from,Lyon\nLyon,near\n");
    let text = complaint();
    assert!(text.contains("ms.csv: line 2, column 6") && text.contains("near"), "{text}");
    let text = Scenario::parse(&format!("{CITIES}[network]\nmatrix = \"ms.csv\"\n")).unwrap_err().to_string();
    assert!(text.contains("line 22") && text.contains("only a file"), "{text}");
    assert!(!Path::new("ms.csv").exists());
}

#[test]
fn a_fault_with_a_number_that_is_not_its_own_is_shown() {
    let fault = |rest: &str| complaint(&format!("{CITIES}[[fault]]\nat_s = 1\n{rest}\n"));
    let text = fault("what = \"crash\"\nmbit = 3");
    assert!(text.contains("line 21") && text.contains("mbit belongs to throttle"), "{text}");
    assert!(fault("what = \"throttle\"").contains("mbit is missing"));
    assert!(fault("what = \"delay\"\ndelay_ms = 5").contains("needs who, from, or both"));
    assert!(fault("what = \"cut\"\nwho = { node = 1 }\nflaps_ms = [1, 500]").contains("at least 10"));
    assert!(fault("what = \"cut\"\nwho = { node = 1 }\npart_per_mille = 1_001").contains("at most 1000"));
    assert!(fault("what = \"blackout\"\nbattery_s = [1, 2]\nfor_s = 20\nback_s = 60").contains("before duration_s"));
    assert!(fault("what = \"fire\"\nwho = { node = 1 }").contains("needs for_s"));
    assert!(fault("what = \"crowd\"\ntimes = 3\nwho = { node = 1 }").contains("befalls all clients"));
    let text = fault("what = \"stall\"\nwho = { city = \"Lyons\" }");
    assert!(text.contains("line 21") && text.contains("did you mean \"Lyon\""), "{text}");
    assert!(fault("what = \"stall\"\nwho = { country = \"fr\" }").contains("two capital letters"));
    assert!(fault("what = \"stall\"\nwho = { access = \"fast\" }").contains("business-fibre"));
    let text = complaint(&format!("{CITIES}[churn]\nmodel = \"planetlab\"\n"));
    assert!(text.contains("line 22") && text.contains("planetlab-2005"), "{text}");
}

#[test]
fn the_schema_knows_cities_lines_and_faults() {
    let schema = Scenario::schema();
    for word in
        ["city", "business-fibre", "matrix", "route", "figures", "burst", "blackout", "flaps_ms", "planetlab-2005"]
    {
        assert!(schema.contains(&format!("\"{word}\"")), "{word}");
    }
}

/// Apps, clients, and everything that a line and its way may do.
fn busy(more: &str) -> Scenario {
    let text = format!(
        "{CITIES}[[app]]\nname = \"guestbook\"\ncount = 3\n[workload]\nclients = 2\nthink_ms = 500
[network]\nduplicates_per_mille = 20\nhandshake_round_trips = 3
[network.burst]\nevery_s = 5\nlasts_ms = 300\nloss_per_mille = 400\n{more}"
    );
    Scenario::parse(&text).unwrap()
}

#[test]
fn a_mesh_works_over_lines_that_lose_in_bursts_and_say_things_twice_and_does_so_the_same_each_time() {
    let report = run(&busy(""), 3);
    clean(&report);
    assert!(report.counts["frames_twice"] > 100, "{}", report.to_text());
    assert!(report.counts["writes_acknowledged"] > 100);
    assert_eq!(run(&busy(""), 3).trace_hash, report.trace_hash);
    assert_ne!(run(&busy(""), 4).trace_hash, report.trace_hash);
}

#[test]
fn writes_of_a_mesh_across_an_ocean_take_longer_than_within_a_town() {
    let of = |city: &str| {
        let text =
            CITIES.replace("Lyon", city).replace("Paris", city).replace("Strasbourg", city).replace("New York", city);
        let text = text.replace("operators = 2\ncity", "operators = 1\ncity");
        format!("{text}[[app]]\nname = \"guestbook\"\n[workload]\nthink_ms = 300\n")
    };
    let near = run(&Scenario::parse(&of("Lyon")).unwrap(), 1);
    let far = of("Lyon").replacen("Lyon", "Tokyo", 1).replacen("[\"Lyon\"", "[\"Sydney\"", 1);
    let far = run(&Scenario::parse(&far).unwrap(), 1);
    clean(&near);
    clean(&far);
    let p50 = |report: &Report| report.measures["write_p50_ms"];
    assert!(p50(&far) > 2.0 * p50(&near), "{} and {}", p50(&far), p50(&near));
}

#[test]
fn a_full_send_queue_drops_frames_and_a_throttle_that_ends_drops_no_more() {
    let fault = "[[fault]]\nat_s = 5\nfor_s = 20\nwhat = \"throttle\"\nwho = { access = \"dsl\" }\nmbit = 1\n";
    let report = run(&busy(fault), 5);
    clean(&report);
    assert_eq!(report.faults[0].touched, 2);
    assert_ne!(report.trace_hash, run(&busy(""), 5).trace_hash);
}

#[test]
fn in_a_blackout_batteries_run_out_and_all_come_back_site_by_site() {
    let fault = "[[fault]]\nat_s = 3\nfor_s = 15\nback_s = 10\nwhat = \"blackout\"\nbattery_s = [1, 30]\nwho = { jurisdiction = \"FR\" }\n";
    let report = run(&twelve(fault), 2);
    clean(&report);
    let touched = report.faults[0].touched;
    assert!((1..8).contains(&touched), "some batteries last longer than the blackout: {touched}");
    let short = run(&twelve(&fault.replace("[1, 30]", "[1, 2]")), 2);
    clean(&short);
    assert_eq!(short.faults[0].touched, 8);
}

#[test]
fn a_fire_takes_a_site_for_ever_and_its_campus_for_a_while() {
    let text = "name = \"fire\"\nduration_s = 60\nsettle_s = 60
[[population]]\njurisdiction = \"FR\"\nsites = 4\nnodes = 8\ncities = [\"Strasbourg\", \"Strasbourg\", \"Strasbourg\", \"Roubaix\"]
[[population]]\njurisdiction = \"FR\"\noperators = 5\ncity = \"Paris\"
[[app]]\nname = \"guestbook\"\ncount = 4
[[fault]]\nat_s = 10\nfor_s = 15\nback_s = 15\nwhat = \"fire\"\nwho = { site = \"FR-1/2\" }
";
    let report = run(&Scenario::parse(text).unwrap(), 1);
    clean(&report);
    assert_eq!((report.faults[0].what, report.faults[0].touched), (What::Fire, 2));
    let nobody = text.replace("FR-1/2", "FR-1/7");
    assert!(run(&Scenario::parse(&nobody).unwrap(), 1).violations.iter().any(|found| found.what.contains("Fire")));
}

#[test]
fn a_crowd_writes_many_times_as_much_and_goes_away_again() {
    let text = |fault: &str| format!("[[app]]\nname = \"shop\"\n{fault}");
    let fault = "[[fault]]\nat_s = 5\nfor_s = 20\nwhat = \"crowd\"\ntimes = 10\n";
    let of = |fault: &str| {
        let report = run(&twelve(&text(fault)), 6);
        clean(&report);
        report.counts["writes_acknowledged"]
    };
    let (quiet, crowded) = (of(""), of(fault));
    assert!(crowded > 2 * quiet, "{quiet} and {crowded}");
}

#[test]
fn faults_that_wear_down_are_survived_and_touch_what_they_name() {
    for (what, rest, touched) in [
        ("slow", "slow_us = 3_000\nwho = { node = 2 }", 1),
        ("delay", "delay_ms = 200\nwho = { jurisdiction = \"DE\" }", 4),
        ("disk-full", "who = { node = 3 }", 1),
        ("rot", "who = { node = 3 }", 1),
    ] {
        let report = run(&twelve(&format!("[[fault]]\nat_s = 5\nfor_s = 20\nwhat = \"{what}\"\n{rest}\n")), 4);
        clean(&report);
        assert_eq!(report.faults[0].touched, touched, "{what}");
    }
}

#[test]
fn a_border_that_flaps_for_some_pairs_breaks_links_again_and_again() {
    let cut = |more: &str| {
        let fault =
            format!("[[fault]]\nat_s = 5\nfor_s = 30\nwhat = \"cut\"\nwho = {{ jurisdiction = \"DE\" }}\n{more}");
        let report = run(&twelve(&fault), 7);
        clean(&report);
        report.faults[0].touched
    };
    let (once, some) = (cut(""), cut("part_per_mille = 300\n"));
    assert!(some > 0 && some < once, "{some} of {once}");
    assert!(cut("flaps_ms = [4_000, 4_000]\n") > 0);
}

#[test]
fn nodes_that_come_and_go_as_those_of_a_watched_system_did() {
    let churn = |more: &str| twelve(&format!("[churn]\nmodel = \"overnet-2003\"\nfaster = 600\n{more}"));
    let report = run(&churn(""), 2);
    clean(&report);
    let alone = report.faults[0].touched;
    assert!(alone > 3, "{}", report.to_text());
    clean(&run(&churn("family = \"lognormal\"\nwhole_site_per_mille = 500\n"), 2));
}
