//! Numbers as the report writes them. What has no value is an en dash.

/// What stands where there is no value.
pub(super) const NONE: &str = "–";

/// `x` with about three significant digits, never as a power of ten between 0.001 and a billion.
pub(super) fn number(x: f64) -> String {
    if !x.is_finite() {
        return if x.is_nan() {
            "NaN".to_string()
        } else {
            format!("{x}")
        };
    }
    let size = x.abs();
    let decimals = match size {
        s if s >= 100.0 => 0,
        s if s >= 10.0 => 1,
        s if s >= 1.0 => 2,
        s if s >= 0.1 => 3,
        s if s >= 0.01 => 4,
        s if s >= 0.001 => 5,
        0.0 => 0,
        _ => return format!("{x:.2e}"),
    };
    if size >= 1e9 {
        format!("{x:.2e}")
    } else {
        format!("{x:.decimals$}")
    }
}

/// A metric's value with so many digits that small differences show.
pub(super) fn metric(x: f64) -> String {
    if x.is_finite() && (0.001..1e5).contains(&x.abs()) {
        format!("{x:.4}")
    } else {
        number(x)
    }
}

/// An optional value.
pub(super) fn or_none<T>(value: Option<T>, write: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_string(), write)
}

/// `1 234 567`: groups of three with narrow no-break spaces.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202F}');
        }
        out.push(c);
    }
    out
}

/// Bytes in the largest binary unit that leaves a number of at least 1.
pub(super) fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut x = n as f64;
    let mut unit = 0;
    while x >= 1024.0 && unit + 1 < units.len() {
        x /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{n} B")
    } else {
        format!("{} {}", number(x), units[unit])
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let written: Vec<String> = [
            0.0,
            0.00012,
            0.0123,
            0.5,
            1.234,
            12.34,
            1234.5,
            2e12,
            f64::NAN,
            f64::INFINITY,
        ]
        .into_iter()
        .map(number)
        .collect();
        assert_eq!(
            written,
            [
                "0", "1.20e-4", "0.0123", "0.500", "1.23", "12.3", "1234", "2.00e12", "NaN", "inf"
            ]
        );
    }

    #[test]
    fn counts_and_bytes() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1\u{202F}234\u{202F}567");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(u64::MAX), "16777216 TiB");
    }
}
