//! Files that are neither ELF nor scripts: what they are by their first bytes.

use std::path::PathBuf;

use super::Diagnosis;

/// Neither ELF nor `#!`.
pub(super) fn diagnose(path: PathBuf, head: &[u8]) -> Diagnosis {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    if let Some(rest) = head.strip_prefix(BOM)
        && rest.starts_with(b"#!")
    {
        let (what, cure) = ("a byte order mark", "save it as UTF-8 without one");
        return Diagnosis::HiddenShebang { path, what, cure };
    }
    if head.trim_ascii_start().starts_with(b"#!") {
        let (what, cure) = ("white space", "remove it");
        return Diagnosis::HiddenShebang { path, what, cure };
    }
    let what = match head {
        [b'M', b'Z', ..] => Some("a Windows or DOS program"),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => Some("a macOS program"),
        [0xca, 0xfe, 0xba, 0xbe, ..] => Some("a Java class or a macOS program"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive (or a JAR)"),
        [0, b'a', b's', b'm', ..] => Some("a WebAssembly module"),
        _ => None,
    };
    if let Some(what) = what {
        return Diagnosis::Foreign { path, what };
    }
    let is_text =
        |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace() || *byte == 0x1b;
    if head.iter().all(is_text) {
        return Diagnosis::NoShebang { path };
    }
    let start: Vec<String> = head
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Diagnosis::UnknownFormat {
        path,
        start: start.join(" "),
    }
}
