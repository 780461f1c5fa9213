//! msgpack from strangers.
//!
//! A value of one byte takes 40 in memory, and nesting costs stack, so bytes are walked before they
//! are decoded: once, without recursion or allocation, counting values and depth. The walk also
//! refuses the extension types by which aiozmq carries pickles of Python's date types: unpickling is
//! running the sender's code.

use rmpv::Value;

/// Deepest nesting of arrays and maps.
pub const MAX_DEPTH: usize = 64;

/// The extension types that carry pickles: `datetime`, `date`, `time`, `timedelta`, `tzinfo`.
const PICKLES: std::ops::RangeInclusive<i8> = 123..=127;

/// Why bytes are not a value that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The value ends before it is whole.
    #[error("msgpack is cut short")]
    CutShort,
    /// Bytes follow the value.
    #[error("{0} bytes follow the msgpack value")]
    Trailing(usize),
    /// Arrays and maps are nested deeper than [`MAX_DEPTH`].
    #[error("msgpack is nested too deep")]
    TooDeep,
    /// There are more values than the caller's bound.
    #[error("msgpack holds too many values")]
    TooMany,
    /// The byte `c1`, which means nothing.
    #[error("msgpack has a reserved marker")]
    Reserved,
    /// A pickled Python object, by its extension type.
    #[error("msgpack carries a pickle (extension type {0})")]
    Pickle(i8),
}

/// Decodes one value that takes up all of `bytes`, and holds at most `most` values, itself and the
/// keys of maps included.
pub fn decode(bytes: &[u8], most: usize) -> Result<Value, ValueError> {
    let mut rest = bytes;
    walk(&mut rest, most)?;
    if !rest.is_empty() {
        return Err(ValueError::Trailing(rest.len()));
    }
    rmpv::decode::read_value(&mut &*bytes).map_err(|_| ValueError::CutShort)
}

/// Encodes a value: text as str, bytes as bin, each number as short as it goes.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let written = rmpv::encode::write_value(&mut out, value);
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
    out
}

/// The number that this is, whether it came as an integer or as a float.
pub fn as_f64(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// The integer that this is; a float is cut at its point.
pub fn as_i64(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| match value {
        Value::F32(_) | Value::F64(_) => as_f64(value).map(|number| number as i64),
        _ => None,
    })
}

/// The value under a text key of a map.
pub fn get<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_map()?.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
}

/// What a marker announces.
enum Shape {
    /// A value of that many further bytes.
    Bytes(usize),
    /// An extension: its type, then that many bytes.
    Extension(usize),
    /// An array or map of that many values, keys counted.
    Values(usize),
}

/// Walks one value at the front of `rest`.
fn walk(rest: &mut &[u8], most: usize) -> Result<(), ValueError> {
    let mut open = [0usize; MAX_DEPTH + 1];
    let (mut depth, mut seen) = (0, 0);
    if let Some(root) = open.first_mut() {
        *root = 1;
    }
    while let Some(left) = open.get_mut(depth) {
        if *left == 0 {
            match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return Ok(()),
            }
            continue;
        }
        *left -= 1;
        seen += 1;
        if seen > most {
            return Err(ValueError::TooMany);
        }
        match shape(rest)? {
            Shape::Bytes(len) => skip(rest, len)?,
            Shape::Extension(len) => skip_extension(rest, len)?,
            Shape::Values(count) => {
                depth += 1;
                *open.get_mut(depth).ok_or(ValueError::TooDeep)? = count;
            }
        }
    }
    Err(ValueError::TooDeep)
}

/// Takes a marker and its length.
fn shape(rest: &mut &[u8]) -> Result<Shape, ValueError> {
    let [marker] = take::<1>(rest)?;
    Ok(match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Shape::Bytes(0),
        0x80..=0x8f => Shape::Values(2 * usize::from(marker & 0x0f)),
        0x90..=0x9f => Shape::Values((marker & 0x0f).into()),
        0xa0..=0xbf => Shape::Bytes((marker & 0x1f).into()),
        0xc1 => return Err(ValueError::Reserved),
        0xc4 | 0xd9 => Shape::Bytes(length_of_1(rest)?),
        0xc5 | 0xda => Shape::Bytes(length_of_2(rest)?),
        0xc6 | 0xdb => Shape::Bytes(length_of_4(rest)?),
        0xc7 => Shape::Extension(length_of_1(rest)?),
        0xc8 => Shape::Extension(length_of_2(rest)?),
        0xc9 => Shape::Extension(length_of_4(rest)?),
        0xca | 0xce | 0xd2 => Shape::Bytes(4),
        0xcb | 0xcf | 0xd3 => Shape::Bytes(8),
        0xcc | 0xd0 => Shape::Bytes(1),
        0xcd | 0xd1 => Shape::Bytes(2),
        0xd4..=0xd8 => Shape::Extension(1 << (marker - 0xd4)),
        0xdc => Shape::Values(length_of_2(rest)?),
        0xdd => Shape::Values(length_of_4(rest)?),
        0xde => Shape::Values(2 * length_of_2(rest)?),
        0xdf => Shape::Values(length_of_4(rest)?.saturating_mul(2)),
    })
}

fn length_of_1(rest: &mut &[u8]) -> Result<usize, ValueError> {
    take::<1>(rest).map(|[len]| len.into())
}

fn length_of_2(rest: &mut &[u8]) -> Result<usize, ValueError> {
    take(rest).map(|len| u16::from_be_bytes(len).into())
}

fn length_of_4(rest: &mut &[u8]) -> Result<usize, ValueError> {
    take(rest).map(|len| u32::from_be_bytes(len) as usize)
}

fn skip_extension(rest: &mut &[u8], len: usize) -> Result<(), ValueError> {
    let [kind] = take::<1>(rest)?.map(|byte| byte as i8);
    if PICKLES.contains(&kind) {
        return Err(ValueError::Pickle(kind));
    }
    skip(rest, len)
}

fn skip(rest: &mut &[u8], len: usize) -> Result<(), ValueError> {
    *rest = rest.get(len..).ok_or(ValueError::CutShort)?;
    Ok(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ValueError> {
    let (front, after) = rest.split_first_chunk::<N>().ok_or(ValueError::CutShort)?;
    *rest = after;
    Ok(*front)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("NaN equals nothing", |x| !x.is_nan()).prop_map(Value::from),
            any::<f32>().prop_filter("NaN equals nothing", |x| !x.is_nan()).prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            vec(any::<u8>(), 0..300).prop_map(Value::from),
            (-128i8..123, vec(any::<u8>(), 0..20)).prop_map(|(kind, data)| Value::Ext(kind, data)),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..20).prop_map(Value::Array),
                vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![0x91; depth];
        bytes.push(0xc0);
        bytes
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(decode(&nested(MAX_DEPTH), 1000).is_ok());
        assert_eq!(decode(&nested(MAX_DEPTH + 1), 1000), Err(ValueError::TooDeep));
        assert_eq!(decode(&nested(1 << 20), usize::MAX), Err(ValueError::TooDeep));
    }

    #[test]
    fn counts_are_bounded_whatever_they_announce() {
        let thousand = encode(&Value::Array(vec![Value::Nil; 1000]));
        assert!(decode(&thousand, 1001).is_ok());
        assert_eq!(decode(&thousand, 1000), Err(ValueError::TooMany));
        assert_eq!(decode(&[0xdf, 0xff, 0xff, 0xff, 0xff], 1000), Err(ValueError::CutShort));
    }

    #[test]
    fn pickles_are_refused_and_other_extensions_are_not() {
        for kind in [123u8, 125, 127] {
            assert_eq!(decode(&[0x91, 0xc7, 1, kind, 0x80], 9), Err(ValueError::Pickle(kind as i8)));
            assert_eq!(decode(&[0xd4, kind, 0x80], 9), Err(ValueError::Pickle(kind as i8)));
        }
        assert_eq!(decode(&[0xd4, 122, 7], 9), Ok(Value::Ext(122, vec![7])));
    }

    #[test]
    fn numbers_may_come_either_way() {
        assert_eq!(as_f64(&Value::from(2)), Some(2.0));
        assert_eq!(as_i64(&Value::from(24103.9)), Some(24103));
        assert_eq!(as_i64(&Value::from("3")), None);
        assert_eq!(as_f64(&Value::from(f64::NAN)), None);
        assert_eq!(as_i64(&Value::from(f64::INFINITY)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn what_is_encoded_is_decoded(value in any_value()) {
            prop_assert_eq!(decode(&encode(&value), usize::MAX), Ok(value));
        }

        #[test]
        fn nothing_that_is_cut_short_or_has_more_is_taken(value in any_value(), more in any::<u8>()) {
            let mut bytes = encode(&value);
            prop_assert_eq!(decode(&bytes[..bytes.len() - 1], usize::MAX), Err(ValueError::CutShort));
            bytes.push(more);
            prop_assert_eq!(decode(&bytes, usize::MAX), Err(ValueError::Trailing(1)));
        }

        #[test]
        fn garbage_never_panics_and_the_walk_agrees_with_the_decoder(bytes in vec(any::<u8>(), 0..80)) {
            if let Err(ValueError::CutShort) = decode(&bytes, usize::MAX) {
                prop_assert!(rmpv::decode::read_value(&mut &bytes[..]).is_err());
            }
        }
    }
}
