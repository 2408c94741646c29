//! A profile with the meaning of Docker's default one, in Docker's format, made from a table of names.

use serde_json::{Value, json};

const TABLE: &str = include_str!("../data/docker-default.txt");

/// `CLONE_NEW*` as Docker masks them.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// The profile as JSON.
pub(crate) fn profile() -> String {
    let mut syscalls = Vec::new();
    let mut condition = Value::Null;
    for line in TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            condition = includes(section);
            continue;
        }
        let names: Vec<&str> = line.split_ascii_whitespace().collect();
        let mut entry = json!({ "names": names, "action": "SCMP_ACT_ALLOW" });
        if !condition.is_null() {
            entry["includes"] = condition.clone();
        }
        syscalls.push(entry);
    }
    syscalls.extend(sockets());
    for domain in [0_u64, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        syscalls.push(allow_when("personality", 0, domain, "SCMP_CMP_EQ"));
    }
    let mut clone = allow_when("clone", 0, CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ");
    clone["excludes"] = json!({ "caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"] });
    syscalls.push(clone);
    let mut clone = allow_when("clone", 1, CLONE_NAMESPACES, "SCMP_CMP_MASKED_EQ");
    clone["comment"] = json!("other order of parameters");
    clone["includes"] = json!({ "arches": ["s390", "s390x"] });
    clone["excludes"] = json!({ "caps": ["CAP_SYS_ADMIN"] });
    syscalls.push(clone);
    syscalls.push(json!({
        "names": ["clone3"],
        "action": "SCMP_ACT_ERRNO",
        "errnoRet": 38,
        "excludes": { "caps": ["CAP_SYS_ADMIN"] },
    }));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
            { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] },
            { "architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null },
        ],
        "syscalls": syscalls,
    })
    .to_string()
}

fn includes(section: &str) -> Value {
    let (kind, rest) = section.split_once(' ').unwrap_or((section, ""));
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    match kind {
        "always" => Value::Null,
        "kernel" => json!({ "minKernel": rest }),
        "arch" => json!({ "arches": words }),
        "cap" => json!({ "caps": words }),
        other => panic!("section {other:?}"),
    }
}

fn allow_when(name: &str, index: u32, value: u64, op: &str) -> Value {
    json!({
        "names": [name],
        "action": "SCMP_ACT_ALLOW",
        "args": [{ "index": index, "value": value, "op": op }],
    })
}

/// The families Docker allows; not among them are AF_ALG (38), AF_VSOCK (40) and a few dead ones.
fn sockets() -> Vec<Value> {
    const FAMILIES: [u64; 24] = [
        13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43,
        44,
    ];
    let below = std::iter::once(allow_when("socket", 0, 12, "SCMP_CMP_LT"));
    let each = FAMILIES.iter().chain(&[45]);
    below
        .chain(each.map(|&family| allow_when("socket", 0, family, "SCMP_CMP_EQ")))
        .collect()
}
