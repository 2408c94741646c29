//! Writes the seeds of the targets that are named into `DIRECTORY/TARGET`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = PathBuf::from(arguments.next().expect("DIRECTORY TARGET…"));
    for target in arguments {
        let target = target.to_string_lossy();
        let at = directory.join(&*target);
        std::fs::create_dir_all(&at)?;
        for (number, seed) in fuzz::seeds::of(&target).iter().enumerate() {
            std::fs::write(at.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
