//! Converting, averaging and formatting numbers.

/// Converts a count to a float. That is exact up to 2^53, and no count here comes near it.
pub fn float(count: u64) -> f64 {
    const LOW: u64 = 0xffff_ffff;
    let half = |bits: u64| f64::from(u32::try_from(bits & LOW).unwrap_or(u32::MAX));
    half(count >> 32) * 4_294_967_296.0 + half(count)
}

/// The median: for an even count the mean of the two in the middle, and zero for none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(upper), 0) => f64::midpoint(sorted[middle - 1], *upper),
        (Some(only), _) => *only,
        (None, _) => 0.0,
    }
}

/// Formats a number with so many digits behind the point, and a comma between thousands.
pub fn show(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.as_str()),
    };
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}
