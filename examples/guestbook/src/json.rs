//! The little JSON that the book speaks.
use crate::book::Listed;

/// `[{"id":1,"text":"…"},…]`
pub fn entries(entries: &[Listed]) -> String {
    let mut out = String::with_capacity(2 + entries.iter().map(|entry| entry.text.len() + 32).sum::<usize>());
    out.push('[');
    for (position, entry) in entries.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push_str("{\"id\":");
        out.push_str(&entry.id.to_string());
        out.push_str(",\"text\":");
        string(&entry.text, &mut out);
        out.push('}');
    }
    out.push(']');
    out
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}
