//! Whether a component can run here, with reasons that its author can act on. Asked before anything is compiled or run,
//! as far as the bytes tell.
use wasmtime::{Engine, component::types::Component as ComponentType};

use crate::runtime::StartError;

/// What a component must export.
const HANDLER: &str = "wasi:http/incoming-handler@0.2";

/// Interfaces that guests may import, each in all versions compatible with the one named.
const PROVIDED: &[&str] = &[
    "wasi:cli/environment@0.2",
    "wasi:cli/exit@0.2",
    "wasi:cli/stderr@0.2",
    "wasi:cli/stdin@0.2",
    "wasi:cli/stdout@0.2",
    "wasi:cli/terminal-input@0.2",
    "wasi:cli/terminal-output@0.2",
    "wasi:cli/terminal-stderr@0.2",
    "wasi:cli/terminal-stdin@0.2",
    "wasi:cli/terminal-stdout@0.2",
    "wasi:clocks/monotonic-clock@0.2",
    "wasi:clocks/wall-clock@0.2",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:filesystem/preopens@0.2",
    "wasi:filesystem/types@0.2",
    "wasi:http/outgoing-handler@0.2",
    "wasi:http/types@0.2",
    "wasi:io/error@0.2",
    "wasi:io/poll@0.2",
    "wasi:io/streams@0.2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:random/insecure-seed@0.2",
    "wasi:random/insecure@0.2",
    "wasi:random/random@0.2",
    "wasi:sockets/instance-network@0.2",
    "wasi:sockets/ip-name-lookup@0.2",
    "wasi:sockets/network@0.2",
    "wasi:sockets/tcp-create-socket@0.2",
    "wasi:sockets/tcp@0.2",
    "wasi:sockets/udp-create-socket@0.2",
    "wasi:sockets/udp@0.2",
];

/// Whether these bytes are a component at all.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(), StartError> {
    let not = |what: &str| Err(StartError::NotAComponent(what.to_owned()));
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => not(
            "it is a core module, not a component: build it for wasm32-wasip2, or wrap it with `wasm-tools component new`",
        ),
        [0, b'a', b's', b'm', ..] => not("it is a WASM binary of a version that this node does not know"),
        [0x7f, b'E', b'L', b'F', ..] => not("it is a native program, not a WASM component"),
        [] => not("it is empty, not a WASM component"),
        _ => not("it is not a WASM component: it does not begin with \\0asm"),
    }
}

/// Whether a component asks for nothing but what is provided, and can be asked.
pub(super) fn check_type(engine: &Engine, component: &ComponentType) -> Result<(), StartError> {
    let missing: Vec<String> = component
        .imports(engine)
        .map(|(name, _)| name)
        .filter(|name| !PROVIDED.iter().any(|provided| is_version_of(name, provided)))
        .map(str::to_owned)
        .collect();
    if !missing.is_empty() {
        return Err(StartError::Imports(missing));
    }
    if component.exports(engine).any(|(name, _)| is_version_of(name, HANDLER)) {
        return Ok(());
    }
    let is_command = component.exports(engine).any(|(name, _)| name.starts_with("wasi:cli/run@"));
    let hint = if is_command { "; it is a command-line program (wasi:cli/run)" } else { "" };
    Err(StartError::NoHandler { hint })
}

/// `name` is the interface `wanted`, or a patch or pre-release of its version.
fn is_version_of(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_named() {
        let why = |bytes: &[u8]| check_bytes(bytes).unwrap_err().to_string();
        assert!(why(b"\0asm\x01\0\0\0").contains("is a core module, not a component:"));
        assert!(why(b"\x7fELF").contains("native program"));
        assert!(why(b"").contains("empty"));
        assert!(why(b"<html>").contains("not a WASM component"));
        assert_eq!(check_bytes(b"\0asm\x0d\0\x01\0"), Ok(()));
    }

    #[test]
    fn patches_and_drafts_of_a_version_are_that_version() {
        assert!(is_version_of("wasi:http/types@0.2.12", "wasi:http/types@0.2"));
        assert!(is_version_of("wasi:keyvalue/store@0.2.0-draft2", "wasi:keyvalue/store@0.2.0-draft2"));
        assert!(!is_version_of("wasi:http/types@0.20.0", "wasi:http/types@0.2"));
        assert!(!is_version_of("wasi:http/types@0.3.0", "wasi:http/types@0.2"));
    }
}
