//! Boots the VM and keeps its time limits.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cmd;
use crate::vm::console::{Judge, Verdict};
use crate::vm::image::Image;
use crate::vm::kernel::Kernel;

/// A guest that works at all says something within this time after a KVM boot.
const PROBE: Duration = Duration::from_secs(3);
const MEMORY_MIB: &str = "2560";

/// One VM.
#[derive(Debug)]
pub(crate) struct Run {
    /// Before each of its lines.
    pub(crate) label: String,
    /// The kernel.
    pub(crate) image: PathBuf,
    /// With the guest's init.
    pub(crate) initramfs: PathBuf,
    /// All with `snapshot=on`: what is written to them is gone afterwards.
    pub(crate) disks: Vec<Image>,
    /// Say nothing while it runs.
    pub(crate) quiet: bool,
    /// From [`accelerator`].
    pub(crate) accel: &'static str,
    /// For the console's log.
    pub(crate) directory: PathBuf,
    /// For the whole run.
    pub(crate) limit: Duration,
    /// Between two lines of results.
    pub(crate) silence: Duration,
}

/// `kvm` when a kernel really starts with it, else `tcg`.
///
/// A `/dev/kvm` proves nothing: nested virtualisation is often there and refuses to work.
///
/// # Errors
///
/// QEMU is not installed.
pub(crate) fn accelerator(kernel: &Kernel) -> Result<&'static str> {
    if !Path::new("/dev/kvm").exists() {
        return Ok("tcg");
    }
    let log = std::env::temp_dir().join(format!("xtask-kvm-{}.log", std::process::id()));
    let mut command = base("kvm", &kernel.image)?;
    command.args(["-m", "512", "-append", "console=ttyS0 panic=-1"]);
    command
        .arg("-serial")
        .arg(format!("file:{}", log.display()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().context("start QEMU")?;
    let deadline = Instant::now() + PROBE;
    let mut works = false;
    while !works && Instant::now() < deadline {
        let ended = child.try_wait().context("wait for QEMU")?.is_some();
        // Without a root file system the kernel panics; that is far enough.
        works = fs::read_to_string(&log).is_ok_and(|text| text.contains("Kernel panic"));
        if ended {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    end(&mut child)?;
    // It is only there if QEMU came far enough to make it.
    if log.exists() {
        fs::remove_file(&log).with_context(|| format!("remove {log:?}"))?;
    }
    Ok(if works { "kvm" } else { "tcg" })
}

/// Runs the VM to its end and judges it.
///
/// # Errors
///
/// QEMU cannot be started, or its output not be read.
pub(crate) fn boot(run: &Run) -> Result<Verdict> {
    let console = run.directory.join("console.log");
    let said = run.directory.join("qemu.log");
    let mut command = base(run.accel, &run.image)?;
    command.args(["-m", MEMORY_MIB, "-smp", "2", "-append"]);
    // A stall is only one when it lasts: the host's two processors may be busy elsewhere.
    command.arg(
        "console=ttyS0 mitigations=off loglevel=4 panic=-1 rcupdate.rcu_cpu_stall_timeout=120 \
         watchdog_thresh=60",
    );
    command.arg("-initrd").arg(&run.initramfs);
    command
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    // Not `stdio`: with nobody at standard input it counts as closed, and the guest's writes block.
    command.args(["-chardev", "file,id=results,path=/dev/stdout"]);
    command.args(["-device", "virtio-serial-pci"]);
    command.args(["-device", "virtserialport,chardev=results,name=ctr.results"]);
    for (number, image) in run.disks.iter().enumerate() {
        let file = image.path.display();
        command.arg("-drive");
        command.arg(format!(
            "if=none,id=d{number},format=raw,snapshot=on,file={file}"
        ));
        command.arg("-device");
        command.arg(format!(
            "virtio-blk-pci,drive=d{number},serial={}",
            image.disk.serial
        ));
    }
    let log = File::create(&said).with_context(|| format!("create {said:?}"))?;
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start QEMU")?;
    let console_log = console.display();
    say(
        run,
        &format!("booting ({}), console in {console_log}", run.accel),
    );
    let mut judge = Judge::default();
    let why = follow(run, &mut child, &mut judge);
    end(&mut child)?;
    let text = fs::read(&console).with_context(|| format!("read {console:?}"))?;
    judge.console(&String::from_utf8_lossy(&text));
    let said = fs::read_to_string(&said).unwrap_or_default();
    Ok(judge.verdict(why?, said.trim()))
}

/// Passes on the lines of results; what cut them short, if something did.
fn follow(run: &Run, child: &mut Child, judge: &mut Judge) -> Result<Option<String>> {
    let output = child.stdout.take().context("QEMU's output is a pipe")?;
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            match output.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_)
                    if sender
                        .send(String::from_utf8_lossy(&line).into_owned())
                        .is_err() =>
                {
                    return;
                }
                Ok(_) => {}
            }
        }
    });
    let deadline = Instant::now() + run.limit;
    let cut = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(run.silence.min(left)) {
            Ok(line) => {
                for line in judge.line(line.trim_end_matches(['\n', '\r'])) {
                    say(run, &line);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) if left > run.silence => {
                break Some(format!("silent for {} s", run.silence.as_secs()));
            }
            Err(RecvTimeoutError::Timeout) => {
                break Some(format!("not at its end after {} s", run.limit.as_secs()));
            }
        }
    };
    end(child)?;
    reader
        .join()
        .ok()
        .context("the reader of QEMU's output panicked")?;
    Ok(cut)
}

fn say(run: &Run, line: &str) {
    if !run.quiet {
        println!("{} {line}", run.label);
    }
}

/// Ends and reaps QEMU, if it has not ended by itself.
fn end(child: &mut Child) -> Result<()> {
    // Already gone is what is wanted.
    let _gone = child.kill();
    child.wait().context("wait for QEMU").map(drop)
}

/// What every QEMU here has in common; it dies with us.
fn base(accel: &str, kernel: &Path) -> Result<Command> {
    let program = "qemu-system-x86_64";
    let qemu = cmd::which(program)
        .with_context(|| format!("no `{program}` here: `apt-get install qemu-system-x86`"))?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(qemu);
    command.args([
        "-accel",
        accel,
        "-cpu",
        "max",
        "-no-reboot",
        "-display",
        "none",
    ]);
    command.args(["-nodefaults", "-no-user-config", "-monitor", "none"]);
    command.arg("-kernel").arg(kernel);
    command.stdin(Stdio::null());
    Ok(command)
}
