//! Which kernel modules the VM loads, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Modules that must be there, as such or built in, and the option that makes them.
const WANTED: &[(&str, &str)] = &[
    ("virtio_pci", "CONFIG_VIRTIO_PCI"),
    ("virtio_blk", "CONFIG_VIRTIO_BLK"),
    ("virtio_console", "CONFIG_VIRTIO_CONSOLE"),
    ("ext4", "CONFIG_EXT4_FS"),
    ("overlay", "CONFIG_OVERLAY_FS"),
    ("fuse", "CONFIG_FUSE_FS"),
    ("loop", "CONFIG_BLK_DEV_LOOP"),
    ("veth", "CONFIG_VETH"),
    ("bridge", "CONFIG_BRIDGE"),
    ("dummy", "CONFIG_DUMMY"),
    ("tun", "CONFIG_TUN"),
    ("macvlan", "CONFIG_MACVLAN"),
    ("ipvlan", "CONFIG_IPVLAN"),
    ("8021q", "CONFIG_VLAN_8021Q"),
    ("ifb", "CONFIG_IFB"),
    ("sch_tbf", "CONFIG_NET_SCH_TBF"),
    ("sch_ingress", "CONFIG_NET_SCH_INGRESS"),
    ("cls_u32", "CONFIG_NET_CLS_U32"),
    ("act_mirred", "CONFIG_NET_ACT_MIRRED"),
    ("nf_tables", "CONFIG_NF_TABLES"),
    ("nf_conntrack", "CONFIG_NF_CONNTRACK"),
    ("nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK"),
    ("nf_nat", "CONFIG_NF_NAT"),
    ("nft_chain_nat", "CONFIG_NFT_NAT"),
    ("nft_nat", "CONFIG_NFT_NAT"),
    ("nft_masq", "CONFIG_NFT_MASQ"),
    ("nft_redir", "CONFIG_NFT_REDIR"),
    ("nft_ct", "CONFIG_NFT_CT"),
    // Where it is a module, every `meta` in a bridge table is its.
    ("nft_meta_bridge", "CONFIG_NFT_BRIDGE_META"),
    ("nft_limit", "CONFIG_NFT_LIMIT"),
    ("nft_log", "CONFIG_NFT_LOG"),
    ("nft_reject_inet", "CONFIG_NFT_REJECT_INET"),
    ("nft_fib_inet", "CONFIG_NFT_FIB_INET"),
    ("nft_hash", "CONFIG_NFT_HASH"),
    ("nft_numgen", "CONFIG_NFT_NUMGEN"),
    ("inet_diag", "CONFIG_INET_DIAG"),
    ("tcp_diag", "CONFIG_INET_DIAG"),
    ("unix_diag", "CONFIG_UNIX_DIAG"),
];

/// A module file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// `veth.ko`.
    pub(crate) file: String,
    /// Its content, unpacked.
    pub(crate) content: Vec<u8>,
}

/// Reads the wanted modules and all they depend on, dependencies first.
///
/// # Errors
///
/// The kernel lacks one: the error names the configuration option.
pub(crate) fn load_order(directory: &Path) -> Result<Vec<Module>> {
    let builtin = builtin(directory)?;
    let mut files = BTreeMap::new();
    index(&directory.join("kernel"), &mut files)?;
    let mut order = Order {
        builtin,
        files,
        done: BTreeSet::new(),
        modules: Vec::new(),
    };
    for (name, option) in WANTED {
        order
            .add(name)
            .with_context(|| format!("the kernel lacks {option}"))?;
    }
    Ok(order.modules)
}

struct Order {
    builtin: BTreeSet<String>,
    files: BTreeMap<String, PathBuf>,
    done: BTreeSet<String>,
    modules: Vec<Module>,
}

impl Order {
    fn add(&mut self, name: &str) -> Result<()> {
        if self.builtin.contains(name) || !self.done.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            bail!("module {name} is neither built in nor among its modules");
        };
        let content = read(path)?;
        for dependency in depends(&content) {
            self.add(&dependency)
                .with_context(|| format!("module {name}"))?;
        }
        self.modules.push(Module {
            file: format!("{name}.ko"),
            content,
        });
        Ok(())
    }
}

fn builtin(directory: &Path) -> Result<BTreeSet<String>> {
    let path = directory.join("modules.builtin");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path:?}"))?;
    Ok(text
        .lines()
        .filter_map(|line| name(Path::new(line)))
        .collect())
}

fn index(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {directory:?}"))? {
        let path = entry.with_context(|| format!("read {directory:?}"))?.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The module's name: files may be spelled with `-`, the kernel knows only `_`.
fn name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file
        .strip_suffix(".ko")
        .or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("read {path:?}"))?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    liblzma::read::XzDecoder::new(bytes.as_slice())
        .read_to_end(&mut plain)
        .with_context(|| format!("unpack {path:?}"))?;
    Ok(plain)
}

/// The `depends=` entry of the module's `.modinfo` section: NUL-ended strings, written by modpost.
///
/// This is what `depmod` reads as well; so no `modules.dep` is needed, which Debian's package does
/// not hold.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        let check = |module: &[u8], expected: &[&str]| assert_eq!(depends(module), expected);
        check(
            b"ELF..\0license=GPL\0depends=nf_tables,nf-nat\0name=x\0",
            &["nf_tables", "nf_nat"],
        );
        check(b"ELF..\0depends=\0name=x\0", &[]);
        check(b"no modinfo", &[]);
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let directory = std::env::temp_dir().join(format!("xtask-modules-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("mkdir in the temporary directory");
        let mut files = BTreeMap::new();
        for (name, depends) in [("a", "b,c"), ("b", "c"), ("c", "in_kernel")] {
            let path = directory.join(format!("{name}.ko"));
            fs::write(&path, format!("\0depends={depends}\0")).expect("write a module");
            files.insert(name.to_owned(), path);
        }
        let builtin = BTreeSet::from(["in_kernel".to_owned()]);
        let mut order = Order {
            builtin,
            files,
            done: BTreeSet::new(),
            modules: Vec::new(),
        };
        order.add("a").expect("all modules are there");
        order.add("b").expect("all modules are there");
        let names: Vec<_> = order
            .modules
            .iter()
            .map(|module| module.file.as_str())
            .collect();
        assert_eq!(names, ["c.ko", "b.ko", "a.ko"]);
        assert!(order.add("d").is_err());
        fs::remove_dir_all(&directory).expect("remove the temporary directory");
    }
}
