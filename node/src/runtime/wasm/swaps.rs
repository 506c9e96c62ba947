//! Whether a component can compare and swap keys: which functions of `wasi:keyvalue/atomics` it imports. Asked by who deploys,
//! before anything is uploaded, and of bytes that nothing was compiled of.
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    InstanceTypeDeclaration, Parser, Payload,
};

/// The interface that has both `increment`, which converging stores know, and `swap`, which they do not.
const ATOMICS: &str = "wasi:keyvalue/atomics@";
const SWAP: &str = "swap";

/// Whether these bytes are a component that imports compare-and-swap. Bytes that are none import nothing.
#[must_use]
pub fn swaps(bytes: &[u8]) -> bool {
    looked_at(bytes).unwrap_or(false)
}

fn looked_at(bytes: &[u8]) -> Result<bool, wasmparser::BinaryReaderError> {
    // The outermost component's types, by index: of an instance the names that it exports.
    let mut types: Vec<Vec<String>> = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            Payload::ComponentTypeSection(section) => {
                for one in section {
                    types.push(match one? {
                        ComponentType::Instance(declared) => declared.iter().filter_map(exported).collect(),
                        _ => Vec::new(),
                    });
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    let is_type = matches!(
                        alias?,
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
                            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. }
                    );
                    types.extend(is_type.then(Vec::new));
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    match import.ty {
                        ComponentTypeRef::Type(_) => types.push(Vec::new()),
                        ComponentTypeRef::Instance(index) if import.name.name.starts_with(ATOMICS) => {
                            let exports = types.get(index as usize);
                            if exports.is_some_and(|exports| exports.iter().any(|name| name == SWAP)) {
                                return Ok(true);
                            }
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    types.extend((export?.kind == ComponentExternalKind::Type).then(Vec::new));
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

fn exported(declared: &InstanceTypeDeclaration<'_>) -> Option<String> {
    match declared {
        InstanceTypeDeclaration::Export { name, .. } => Some(name.name.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_swaps_is_told_from_who_only_counts() {
        assert!(swaps(include_bytes!("../../../../examples/guestbook/guestbook.wasm")));
        assert!(!swaps(include_bytes!("../../../../examples/visits/visits.wasm")));
        assert!(!swaps(b"\0asm") && !swaps(b""));
    }
}
