//! `bocage node join`: one more address that a node dials first.
use std::process::ExitCode;

use bocage_node::{
    control,
    settings::{Folder as NodeFolder, wall},
    transport::node_of_address,
};
use bocage_protocol::id::MeshId;
use clap::Args;
use serde_json::json;

use super::{
    Folder, edit,
    init::{not_an_address, refused},
    run::Run,
};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
};

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// A node of the mesh: a multiaddress that ends in /p2p/PEER
    #[arg(required = true)]
    addr: Vec<String>,
    /// The mesh's id, to be sure
    #[arg(long, value_name = "ID")]
    mesh: MeshId,
    #[command(flatten)]
    folder: Folder,
    /// Then run the node
    #[arg(long)]
    run: bool,
}

impl Join {
    pub(super) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        if let Some(wrong) = self.addr.iter().find(|text| node_of_address(text).is_none()) {
            return Err(not_an_address(wrong));
        }
        let (path, flag) = (self.folder.path()?, self.folder.flag());
        let node = NodeFolder::open(&path, wall()).map_err(|error| refused(&error, &flag))?;
        if node.settings.mesh.id != self.mesh {
            let what = format!("the node in {} is certified for mesh {}", path.display(), node.settings.mesh.id);
            return Err(Failure::new(Exit::Conflict, "other-mesh", what)
                .next(format!("make another one: bocage node init --dir OTHER --mesh {} …", self.mesh)));
        }
        let added = edit::bootstrap(&path, &self.addr)?;
        let known = say::counted(added, "new address");
        if self.run {
            at.say.step(format!("{known} to dial first."));
            return Run::of(self.folder).run(at);
        }
        let runs = control::fitting(&control::socket_of(&path))
            .and_then(|(socket, _folder)| std::os::unix::net::UnixStream::connect(socket))
            .is_ok();
        let next = if runs { "It runs now: restart it to dial them." } else { "Run it:" };
        at.say.done(
            &json!({ "dir": path, "added": added, "running": runs }),
            format!("{known} to dial first. {next} bocage node run{flag}"),
        );
        Ok(ExitCode::SUCCESS)
    }
}
