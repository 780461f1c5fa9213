//! The forms of the date header.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Option<(String, String)> {
    let date = SignedDate::parse(text)?;
    Some((date.instant.to_string(), String::from_utf8(date.ymd.to_vec()).unwrap()))
}

#[test]
fn every_accepted_form_names_its_instant_and_the_day_of_its_own_zone() {
    let utc = "2026-11-22T10:47:09Z";
    for (text, instant, ymd) in [
        ("Sun, 22 Nov 2026 10:47:09 GMT", utc, "20261122"),
        ("Sun, 22 Nov 2026 10:47:09 +0000", utc, "20261122"),
        ("Sun, 22 Nov 2026 10:47:09 +0000 (UTC)", utc, "20261122"),
        ("Sun, 22 Nov 2026 05:47:09 EST", utc, "20261122"),
        ("Sun, 22 Nov 2026 19:47:09 KST", utc, "20261122"),
        ("Sun, 22 Nov 2026 10:47:09", utc, "20261122"),
        ("22 Nov 2026 10:47:09 GMT", utc, "20261122"),
        ("22 November 2026 10:47:09 GMT", utc, "20261122"),
        ("Sunday, 22-Nov-26 10:47:09 GMT", utc, "20261122"),
        ("Sun Nov 22 10:47:09 2026", utc, "20261122"),
        ("Sun Nov 22 19:47:09 KST 2026", utc, "20261122"),
        ("2026-11-22T10:47:09Z", utc, "20261122"),
        ("2026-11-22T10:47:09", utc, "20261122"),
        ("2026-11-22 10:47:09", utc, "20261122"),
        ("20261122T104709Z", utc, "20261122"),
        ("20261122T104709", utc, "20261122"),
        ("2026-11-22 19:47:09 KST", utc, "20261122"),
        ("2026-11-22T19:47:09+09:00", utc, "20261122"),
        ("2026-11-22T19:47:09+0900", utc, "20261122"),
        ("2026-11-22T19:47:09 +09", utc, "20261122"),
        ("2026-11-22T19:47:09 UTC+9", utc, "20261122"),
        ("20261122T194709+0900", utc, "20261122"),
        ("2026-11-22T10:47:09 XYZ", utc, "20261122"),
        ("2026-11-22T10:47Z", "2026-11-22T10:47:00Z", "20261122"),
        ("2026-11-22T10:47:09.123456", "2026-11-22T10:47:09.123456Z", "20261122"),
        ("2026-11-22T10:47:09.123456789Z", "2026-11-22T10:47:09.123456789Z", "20261122"),
        ("2026-11-22T10:47:09,123Z", "2026-11-22T10:47:09.123Z", "20261122"),
        ("2026-11-22T10:47:09.1234567890123Z", "2026-11-22T10:47:09.123456789Z", "20261122"),
        ("2026-11-23T04:47:09+09:00", "2026-11-22T19:47:09Z", "20261123"),
        ("Sun, 22 Nov 2026 20:47:09 EST", "2026-11-23T01:47:09Z", "20261122"),
        ("Sun, 1 Nov 2026 00:00:00 GMT", "2026-11-01T00:00:00Z", "20261101"),
        ("Sun Nov  1 00:00:00 2026", "2026-11-01T00:00:00Z", "20261101"),
    ] {
        assert_eq!(read(text), Some((instant.to_owned(), ymd.to_owned())), "{text}");
    }
}

#[test]
fn what_is_no_date_with_a_time_is_refused() {
    for text in [
        "",
        " ",
        "1795344429",
        "20261122104709",
        "12345678901234567890",
        "2026-11-22",
        "20261122",
        "Sun, 22 Nov 2026",
        "2026-13-22T10:47:09Z",
        "2026-02-30T10:47:09Z",
        "99999-11-22T10:47:09Z",
        "Sun, 22 Nov 99999 10:47:09 GMT",
        "2026-11-22T25:47:09Z",
        "2026-11-22T10:60:09Z",
        "2026-11-22T10:47:61Z",
        "2026-11-22T10:47:09.Z",
        "2026-11-22T10:47:09+99:00",
        "2026-11-22T10:47:09+00:99",
        "2026-11-22T10:47:09Z trailing",
        "2026-11-22T10:47:09Z (open",
        "Noday, 22 Nov 2026 10:47:09 GMT",
        "Sun, 22 Nob 2026 10:47:09 GMT",
        "yesterday",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
        let _ = SignedDate::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn texts_made_of_the_pieces_of_dates_do_not_panic(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("Sun"), Just(","), Just(" "), Just("22"), Just("Nov"), Just("-"), Just("2026"), Just("10:47"),
                Just(":09"), Just("T"), Just("Z"), Just("+09"), Just("."), Just("123"), Just("("), Just(")"), Just("é"),
            ],
            0..10,
        )
    ) {
        let _ = SignedDate::parse(&pieces.concat());
    }

    #[test]
    fn an_instant_written_in_any_form_and_zone_is_read_again(
        second in 0_i64..4_102_444_800, minutes in -14 * 60_i32..=14 * 60
    ) {
        let instant = Timestamp::from_second(second).unwrap();
        let offset = Offset::from_seconds(minutes * 60).unwrap();
        let local = offset.to_datetime(instant);
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hh, mm) = (minutes.abs() / 60, minutes.abs() % 60);
        let (h, m, s) = (local.hour(), local.minute(), local.second());
        let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = names[usize::try_from(local.month()).unwrap() - 1];
        let ymd = format!("{:04}{:02}{:02}", local.year(), local.month(), local.day());
        for text in [
            format!("{:04}-{:02}-{:02}T{h:02}:{m:02}:{s:02}{sign}{hh:02}:{mm:02}", local.year(), local.month(), local.day()),
            format!("{ymd}T{h:02}{m:02}{s:02}{sign}{hh:02}{mm:02}"),
            format!("Mon, {} {month} {:04} {h:02}:{m:02}:{s:02} {sign}{hh:02}{mm:02}", local.day(), local.year()),
            format!("Mon {month} {:>2} {h:02}:{m:02}:{s:02} {sign}{hh:02}{mm:02} {:04}", local.day(), local.year()),
        ] {
            let date = SignedDate::parse(&text);
            prop_assert_eq!(date.map(|d| d.instant), Some(instant), "{}", text);
            prop_assert_eq!(date.map(|d| d.ymd.to_vec()), Some(ymd.clone().into_bytes()), "{}", text);
        }
    }
}
