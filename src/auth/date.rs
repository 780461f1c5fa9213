//! The date header of a signed request, in every form that clients of the last decade have sent.
//!
//! Clients do not send what HTTP asks for: ISO 8601 from `datetime.isoformat()`, RFC 822 from mail
//! libraries, C's `ctime`. A general date parser is slow and guesses; this one walks the bytes once,
//! allocates nothing, and knows three orders: `2026-11-22T10:47:09` (ISO, basic or extended),
//! `22 Nov 2026 10:47:09` (RFC 822, 850 and 1123) and `Nov 22 10:47:09 2026` (asctime).
//! A zone may follow in each; none, or one nobody knows, means UTC.

#[cfg(test)]
mod tests;

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::Offset,
};

use super::zones;

/// A date header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedDate {
    /// The instant that it names.
    pub instant: Timestamp,
    /// `YYYYMMDD` in the zone that the header itself carries: the first input of the signing key.
    pub ymd: [u8; 8],
}

/// What is left of the header's bytes.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl SignedDate {
    /// Reads a date header; `None` where it is not one of the accepted forms.
    pub fn parse(text: &str) -> Option<SignedDate> {
        let mut cursor = Cursor { rest: text.trim_ascii().as_bytes() };
        let (local, offset) = match cursor.count(u8::is_ascii_digit) {
            4 | 8 => cursor.iso()?,
            1 | 2 => cursor.rfc822()?,
            0 => cursor.worded()?,
            _ => return None,
        };
        cursor.comment();
        if !cursor.rest.is_empty() {
            return None;
        }
        let instant = offset.to_timestamp(local).ok()?;
        Some(SignedDate { instant, ymd: ymd(local.date()) })
    }
}

/// `YYYYMMDD`; the forms above carry years 0 to 9999 only.
fn ymd(date: Date) -> [u8; 8] {
    let number = i32::from(date.year()) * 10_000 + i32::from(date.month()) * 100 + i32::from(date.day());
    let mut rest = number.unsigned_abs();
    let mut digits = [b'0'; 8];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    digits
}

impl<'a> Cursor<'a> {
    /// `2026-11-22T10:47:09.5+09:00`, `20261122T104709Z`, with a blank for the `T` as well.
    fn iso(&mut self) -> Option<(DateTime, Offset)> {
        let year = self.digits(4)?;
        let extended = self.eat(b'-');
        let month = self.digits(2)?;
        if extended && !self.eat(b'-') {
            return None;
        }
        let date = date(year, month, self.digits(2)?)?;
        if !self.eat(b'T') && !self.eat(b't') && self.blanks() == 0 {
            return None;
        }
        let time = self.time()?;
        Some((date.to_datetime(time), self.zone()?))
    }

    /// `22 Nov 2026 10:47:09 GMT`, `22-Nov-26 10:47:09 GMT`.
    fn rfc822(&mut self) -> Option<(DateTime, Offset)> {
        let day = self.number(2)?;
        self.separator()?;
        let month = month(self.letters())?;
        self.separator()?;
        let date = date(self.year()?, month, day)?;
        self.eat(b',');
        self.gap()?;
        let time = self.time()?;
        Some((date.to_datetime(time), self.zone()?))
    }

    /// Begins with a weekday, or with a month as C's asctime does after its weekday.
    fn worded(&mut self) -> Option<(DateTime, Offset)> {
        let mut word = self.letters();
        if is_weekday(word) {
            self.eat(b',');
            self.gap()?;
            if self.count(u8::is_ascii_digit) > 0 {
                return self.rfc822();
            }
            word = self.letters();
        }
        self.asctime(month(word)?)
    }

    /// `Nov 22 10:47:09 2026`; `date` of a shell puts the zone before the year.
    fn asctime(&mut self, month: u16) -> Option<(DateTime, Offset)> {
        self.gap()?;
        let day = self.number(2)?;
        self.gap()?;
        let time = self.time()?;
        let zone_before = self.zone()?;
        self.blanks();
        let date = date(self.digits(4)?, month, day)?;
        let zone_after = self.zone()?;
        let offset = if zone_after == Offset::UTC { zone_before } else { zone_after };
        Some((date.to_datetime(time), offset))
    }

    /// `10:47:09.123456789`, `104709,5`, seconds optional; digits beyond nanoseconds are dropped.
    fn time(&mut self) -> Option<Time> {
        let hour = self.digits(2)?;
        let extended = self.eat(b':');
        let minute = self.digits(2)?;
        let more = if extended { self.eat(b':') } else { self.count(u8::is_ascii_digit) > 0 };
        let second = if more { self.digits(2)? } else { 0 };
        let nanosecond = if more && (self.eat(b'.') || self.eat(b',')) { self.fraction()? } else { 0 };
        let part = |number: u16| i8::try_from(number).ok();
        Time::new(part(hour)?, part(minute)?, part(second)?, nanosecond).ok()
    }

    /// The digits after the decimal sign, as nanoseconds.
    fn fraction(&mut self) -> Option<i32> {
        let digits = self.take(u8::is_ascii_digit);
        if digits.is_empty() {
            return None;
        }
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        Some(padded.fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')))
    }

    /// `Z`, `GMT`, `KST`, `+09`, `+0900`, `-05:00`, `UTC+9`, or nothing: how far it is from UTC.
    fn zone(&mut self) -> Option<Offset> {
        let before = self.rest;
        self.blanks();
        let name = self.letters();
        let seconds = match self.rest.first() {
            Some(b'+' | b'-') => self.numeric_offset()?,
            _ if name.is_empty() => {
                self.rest = before;
                0
            }
            _ => zones::offset_seconds(name).unwrap_or(0),
        };
        Offset::from_seconds(seconds).ok()
    }

    /// `+09`, `+0900`, `+09:00`, in seconds.
    fn numeric_offset(&mut self) -> Option<i32> {
        let sign = if self.eat(b'-') { -1 } else { 1 };
        self.eat(b'+');
        let hours = self.number(2)?;
        let minutes = if self.eat(b':') || self.count(u8::is_ascii_digit) == 2 { self.digits(2)? } else { 0 };
        (hours < 24 && minutes < 60).then(|| sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
    }

    /// A trailing comment such as `(UTC)`, which says again what the offset said.
    fn comment(&mut self) {
        let before = self.rest;
        self.blanks();
        let inside = if self.eat(b'(') { self.take(|byte| *byte != b')') } else { &[] };
        if inside.is_empty() || !self.eat(b')') {
            self.rest = before;
        }
    }

    /// Four digits, or two of the present century.
    fn year(&mut self) -> Option<u16> {
        match self.count(u8::is_ascii_digit) {
            2 => Some(2000 + self.digits(2)?),
            _ => self.digits(4),
        }
    }

    /// A number of one to `most` digits (and no digit after them).
    fn number(&mut self, most: usize) -> Option<u16> {
        let digits = self.count(u8::is_ascii_digit).min(most);
        self.digits(digits.max(1))
    }

    /// A number of exactly `width` digits.
    fn digits(&mut self, width: usize) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(width)?;
        let number = digits.iter().try_fold(0_u16, |sum, digit| {
            digit.is_ascii_digit().then(|| sum.checked_mul(10)?.checked_add(u16::from(digit - b'0'))).flatten()
        })?;
        self.rest = rest;
        Some(number)
    }

    /// A blank or a hyphen between the parts of a date.
    fn separator(&mut self) -> Option<()> {
        (self.eat(b'-') || self.blanks() > 0).then_some(())
    }

    /// At least one blank.
    fn gap(&mut self) -> Option<()> {
        (self.blanks() > 0).then_some(())
    }

    fn blanks(&mut self) -> usize {
        self.take(|byte| *byte == b' ' || *byte == b'\t').len()
    }

    fn letters(&mut self) -> &'a [u8] {
        self.take(u8::is_ascii_alphabetic)
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// How many bytes at the front are of a kind.
    fn count(&self, kind: impl Fn(&u8) -> bool) -> usize {
        self.rest.iter().take_while(|byte| kind(byte)).count()
    }

    fn take(&mut self, kind: impl Fn(&u8) -> bool) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(self.count(kind)).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }
}

fn date(year: u16, month: u16, day: u16) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// The number of a month from its name, whole or its first three letters, in any case.
fn month(word: &[u8]) -> Option<u16> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let index = MONTHS.iter().position(|name| abbreviates(word, name))?;
    u16::try_from(index + 1).ok()
}

fn is_weekday(word: &[u8]) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    DAYS.iter().any(|name| abbreviates(word, name))
}

/// Whether a word of at least three letters is the beginning of a name.
fn abbreviates(word: &[u8], name: &str) -> bool {
    word.len() >= 3 && name.as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}
