//! The command tree: every verb, and the flags that all share.
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::{
    say::{Color, Format},
    target::Named,
    verb,
};

const EXAMPLES: &str = "\
Examples:
  bocage demo                              five hosters and an app, on this machine
  bocage deploy examples/guestbook         deploy an app from its manifest
  bocage status guestbook                  where it runs, and why there
  bocage logs guestbook -f                 what it prints
  bocage node join INVITE                  be a hoster: become a member of a mesh
  bocage node run                          and run the node

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 not allowed, 6 not known whether it happened,
7 done in part, 130 interrupted.";

/// A cloud that nobody owns: independent hosters run nodes, and apps outlive any one of them.
#[derive(Debug, Parser)]
#[command(name = "bocage", version, after_help = EXAMPLES, arg_required_else_help = true, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Flags of every command")]
pub(crate) struct Globals {
    /// The node to ask: host:port of its control API, its control.sock, or its folder [default: the newest demo]
    #[arg(long, global = true, env = "BOCAGE_NODE", value_name = "CONTROL")]
    pub(crate) node: Option<Named>,
    /// The tenant's key file [default: `$XDG_CONFIG_HOME/bocage/tenant.key`]
    // A verb may have a key of its own, such as `kv get APP KEY`: clap tells arguments apart by their ids.
    #[arg(id = "key_file", long = "key", value_name = "FILE", global = true, env = "BOCAGE_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// How results are written
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Say only results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "a process has one")]
pub(crate) enum Verb {
    /// Run five hosters and an app on this machine
    Demo(verb::demo::Demo),
    /// Make or load your tenant key
    Login(verb::login::Login),
    /// Show in whose name you ask, and whom
    Whoami(verb::whoami::Whoami),
    /// Deploy an app, or a new release of it
    Deploy(verb::deploy::Deploy),
    /// Show where a deploy would place an app, and why; changes nothing
    Plan(verb::plan::Plan),
    /// List your apps
    Apps(verb::apps::Apps),
    /// Show an app's replicas and instances, and why each is where it is
    Status(verb::status::Status),
    /// Show what an app prints
    Logs(verb::logs::Logs),
    /// Change how many instances of an app run
    Scale(verb::scale::Scale),
    /// List the releases of an app that it can go back to
    Releases(verb::releases::Releases),
    /// Go back to an earlier release
    Rollback(verb::rollback::Rollback),
    /// Read and write an app's keys
    #[command(subcommand)]
    Kv(verb::kv::Kv),
    /// Set and list an app's secrets
    #[command(subcommand)]
    Secrets(verb::secrets::Secrets),
    /// End an app
    Rm(verb::rm::Rm),
    /// Write an app and all its state into one signed file
    Export(verb::export::Export),
    /// Begin an app again from such a file, in any mesh
    Import(verb::import::Import),
    /// Go on with an app that has lost most of its voters for good
    Recover(verb::recover::Recover),
    /// Change, recover, revoke and back up keys
    #[command(subcommand)]
    Keys(verb::keys::Keys),
    /// Be a hoster: make, run and look at a node
    #[command(subcommand)]
    Node(verb::node::Node),
    /// Found a mesh, invite others into it
    #[command(subcommand)]
    Mesh(verb::mesh::Mesh),
    /// See who is a member of the mesh, admit and exclude
    #[command(subcommand)]
    Operator(verb::operator::Operator),
    /// See and change the mesh's charter
    #[command(subcommand)]
    Charter(verb::charter::Charter),
    /// Ask for a short name for your apps' hosts; see whose names are whose
    #[command(subcommand)]
    Alias(verb::alias::Alias),
    /// Show and change what a node offers to the mesh
    #[command(subcommand)]
    Offer(verb::offer::Offer),
    /// Show how a node reaches its peers, why not better, and what to do
    Doctor(verb::doctor::Doctor),
    /// Run the mesh in a simulated world
    #[command(subcommand)]
    Sim(verb::sim::Sim),
    /// Write completions for a shell
    Completion(verb::completion::Completion),
    /// Compile a component, for a daemon
    #[command(name = verb::compile::COMPILE, hide = true)]
    CompileComponent,
}
