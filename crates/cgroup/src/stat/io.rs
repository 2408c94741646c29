//! Block I/O.

use crate::keyed::{Parsed, pairs, parse_error};
use crate::units::parse_u64;
use crate::{BlockDevice, Bytes, Error, Micros, Percent};

/// `io.stat`: a line per device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IoStat(pub Vec<IoDeviceStat>);

/// One device in `io.stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoDeviceStat {
    /// Which.
    pub device: BlockDevice,
    /// `rbytes`: read.
    pub rbytes: Bytes,
    /// `wbytes`: written.
    pub wbytes: Bytes,
    /// `rios`: reads.
    pub rios: u64,
    /// `wios`: writes.
    pub wios: u64,
    /// `dbytes`: discarded.
    pub dbytes: Bytes,
    /// `dios`: discards.
    pub dios: u64,
    /// `cost.usage`: device time, with the cost model (`io.cost.qos`).
    pub cost_usage: Option<Micros>,
    /// `use_delay`: how often processes are being slowed down, with `io.latency`.
    pub use_delay: Option<u64>,
    /// `cost.vrate`: the speed of the device's clock, with the cost model; in the root group.
    pub cost_vrate: Option<Percent>,
}

impl IoDeviceStat {
    fn new(device: BlockDevice) -> Self {
        Self {
            device,
            rbytes: Bytes(0),
            wbytes: Bytes(0),
            rios: 0,
            wios: 0,
            dbytes: Bytes(0),
            dios: 0,
            cost_usage: None,
            use_delay: None,
            cost_vrate: None,
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "rbytes" => self.rbytes = Bytes(parse_u64(value)?),
            "wbytes" => self.wbytes = Bytes(parse_u64(value)?),
            "rios" => self.rios = parse_u64(value)?,
            "wios" => self.wios = parse_u64(value)?,
            "dbytes" => self.dbytes = Bytes(parse_u64(value)?),
            "dios" => self.dios = parse_u64(value)?,
            "cost.usage" => self.cost_usage = Some(Micros(parse_u64(value)?)),
            "use_delay" => self.use_delay = Some(parse_u64(value)?),
            "cost.vrate" => self.cost_vrate = Some(Percent::parse(value)?),
            _ => {}
        }
        Some(())
    }
}

impl Parsed for IoStat {
    const FILE: &'static str = "io.stat";

    fn parse(text: &str) -> Result<Self, Error> {
        let mut devices: Vec<IoDeviceStat> = Vec::new();
        for line in text.lines() {
            for part in line.split_ascii_whitespace() {
                // KERNEL(6.3): devices without anything to say left out their newline, so that the
                // next device stands on the same line (blkcg_print_one_stat).
                if let Some(device) = BlockDevice::parse(part) {
                    devices.push(IoDeviceStat::new(device));
                    continue;
                }
                let (Some(device), Some(pair)) =
                    (devices.last_mut(), pairs(Self::FILE, part).next())
                else {
                    return Err(parse_error(Self::FILE, line));
                };
                let (key, value) = pair?;
                device
                    .set(key, value)
                    .ok_or_else(|| parse_error(Self::FILE, line))?;
            }
        }
        Ok(Self(devices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn io_stat_is_read_by_device() {
        let text = "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0 cost.usage=77\n\
                    8:16 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n";
        let IoStat(devices) = IoStat::parse(text).expect("io.stat");
        assert_eq!(devices.len(), 2);
        assert_eq!((devices[0].rbytes, devices[0].wios), (Bytes(4096), 2));
        assert_eq!(devices[0].cost_usage, Some(Micros(77)));
        assert_eq!(devices[1].device.to_string(), "8:16");
    }

    #[test]
    fn devices_that_share_a_line_are_told_apart() {
        let text = "7:7 7:6 254:0 rbytes=5 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n";
        let IoStat(devices) = IoStat::parse(text).expect("io.stat");
        assert_eq!(devices.len(), 3);
        assert_eq!(devices[1].rbytes, Bytes(0));
        assert_eq!(devices[2].rbytes, Bytes(5));
    }

    #[test]
    fn numbers_without_a_device_are_an_error() {
        assert!(IoStat::parse("rbytes=5\n").is_err());
        assert!(IoStat::parse("8:0 rbytes=-5\n").is_err());
        assert!(IoStat::parse("8:0 rbytes\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([0-9]+:[0-9]+|[a-z.]+=[0-9.]+|[ \n=:]|\\PC){0,60}") {
            let _ = IoStat::parse(&text);
        }
    }
}
