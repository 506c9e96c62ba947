//! The same targets for libFuzzer, which is guided by coverage. Built and run by `bench/fuzz/guided`; which target is in
//! the environment, for libFuzzer reads the arguments.
#![no_main]

use std::sync::OnceLock;

use bocage_fuzz::{heap, mutate::mutate, target};
use bocage_protocol::random::{Seed, mix};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

fn target() -> &'static target::Target {
    static TARGET: OnceLock<&'static target::Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("BOCAGE_FUZZ_TARGET").expect("run it by bench/fuzz/guided TARGET");
        target::named(&name).expect("bocage-fuzz targets lists them")
    })
}

fuzz_target!(|bytes: &[u8]| target().feed(bytes));

// Half of the inputs are changed field by field, the others by libFuzzer's own ways.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&mix(u64::from(seed)).to_be_bytes());
    let mutant = mutate(&data[..size], &[], max_size, &mut Seed(bytes).rng());
    data[..mutant.len()].copy_from_slice(&mutant);
    mutant.len()
});
