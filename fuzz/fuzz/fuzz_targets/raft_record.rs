#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (fuzz_targets::target("raft_record").expect("it is in the list").run)(input));
