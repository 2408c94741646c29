//! Pulls an image into a directory and says what it is made of: `fetch DIRECTORY IMAGE [PLATFORM]`.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use image::{Credentials, Platform, Quiet, Reference, Registry, Settings, Store, pull};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, name, platform) = match &arguments[..] {
        [directory, name] => (directory, name, Platform::host()),
        [directory, name, platform] => (directory, name, platform.parse()?),
        _ => return Err("usage: fetch DIRECTORY IMAGE [PLATFORM]".into()),
    };
    let name: Reference = name.parse()?;
    let store = Store::open(Path::new(directory))?;
    let credentials = Credentials::from_environment();
    let registry = Registry::new(Settings {
        credentials,
        ..Settings::default()
    })?;
    let image = pull(&store, &registry, &name, &platform, &Quiet)?;

    let mut out = std::io::stdout().lock();
    let was = if image.was_present {
        "was there"
    } else {
        "pulled"
    };
    writeln!(out, "{} {was}", image.record.name.familiar())?;
    writeln!(out, "digest    {}", image.record.target.digest)?;
    writeln!(out, "platform  {}", image.config.platform)?;
    writeln!(
        out,
        "runs      {:?} {:?}",
        image.config.entrypoint, image.config.cmd
    )?;
    for layer in &image.manifest.layers {
        writeln!(
            out,
            "layer     {} {} bytes",
            layer.digest.short(),
            layer.size
        )?;
    }
    Ok(())
}
