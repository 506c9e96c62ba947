//! Inputs from inputs: a field of a well-formed message changed at a time, seldom a few bytes.
use bocage_protocol::random::Rng;

use crate::value::Value;

/// Numbers where mistakes like to hide.
const NUMBERS: [u64; 14] =
    [0, 1, 2, 23, 24, 255, 256, 65_535, 0xffff_ffff, 1 << 32, 1 << 60, (1 << 63) - 1, u64::MAX - 1, u64::MAX];

/// An input like `bytes`, of at most `bytes_max`; parts of `other` may stand in it.
#[must_use]
pub fn mutate(bytes: &[u8], other: &[u8], bytes_max: usize, rng: &mut Rng) -> Vec<u8> {
    let tree = if rng.chance(850) { Value::read(bytes) } else { None };
    let mut out = match tree {
        Some(mut value) => {
            let other = Value::read(other);
            for _ in 0..=rng.below(3) {
                change(&mut value, other.as_ref(), rng);
            }
            value.write()
        }
        None => match std::str::from_utf8(bytes) {
            Ok(text) if rng.chance(850) => rewrite(text, std::str::from_utf8(other).unwrap_or(""), rng).into_bytes(),
            Ok(_) | Err(_) => bytes.to_vec(),
        },
    };
    if out == bytes || rng.chance(60) {
        for _ in 0..=rng.below(3) {
            scramble(&mut out, other, rng);
        }
    }
    out.truncate(bytes_max);
    out
}

/// What people write, changed as people do: words and lines moved, doubled, dropped, and numbers that are too large.
fn rewrite(text: &str, other: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=rng.below(3) {
        let Some(at) = rng.index(lines.len()) else { break };
        match rng.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[rng.index(lines.len()).unwrap_or(0)].clone()),
            2 => {
                let to = rng.index(lines.len()).unwrap_or(0);
                lines.swap(at, to);
            }
            _ => {
                let words: Vec<&str> =
                    text.split_inclusive(WORD_ENDS).chain(other.split_inclusive(WORD_ENDS)).collect();
                let mut of_line: Vec<String> = lines[at].split_inclusive(WORD_ENDS).map(str::to_owned).collect();
                let Some(word) = rng.index(of_line.len()) else { continue };
                of_line[word] = match rng.below(5) {
                    0 => number(0, rng).to_string(),
                    1 => of_line[word].repeat(1 + rng.index(40).unwrap_or(0)),
                    2 => ODD_WORDS[rng.index(ODD_WORDS.len()).unwrap_or(0)].to_owned(),
                    _ => words[rng.index(words.len()).unwrap_or(0)].to_owned(),
                };
                lines[at] = of_line.concat();
            }
        }
    }
    lines.join("\n")
}

/// Where a word of a manifest ends.
const WORD_ENDS: [char; 10] = [' ', '=', ',', '"', '[', ']', '.', '-', '/', ':'];

/// What no parser of TOML likes, or likes too much.
const ODD_WORDS: [&str; 10] = ["\"", "[", "]", "{ a = 1 }", "-1", "1e999", "\u{0}", "é", "'''", "true"];

fn pick<'a>(value: &'a mut Value, rng: &mut Rng) -> &'a mut Value {
    let mut n = rng.index(value.count()).unwrap_or(0);
    value.nth_mut(&mut n).expect("a place below the count is one")
}

fn number(old: u64, rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0 => old.wrapping_add(1 + rng.below(4)),
        1 => old.wrapping_sub(1 + rng.below(4)),
        2 => old ^ (1 << rng.below(64)),
        3 => rng.below(32),
        4 => rng.next(),
        _ => NUMBERS[rng.index(NUMBERS.len()).unwrap_or(0)],
    }
}

fn change(tree: &mut Value, other: Option<&Value>, rng: &mut Rng) {
    // Something from elsewhere in its place: another type, or the same of another message.
    if rng.chance(150) {
        let mut from = match other {
            Some(other) if rng.chance(600) => other.clone(),
            _ => tree.clone(),
        };
        let part = pick(&mut from, rng).clone();
        *pick(tree, rng) = part;
        return;
    }
    let total = tree.count();
    let at = pick(tree, rng);
    match at {
        Value::Unsigned(old) | Value::Negative(old) => {
            *old = number(*old, rng);
            if rng.chance(30)
                && let Value::Unsigned(number) = *at
            {
                *at = Value::Negative(number);
            }
        }
        Value::Bytes(bytes) | Value::Text(bytes) => match rng.below(8) {
            0 => bytes.clear(),
            1 => bytes.truncate(rng.index(bytes.len() + 1).unwrap_or(0)),
            2 => bytes.extend((0..=rng.below(40)).map(|_| b'a')),
            3 => *at = lie(at, rng),
            4 => {
                *at =
                    if matches!(at, Value::Bytes(_)) { Value::Text(b"FR".to_vec()) } else { Value::Bytes(vec![0; 32]) }
            }
            _ => scramble(bytes, b"", rng),
        },
        Value::Array(items) | Value::Map(items) => {
            let place = rng.index(items.len()).unwrap_or(0);
            match rng.below(8) {
                0 if !items.is_empty() => drop(items.remove(place)),
                1 if !items.is_empty() && total < 2_000 => items.insert(place, items[place].clone()),
                2 if items.len() > 1 => items.swap(place, 0),
                3 if !items.is_empty() && total < 500 => {
                    let many = vec![items[place].clone(); 1 + rng.index(70).unwrap_or(0)];
                    items.splice(place..place, many);
                }
                4 => items.truncate(place),
                5 => items.push(Value::Unsigned(number(0, rng))),
                6 if !items.is_empty() => items[place] = Value::Simple(vec![0xf6]),
                _ => *at = lie(at, rng),
            }
        }
        Value::Tag(tag, _) => *tag = number(*tag, rng),
        Value::Simple(bytes) => *bytes = vec![[0xf4, 0xf5, 0xf6, 0xf7, 0xe0][rng.index(5).unwrap_or(0)]],
        Value::Inner(item) => match rng.below(3) {
            0 => *at = Value::Bytes(item.write().into_iter().skip(1).collect()),
            _ => change(item, None, rng),
        },
        Value::Lie(_, announced, _) => *announced = number(*announced, rng),
    }
}

/// The same item behind a head that announces another length.
fn lie(value: &Value, rng: &mut Rng) -> Value {
    let (major, len, bytes) = match value {
        Value::Bytes(bytes) => (2, bytes.len(), bytes.clone()),
        Value::Text(bytes) => (3, bytes.len(), bytes.clone()),
        Value::Array(items) => (4, items.len(), items.iter().flat_map(Value::write).collect()),
        Value::Map(items) => (5, items.len() / 2, items.iter().flat_map(Value::write).collect()),
        other => return other.clone(),
    };
    Value::Lie(major, number(len as u64, rng), bytes)
}

fn scramble(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let Some(at) = rng.index(bytes.len()) else { return bytes.push(u8::try_from(rng.below(256)).unwrap_or(0)) };
    match rng.below(7) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = u8::try_from(rng.below(256)).unwrap_or(0),
        2 => bytes.truncate(at),
        3 => drop(bytes.remove(at)),
        4 => bytes.insert(at, u8::try_from(rng.below(256)).unwrap_or(0)),
        5 => {
            let end = at + rng.index(bytes.len() - at).unwrap_or(0).min(64);
            bytes.extend_from_within(at..end);
        }
        _ => {
            let from = rng.index(other.len()).unwrap_or(0);
            let to = from + rng.index(other.len() - from).unwrap_or(0).min(64);
            bytes.splice(at..at, other[from..to].iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::random::Seed;

    use super::*;

    #[test]
    fn most_mutants_of_a_message_are_well_formed_and_nearly_none_is_the_message() {
        let seed = Value::Array((0..20).map(Value::Unsigned).collect()).write();
        let mut rng = Seed([1; 32]).rng();
        let mutants: Vec<_> = (0..1_000).map(|_| mutate(&seed, &seed, 4_096, &mut rng)).collect();
        let well_formed = mutants.iter().filter(|bytes| Value::read(bytes).is_some()).count();
        assert!(well_formed > 500, "{well_formed}");
        assert!(mutants.iter().filter(|bytes| **bytes == seed).count() < 100);
    }
}
