//! One verb per file.
pub(crate) mod demo;
pub(crate) mod login;
pub(crate) mod whoami;
pub(crate) mod deploy;
pub(crate) mod plan;
pub(crate) mod apps;
pub(crate) mod status;
pub(crate) mod logs;
pub(crate) mod scale;
pub(crate) mod releases;
pub(crate) mod rollback;
pub(crate) mod kv;
pub(crate) mod secrets;
pub(crate) mod rm;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod recover;
pub(crate) mod keys;
pub(crate) mod node;
pub(crate) mod mesh;
pub(crate) mod operator;
pub(crate) mod charter;
pub(crate) mod alias;
pub(crate) mod offer;
pub(crate) mod doctor;
pub(crate) mod sim;
pub(crate) mod completion;
pub(crate) mod compile;

use std::process::ExitCode;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    tree::{Cli, Verb},
};

/// Does what was asked. Verbs that ask a node share one small loop; a node and the simulator bring their own.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let at = Invocation::new(cli.globals);
    if at.simulated.is_some() && !matches!(cli.verb, Verb::Sim(sim::Sim::Replay(_))) {
        let what = "a number names a node of a simulated mesh, and only sim replay shows one";
        return Err(Failure::new(Exit::Usage, "node", what).next("name a node that runs: --node HOST:PORT"));
    }
    match cli.verb {
        Verb::Node(node) => node.run(&at),
        Verb::Mesh(mesh) => mesh.run(&at),
        Verb::Sim(sim) => sim.run(&at),
        Verb::Completion(completion) => Ok(completion.run()),
        Verb::CompileComponent => Ok(compile::run()),
        Verb::Whoami(whoami::Whoami {}) => whoami::Whoami::run(&at),
        Verb::Login(login) => login.run(&at),
        Verb::Demo(demo) => wait(demo.run(&at)),
        Verb::Deploy(deploy) => wait(deploy.run(&at)),
        Verb::Plan(plan) => wait(plan.run(&at)),
        Verb::Apps(apps) => wait(apps.run(&at)),
        Verb::Status(status) => wait(status.run(&at)),
        Verb::Logs(logs) => wait(logs.run(&at)),
        Verb::Scale(scale) => wait(scale.run(&at)),
        Verb::Releases(releases) => wait(releases.run(&at)),
        Verb::Rollback(rollback) => wait(rollback.run(&at)),
        Verb::Kv(kv) => wait(kv.run(&at)),
        Verb::Secrets(secrets) => wait(secrets.run(&at)),
        Verb::Rm(rm) => wait(rm.run(&at)),
        Verb::Export(export) => wait(export.run(&at)),
        Verb::Import(import) => wait(import.run(&at)),
        Verb::Recover(recover) => wait(recover.run(&at)),
        Verb::Keys(keys) => wait(keys.run(&at)),
        Verb::Offer(offer) => wait(offer.run(&at)),
        Verb::Doctor(doctor) => wait(doctor.run(&at)),
        Verb::Operator(operator) => wait(operator.run(&at)),
        Verb::Charter(charter) => wait(charter.run(&at)),
        Verb::Alias(alias) => wait(alias.run(&at)),
    }
}

/// What a verb comes to. `()` counts as done.
pub(crate) trait Ended {
    fn code(self) -> ExitCode;
}

impl Ended for () {
    fn code(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

impl Ended for ExitCode {
    fn code(self) -> ExitCode {
        self
    }
}

/// Runs on this thread.
pub(crate) fn wait<T: Ended>(verb: impl Future<Output = Result<T, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("this process gets no event loop from the system", &error))?;
    runtime.block_on(verb).map(Ended::code)
}
