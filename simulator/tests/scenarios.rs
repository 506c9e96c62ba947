//! Every scenario that ships can be read.
use bocage_simulator::Scenario;

#[test]
fn every_scenario_that_ships_is_one() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        assert!(!scenario.story.is_empty());
        names.push(scenario.name);
    }
    assert!(names.contains(&"hundred".to_owned()), "{names:?}");
}
