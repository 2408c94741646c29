//! proc_pid_mountinfo(5), without what differs from run to run.

use probe::Mount;

pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, at, options) = (fields.next()?, fields.next()?, fields.next()?);
    let mut system = system.split(' ');
    let (fstype, _source, super_options) = (system.next()?, system.next()?, system.next()?);
    let sorted = |text: &str| {
        let mut words: Vec<String> = text
            .split(',')
            .filter(|word| *word != "relatime")
            .map(str::to_owned)
            .collect();
        words.sort_unstable();
        words
    };
    let tags = fields.map(|tag| tag.split(':').next().unwrap_or(tag).to_owned());
    Some(Mount {
        at: at.to_owned(),
        fstype: fstype.to_owned(),
        root: root.to_owned(),
        options: sorted(options),
        super_options: sorted(super_options),
        propagation: tags.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_order_do_not_make_a_difference() {
        let one = parse(
            "36 35 98:0 /mnt1 /mnt2 rw,noatime,relatime master:1 - ext3 /dev/root rw,errors=continue",
        );
        let other =
            parse("99 12 0:42 /mnt1 /mnt2 noatime,rw master:7 - ext3 /dev/sda errors=continue,rw");
        assert_eq!(one, other);
        assert_eq!(one[0].propagation, ["master"]);
    }
}
