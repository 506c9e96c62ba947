//! `bocage secrets set`: the value comes from stdin or a prompt without echo; all secrets are sealed anew, under a new
//! data key, to the nodes that hold the app now.
use std::io::{BufRead as _, IsTerminal as _, Read as _};

use bocage_node::{
    control::api::{Applied, Sealed},
    sealing,
};
use bocage_protocol::{
    cell::{Secrets, TenantAction},
    codec,
    id::{CellId, NodeId},
    identity::PublicKey,
};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::{
    control::Control,
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
    tenant::Tenant,
};

/// All secrets of an app have at most so many bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Which app
    app: String,
    /// What the app finds it under, in its environment
    name: String,
}

impl Set {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        if self.name.is_empty() || self.name.contains(['=', '\0']) {
            return Err(Failure::new(Exit::Usage, "name", format!("{:?} cannot be a secret's name", self.name))
                .next("take what an environment variable is called, such as API_TOKEN"));
        }
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let value = value(&self.name)?;
        let sealed: Sealed = control.get(&format!("/v1/cells/{cell}/secrets")).await?;
        let before = before(&sealed)?;
        let mut opened = tenant.keypairs().map(|keys| sealing::open_all(&before, &keys));
        let first = opened.next().expect("a tenant has a key");
        let mut values = opened.fold(first, Result::or).map_err(|error| {
            Failure::new(Exit::Unauthorised, "sealed", format!("the secrets that {} has: {error}", self.app))
        })?;
        values.retain(|(name, _)| *name != self.name);
        values.push((self.name.clone(), value));
        values.sort_unstable();
        let (applied, holders) = seal(&control, &tenant, cell, &values).await?;
        at.say.done(&applied, format!("{} is set, for {}.", self.name, say::counted(holders, "node")));
        Ok(())
    }
}

/// Gives an app these secrets and no others, under a new data key, sealed to those who hold it now: so many.
pub(crate) async fn seal(
    control: &Control,
    tenant: &Tenant,
    cell: CellId,
    values: &[(String, Vec<u8>)],
) -> Result<(Applied, usize), Failure> {
    let sealed: Sealed = control.get(&format!("/v1/cells/{cell}/secrets")).await?;
    let holders = holders(&sealed);
    if holders.is_empty() {
        let what = "this node knows the sealing key of none of the app's hosts yet";
        return Err(Failure::new(Exit::Failed, "no-holders", what).next("ask again in some seconds"));
    }
    let generation = before(&sealed)?.key_generation + 1;
    let secrets = sealing::seal_all(generation, &tenant.key.keys, &holders, values);
    let applied = control.submit(cell, &tenant.command(Some(cell), TenantAction::Secrets(secrets))).await?;
    Ok((applied, holders.len()))
}

fn before(sealed: &Sealed) -> Result<Secrets, Failure> {
    let unreadable = |why: String| Failure::new(Exit::Failed, "other-version", format!("the node's answer: {why}"));
    let bytes =
        data_encoding::BASE64.decode(sealed.secrets.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
    codec::decode("secrets", &bytes).map_err(|error| unreadable(error.to_string()))
}

/// Nodes with the keys that secrets are sealed to: `node:key`, both in the alphabet of ids.
fn holders(sealed: &Sealed) -> Vec<(NodeId, PublicKey)> {
    let holder = |text: &String| {
        let (node, key) = text.split_once(':')?;
        Some((node.parse().ok()?, PublicKey(key.parse::<NodeId>().ok()?.0)))
    };
    sealed.holders.iter().filter_map(holder).collect()
}

/// The value: a line typed unseen, or all of stdin without its last line end.
fn value(name: &str) -> Result<Vec<u8>, Failure> {
    let no = |error: std::io::Error| Failure::io("no value", &error);
    let stdin = std::io::stdin();
    let mut value = Vec::new();
    if stdin.is_terminal() {
        say::to_stderr(&format!("Value of {name} (not shown): "));
        let _unseen = Unseen::new();
        stdin.lock().take(SECRET_BYTES_MAX + 1).read_until(b'\n', &mut value).map_err(no)?;
        say::to_stderr("\n");
    } else {
        stdin.lock().take(SECRET_BYTES_MAX + 1).read_to_end(&mut value).map_err(no)?;
    }
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    if value.is_empty() {
        return Err(Failure::new(Exit::Usage, "empty", "the value is empty; nothing was set")
            .next(format!("give it on stdin: bocage secrets set APP {name} < FILE")));
    }
    if value.len() as u64 > SECRET_BYTES_MAX {
        let what = format!("an app's secrets have at most {SECRET_BYTES_MAX} bytes in all");
        return Err(Failure::new(Exit::Usage, "too-large", what));
    }
    Ok(value)
}

/// While it lives, the terminal does not show what is typed.
pub(crate) struct Unseen(Option<rustix::termios::Termios>);

impl Unseen {
    pub(crate) fn new() -> Self {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet);
        }
        Self(before)
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_without_a_known_key_are_left_out() {
        let node = NodeId([1; 32]);
        let key = NodeId([2; 32]);
        let sealed = Sealed { secrets: String::new(), holders: vec![format!("{node}:{key}"), node.to_string()] };
        assert_eq!(holders(&sealed), [(node, PublicKey([2; 32]))]);
    }
}
