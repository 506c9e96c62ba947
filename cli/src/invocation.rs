//! What every verb is given: the flags that all share, and what follows from them.
use crate::{
    control::{Control, Signer},
    failure::Failure,
    say::Say,
    target::{Named, Target},
    tenant::Tenant,
    tree::Globals,
};

pub(crate) struct Invocation {
    pub(crate) globals: Globals,
    /// The node that is asked, if one was named.
    pub(crate) node: Option<Target>,
    /// The node of a simulated mesh, if one was named.
    pub(crate) simulated: Option<u32>,
    pub(crate) say: Say,
}

impl Invocation {
    pub(crate) fn new(globals: Globals) -> Self {
        let say = Say { format: globals.output, quiet: globals.quiet, verbose: globals.verbose };
        let (node, simulated) = match &globals.node {
            None => (None, None),
            Some(Named::Control(target)) => (Some(target.clone()), None),
            Some(Named::Simulated(number)) => (None, Some(*number)),
        };
        Self { globals, node, simulated, say }
    }

    /// The tenant who asks; must have a key.
    pub(crate) fn tenant(&self) -> Result<Tenant, Failure> {
        Tenant::load(self.globals.key.as_ref())
    }

    /// The tenant who asks; gets a key when there is none.
    pub(crate) fn tenant_at_first_use(&self) -> Result<Tenant, Failure> {
        Tenant::at_first_use(self.globals.key.as_ref(), self.say)
    }

    /// The node that is asked, in the tenant's name.
    pub(crate) fn control(&self, tenant: &Tenant) -> Result<Control, Failure> {
        let target = Target::find(self.node.as_ref())?;
        Ok(self.control_at(target, Some(tenant.signer())))
    }

    /// A node, in anybody's name.
    pub(crate) fn control_at(&self, target: Target, signer: Option<Signer>) -> Control {
        Control { target, signer, say: self.say }
    }
}
