//! Writes the seeds into the corpus: `cargo run -p fuzz-targets --example seeds`, after a format grew.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for target in fuzz_targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
