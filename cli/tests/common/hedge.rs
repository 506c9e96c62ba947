//! A demo that ends with the test, however that ends.
use std::{path::PathBuf, process::Command, thread};

use serde_json::Value;

use super::Person;

pub(crate) struct Demo {
    pub(crate) person: Person,
    pub(crate) dir: PathBuf,
    pub(crate) said: Value,
}

impl Demo {
    pub(crate) fn start_with(dir: &str, more: &[&str]) -> Self {
        Self::of(Person::new(), dir, more)
    }

    pub(crate) fn of(person: Person, dir: &str, more: &[&str]) -> Self {
        let dir = person.path(dir);
        let said = person.asks(&[&["demo", "--detach", "--dir", dir.to_str().unwrap()], more].concat());
        Self { person, dir, said }
    }

    pub(crate) fn start(dir: &str) -> Self {
        Self::start_with(dir, &[])
    }

    pub(crate) fn nodes(&self) -> &Vec<Value> {
        self.said["nodes"].as_array().unwrap()
    }

    pub(crate) fn node(&self, node_id: &str) -> &Value {
        self.nodes().iter().find(|node| node["node_id"] == node_id).expect("it is a node of the demo")
    }

    /// The app's URL through the edge of a node.
    pub(crate) fn url(&self, node: &Value, path: &str) -> String {
        let port = node["edge"].as_str().unwrap().rsplit_once(':').unwrap().1;
        format!("http://{}:{port}{path}", self.said["app"]["host"].as_str().unwrap())
    }
}

/// Ends the process of a node as a power cut does.
pub(crate) fn kill(node: &Value) {
    let pid = node["pid"].as_u64().unwrap();
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

impl Drop for Demo {
    fn drop(&mut self) {
        if thread::panicking() {
            for node in self.nodes() {
                let log = PathBuf::from(node["dir"].as_str().unwrap_or_default()).join("log");
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<_> = text.lines().rev().take(15).collect();
                eprintln!("--- {}\n{}", log.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
        self.person.types(&["demo", "stop", "--dir", self.dir.to_str().unwrap()]);
    }
}
