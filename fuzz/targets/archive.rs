//! Reading a tar archive: what it gives is what it has.
#![no_main]

use image::layer::Archive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bytes = fuzz::with_checksums(bytes);
    let mut archive = Archive::new(&bytes[..]);
    let mut read = 0;
    while let Ok(Some(entry)) = archive.next_entry() {
        assert!(
            !entry.path.contains(&0) && !entry.link.contains(&0),
            "{entry:?}"
        );
        if let Some(regions) = &entry.sparse {
            let mut end = 0;
            for region in regions {
                assert!(region.offset >= end, "{regions:?}");
                end = region
                    .offset
                    .checked_add(region.length)
                    .expect("a file's size");
            }
            assert!(end <= entry.size, "{entry:?}");
        }
        while let Ok(data @ [_, ..]) = archive.data() {
            let count = data.len();
            archive.consume(count);
            read += count;
        }
        assert!(read <= bytes.len(), "more than there is");
    }
});
