//! Blame: nobody holds a proof against an honest node. Such a proof would be two statements of one version, both with its
//! signature; what liars make of its words, repeat of them, or say of it must never amount to that.

/// The checker's memory.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    proofs: u64,
}

impl Blame {
    /// An honest node holds a proof against a node.
    pub(crate) fn proven(&mut self, against: Option<u32>, honest: bool) -> Result<(), String> {
        self.proofs += 1;
        match against {
            Some(node) if honest => Err(format!("it holds a proof against node {node}, which is honest")),
            None => Err("it holds a proof against somebody who never was".into()),
            Some(_) => Ok(()),
        }
    }

    /// Proofs that were looked at.
    pub(crate) const fn looked_at(&self) -> u64 {
        self.proofs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_against_an_honest_node_is_found() {
        let mut checker = Blame::default();
        checker.proven(Some(3), false).unwrap();
        assert!(checker.proven(Some(4), true).unwrap_err().contains("node 4"));
        assert!(checker.proven(None, true).is_err());
        assert_eq!(checker.looked_at(), 3);
    }
}
