//! Changes to a node's `bocage.toml` that leave its owner's words and comments where they are.
use std::{fs, path::Path};

use bocage_node::settings::{FILE, OfferSettings};
use bocage_protocol::id::MeshId;
use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use crate::failure::{Exit, Failure};

/// Adds addresses to `mesh.bootstrap`; says how many are new.
pub(crate) fn bootstrap(folder: &Path, addresses: &[String]) -> Result<usize, Failure> {
    let mut added = 0;
    change(folder, |document| {
        let list = document["mesh"]["bootstrap"].or_insert(Item::Value(Value::Array(Array::new())));
        let Some(list) = list.as_array_mut() else { return };
        for address in addresses {
            if !list.iter().any(|there| there.as_str() == Some(address)) {
                list.push(address.as_str());
                added += 1;
            }
        }
    })?;
    Ok(added)
}

/// Sets `mesh.id`, and adds addresses to `mesh.bootstrap`.
pub(crate) fn mesh(folder: &Path, id: MeshId, addresses: &[String]) -> Result<(), Failure> {
    change(folder, |document| document["mesh"]["id"] = value(id.to_string()))?;
    bootstrap(folder, addresses).map(drop)
}

/// Replaces `[offer]`.
pub(crate) fn offer(folder: &Path, offer: Option<&OfferSettings>) -> Result<(), Failure> {
    change(folder, |document| {
        let Some(offer) = offer else {
            document.remove("offer");
            return;
        };
        let table = document.entry("offer").or_insert(Item::Table(Table::new()));
        let number = |number: u64| value(i64::try_from(number).unwrap_or(i64::MAX));
        table["cpu_millis"] = number(offer.cpu_millis);
        table["memory_mib"] = number(offer.memory_mib);
        table["disk_gib"] = number(offer.disk_gib);
        table["currency"] = value(offer.currency.as_str());
        table["cpu_core_month"] = number(offer.cpu_core_month);
        table["memory_gib_month"] = number(offer.memory_gib_month);
        table["disk_gib_month"] = number(offer.disk_gib_month);
    })
}

fn change(folder: &Path, edit: impl FnOnce(&mut DocumentMut)) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let io = |error: std::io::Error| Failure::io(path.display(), &error);
    let text = fs::read_to_string(&path).map_err(io)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        Failure::new(Exit::Usage, "node-folder", format!("{}: {error}", path.display()))
    })?;
    edit(&mut document);
    // Beside it first: a crash leaves the old settings or the new ones.
    let beside = path.with_extension("toml.new");
    fs::write(&beside, document.to_string()).and_then(|()| fs::rename(&beside, &path)).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_leaves_the_owners_comments_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, "# mine\n[mesh]\nid = \"x\" # why\n").unwrap();
        let address = ["/ip4/127.0.0.1/tcp/1".to_owned()];
        assert_eq!(bootstrap(folder.path(), &address).unwrap(), 1);
        assert_eq!(bootstrap(folder.path(), &address).unwrap(), 0, "it is there already");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# mine\n[mesh]\nid = \"x\" # why\n"), "{text}");
        assert!(text.contains("bootstrap = [\"/ip4/127.0.0.1/tcp/1\"]"), "{text}");
    }
}
