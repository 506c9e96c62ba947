//! CBOR as a tree, so that a mutation changes a *field* and leaves the rest well-formed. Byte strings that hold CBOR
//! themselves (payloads inside envelopes, entries inside a log) are opened too.

/// Deeper values are taken as bytes.
const DEPTH_MAX: usize = 24;

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A natural number.
    Unsigned(u64),
    /// `-1 - n`.
    Negative(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text, which need not be UTF-8.
    Text(Vec<u8>),
    /// Items in order.
    Array(Vec<Value>),
    /// Keys and values in turn.
    Map(Vec<Value>),
    /// A tagged item.
    Tag(u64, Box<Value>),
    /// True, false, null, floats: the head and what follows it.
    Simple(Vec<u8>),
    /// A byte string that holds one item.
    Inner(Box<Value>),
    /// A head of this major type that announces more than follows.
    Lie(u8, u64, Vec<u8>),
}

impl Value {
    /// Reads one item that takes all of `bytes`; `None` when it is not that, or of a form that we never write.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, depth: 0 };
        let value = reader.item()?;
        reader.bytes.is_empty().then_some(value)
    }

    /// Its bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unsigned(number) => head(0, *number, out),
            Self::Negative(number) => head(1, *number, out),
            Self::Bytes(bytes) => string(2, bytes, out),
            Self::Text(bytes) => string(3, bytes, out),
            Self::Array(items) => {
                head(4, items.len() as u64, out);
                for item in items {
                    item.put(out);
                }
            }
            Self::Map(items) => {
                head(5, items.len() as u64 / 2, out);
                for item in items {
                    item.put(out);
                }
            }
            Self::Tag(tag, item) => {
                head(6, *tag, out);
                item.put(out);
            }
            Self::Simple(bytes) => out.extend_from_slice(bytes),
            Self::Inner(item) => string(2, &item.write(), out),
            Self::Lie(major, announced, bytes) => {
                head(*major, *announced, out);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// How many items there are in it, itself included.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Array(items) | Self::Map(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Self::Tag(_, item) | Self::Inner(item) => 1 + item.count(),
            Self::Unsigned(_)
            | Self::Negative(_)
            | Self::Bytes(_)
            | Self::Text(_)
            | Self::Simple(_)
            | Self::Lie(..) => 1,
        }
    }

    /// The `n`th item, counted from the outside, itself being number 0.
    pub fn nth_mut(&mut self, n: &mut usize) -> Option<&mut Self> {
        if *n == 0 {
            return Some(self);
        }
        *n -= 1;
        match self {
            Self::Array(items) | Self::Map(items) => items.iter_mut().find_map(|item| item.nth_mut(n)),
            Self::Tag(_, item) | Self::Inner(item) => item.nth_mut(n),
            Self::Unsigned(_)
            | Self::Negative(_)
            | Self::Bytes(_)
            | Self::Text(_)
            | Self::Simple(_)
            | Self::Lie(..) => None,
        }
    }
}

fn head(major: u8, number: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = number.to_be_bytes();
    match number {
        0..24 => out.push(major | bytes[7]),
        24..0x100 => out.extend([major | 0x18, bytes[7]]),
        0x100..0x1_0000 => out.extend([major | 0x19, bytes[6], bytes[7]]),
        0x1_0000..0x1_0000_0000 => out.extend([major | 0x1a, bytes[4], bytes[5], bytes[6], bytes[7]]),
        0x1_0000_0000.. => {
            out.push(major | 0x1b);
            out.extend(bytes);
        }
    }
}

fn string(major: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(major, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    bytes: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    fn number(&mut self, low: u8) -> Option<u64> {
        let len = match low {
            0..24 => return Some(u64::from(low)),
            24..28 => 1 << (low - 24),
            _ => return None,
        };
        Some(self.take(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn string(&mut self, low: u8) -> Option<&'a [u8]> {
        let len = self.number(low)?;
        self.take(usize::try_from(len).ok()?)
    }

    fn items(&mut self, count: u64) -> Option<Vec<Value>> {
        (count <= self.bytes.len() as u64).then_some(())?;
        (0..count).map(|_| self.item()).collect()
    }

    fn item(&mut self) -> Option<Value> {
        (self.depth < DEPTH_MAX).then(|| self.depth += 1)?;
        let before = self.bytes;
        let first = *self.take(1)?.first()?;
        let (major, low) = (first >> 5, first & 0x1f);
        let value = match major {
            0 => Value::Unsigned(self.number(low)?),
            1 => Value::Negative(self.number(low)?),
            2 => {
                let bytes = self.string(low)?;
                inner(bytes, self.depth).unwrap_or_else(|| Value::Bytes(bytes.to_vec()))
            }
            3 => Value::Text(self.string(low)?.to_vec()),
            4 => {
                let count = self.number(low)?;
                Value::Array(self.items(count)?)
            }
            5 => {
                let count = self.number(low)?;
                Value::Map(self.items(count.checked_mul(2)?)?)
            }
            6 => Value::Tag(self.number(low)?, Box::new(self.item()?)),
            _ => {
                self.number(low)?;
                Value::Simple(before[..before.len() - self.bytes.len()].to_vec())
            }
        };
        self.depth -= 1;
        Some(value)
    }
}

/// What stands in a byte string, if it is an array or map.
fn inner(bytes: &[u8], depth: usize) -> Option<Value> {
    let may_be = bytes.len() > 2 && matches!(bytes[0] >> 5, 4 | 5);
    let mut reader = Reader { bytes, depth };
    let value = may_be.then(|| reader.item()).flatten()?;
    (reader.bytes.is_empty() && value.write() == bytes).then(|| Value::Inner(Box::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_writes_the_same_bytes() {
        let bytes = [0x84, 0x01, 0x39, 0x01, 0x00, 0x45, 0x82, 0x01, 0x61, b'a', 0xf6, 0x62, b'h', b'i'];
        let value = Value::read(&bytes).unwrap();
        let Value::Array(items) = &value else { panic!("{value:?}") };
        assert!(matches!(&items[2], Value::Bytes(_)), "a byte string that does not hold exactly one item is bytes");
        assert_eq!(value.write(), bytes);
        let nested = Value::Array(vec![Value::Inner(Box::new(Value::Array(vec![
            Value::Unsigned(7),
            Value::Text(b"x".to_vec()),
        ])))]);
        assert_eq!(Value::read(&nested.write()).unwrap(), nested);
        assert_eq!(nested.count(), 5);
    }

    #[test]
    fn a_count_that_lies_is_no_value() {
        assert_eq!(Value::read(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), None);
    }
}
