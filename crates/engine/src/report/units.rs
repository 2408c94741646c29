//! Quantities as people read them.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in binary units. Exact where there is no decimal point (`64MiB`, `1500KiB`, `7B`), else
/// rounded to one decimal (`63.9MiB`).
///
/// ```
/// # use engine::report::human_bytes;
/// assert_eq!(human_bytes(64 << 20), "64MiB");
/// assert_eq!(human_bytes((64 << 20) + 1), "64.0MiB");
/// ```
pub fn human_bytes(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    // The largest unit that divides it, if the number stays short.
    let exact = bytes.trailing_zeros() as usize / 10;
    if bytes >> (10 * exact) < 10_000 {
        return format!("{}{}", bytes >> (10 * exact), UNITS[exact]);
    }
    let mut unit = bytes.ilog2() as usize / 10;
    // Tenths in integers: a float would round 2^60-sized numbers before we do.
    let tenths = |unit: usize| (u128::from(bytes) * 10 + (1 << (10 * unit)) / 2) >> (10 * unit);
    if tenths(unit) >= 10_240 && unit + 1 < UNITS.len() {
        unit += 1;
    }
    format!("{}.{}{}", tenths(unit) / 10, tenths(unit) % 10, UNITS[unit])
}

/// A duration in the two largest units that matter: `412us`, `85ms`, `1.2s`, `3m 20s`, `2d 4h`.
///
/// ```
/// # use engine::report::human_duration;
/// # use std::time::Duration;
/// assert_eq!(human_duration(Duration::from_millis(1234)), "1.2s");
/// assert_eq!(human_duration(Duration::from_secs(200)), "3m 20s");
/// ```
pub fn human_duration(duration: Duration) -> String {
    let (micros, seconds) = (duration.as_micros(), duration.as_secs());
    match seconds {
        0 if micros < 1000 => format!("{micros}us"),
        0 => format!("{}ms", micros / 1000),
        1..60 if duration.subsec_nanos() == 0 => format!("{seconds}s"),
        1..60 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        60..3600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds / 60 % 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        return format!("{large}{large_unit}");
    }
    format!("{large}{large_unit} {small}{small_unit}")
}

/// For serde: whole microseconds.
pub(super) fn micros<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact_where_exact_and_marked_by_a_decimal_where_not() {
        for (bytes, text) in [
            (0, "0B"),
            (7, "7B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1025, "1025B"),
            (10_001, "9.8KiB"),
            (1500 << 10, "1500KiB"),
            (64 << 20, "64MiB"),
            ((64 << 20) - 4096, "64.0MiB"),
            ((64 << 20) - 65_536, "63.9MiB"),
            (1_048_575, "1.0MiB"),
            (1 << 60, "1EiB"),
            (u64::MAX, "16.0EiB"),
        ] {
            assert_eq!(human_bytes(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn durations_keep_two_units() {
        for (micros, text) in [
            (0, "0us"),
            (999, "999us"),
            (85_900, "85ms"),
            (999_999, "999ms"),
            (1_000_000, "1s"),
            (1_000_001, "1.0s"),
            (59_999_999, "59.9s"),
            (60_000_000, "1m"),
            (200_500_000, "3m 20s"),
            (7_320_000_000, "2h 2m"),
            (187_200_000_000, "2d 4h"),
        ] {
            assert_eq!(
                human_duration(Duration::from_micros(micros)),
                text,
                "{micros}"
            );
        }
        assert_eq!(human_duration(Duration::MAX), "213503982334601d 7h");
    }

    proptest::proptest! {
        #[test]
        fn without_a_decimal_the_number_is_the_number(bytes in proptest::num::u64::ANY, shift in 0_u32..60) {
            let bytes = bytes >> shift << (shift / 3);
            let text = human_bytes(bytes);
            let end = text.find(|c: char| c.is_ascii_alphabetic()).expect("unit");
            let unit = UNITS.iter().position(|unit| *unit == &text[end..]).expect("unit");
            match text[..end].parse::<u64>() {
                Ok(number) => assert_eq!(number << (10 * unit), bytes),
                Err(_) => {
                    let shown: f64 = text[..end].parse().expect("decimal");
                    let real = bytes as f64 / 1024_f64.powi(i32::try_from(unit).expect("small"));
                    assert!((shown - real).abs() <= 0.0501, "{bytes}: {text}");
                }
            }
        }
    }
}
