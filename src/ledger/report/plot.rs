//! Plots as SVG, drawn by hand: they are few and plain, and a page with them needs nothing else.

/// What a text is in a page, whoever wrote it.
pub(super) fn escape(text: &str) -> String {
    let tame = crate::policy::render::tame(text);
    tame.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Horizontal bars, each with its name and number; the first `most` of them.
pub(super) fn bars(rows: &[(String, usize)], most: usize) -> String {
    let top = rows.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let shown = rows.len().min(most);
    let mut svg = format!("<svg viewBox=\"0 0 640 {}\" role=\"img\">", shown * 24 + 4);
    for (nth, (name, count)) in rows.iter().take(most).enumerate() {
        let (y, width) = (nth * 24, 360 * count / top);
        let name = escape(&name.chars().take(28).collect::<String>());
        svg.push_str(&format!(
            "<text x=\"200\" y=\"{}\" text-anchor=\"end\">{name}</text><rect x=\"210\" y=\"{}\" width=\"{}\" height=\"16\" class=\"a\"/>\
             <text x=\"{}\" y=\"{}\">{count}</text>",
            y + 16,
            y + 4,
            width.max(1),
            216 + width,
            y + 16
        ));
    }
    svg + "</svg>"
}

/// Columns of two parts each, one on the other, with a name below some of them.
pub(super) fn columns(all: &[(String, usize, usize)]) -> String {
    let top = all.iter().map(|(_, one, other)| one + other).max().unwrap_or(0).max(1);
    let count = all.len().max(1);
    let (step, every) = (600.0 / count as f64, count.div_ceil(8));
    let mut svg = "<svg viewBox=\"0 0 640 180\" role=\"img\">".to_owned();
    svg.push_str(&format!("<text x=\"0\" y=\"14\">{top}</text><line x1=\"30\" y1=\"150\" x2=\"636\" y2=\"150\"/>"));
    for (nth, (name, one, other)) in all.iter().enumerate() {
        let x = 34.0 + step * nth as f64;
        let (high, higher) = (140 * one / top, 140 * other / top);
        let width = (step * 0.8).max(1.0);
        svg.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{high}\" class=\"a\"/>\
             <rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{higher}\" class=\"b\"/>",
            150 - high,
            150 - high - higher
        ));
        if nth.is_multiple_of(every) {
            svg.push_str(&format!("<text x=\"{x:.1}\" y=\"168\">{}</text>", escape(name)));
        }
    }
    svg + "</svg>"
}
