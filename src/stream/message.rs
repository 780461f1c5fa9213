//! What a terminal and its client say to each other: JSON in text frames, as clients of 2017 have it.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use bytes::Bytes;
use serde_json::{Value, json};

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// Keys that were pressed.
    Input(Bytes),
    /// Something to be done besides.
    Order(Order),
}

/// What a client wants done with the terminal; each counts as a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The window has another size.
    Resize {
        /// Lines, from 1 to [`LARGEST`].
        rows: u16,
        /// Columns, from 1 to [`LARGEST`].
        cols: u16,
    },
    /// The session is in use.
    Ping,
    /// The kernel shall begin anew.
    Restart,
}

/// Most rows or columns of a window.
pub const LARGEST: u16 = 4096;

/// Accepted with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

// === impl FromClient ===

impl FromClient {
    /// Reads a text frame.
    ///
    /// # Errors
    /// What is wrong with it, for the client to read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let message: Value = serde_json::from_str(text).map_err(|error| format!("the message is not JSON: {error}"))?;
        let Value::Object(message) = message else { return Err("the message is not a JSON object".into()) };
        let size = |name: &str| {
            let number = message.get(name).and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
            number
                .filter(|number| (1..=LARGEST).contains(number))
                .ok_or_else(|| format!("{name} is not a number from 1 to {LARGEST}"))
        };
        match message.get("type").and_then(Value::as_str) {
            Some("stdin") => {
                let chars = message.get("chars").and_then(Value::as_str).ok_or("chars is not a text")?;
                let input = LENIENT.decode(chars).map_err(|error| format!("chars is not base64: {error}"))?;
                Ok(FromClient::Input(input.into()))
            }
            Some("resize") => Ok(FromClient::Order(Order::Resize { rows: size("rows")?, cols: size("cols")? })),
            Some("ping") => Ok(FromClient::Order(Order::Ping)),
            Some("restart") => Ok(FromClient::Order(Order::Restart)),
            _ => Err("type is not one of stdin, resize, ping, restart".into()),
        }
    }
}

/// The frame of a piece of output: raw bytes, which need not be text.
pub fn output(bytes: &[u8]) -> String {
    // Base64 has nothing that JSON escapes.
    let mut frame = String::with_capacity(bytes.len().div_ceil(3) * 4 + 32);
    frame.push_str(r#"{"type":"out","data":""#);
    general_purpose::STANDARD.encode_string(bytes, &mut frame);
    frame.push_str("\"}");
    frame
}

/// The frame of something that went wrong.
pub fn error(text: &str) -> String {
    json!({"type": "error", "data": text}).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn messages_of_old_clients_are_read() {
        let parse = |text: &str| FromClient::parse(text).unwrap();
        assert_eq!(parse(r#"{"type": "stdin", "chars": "bHMNCg=="}"#), FromClient::Input("ls\r\n".into()));
        assert_eq!(parse(r#"{"type":"stdin","chars":"bHMNCg"}"#), FromClient::Input("ls\r\n".into()));
        let size = Order::Resize { rows: 24, cols: 80 };
        assert_eq!(parse(r#"{"type":"resize","rows":24,"cols":80,"more":1}"#), FromClient::Order(size));
        assert_eq!(parse(r#"{"type":"ping"}"#), FromClient::Order(Order::Ping));
        assert_eq!(parse(r#"{"type":"restart"}"#), FromClient::Order(Order::Restart));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let refuse = |text: &str, why: &str| {
            let told = FromClient::parse(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        };
        refuse("", "not JSON");
        refuse("[]", "not a JSON object");
        refuse(r#"{"type":"dance"}"#, "type");
        refuse(r#"{"type":"stdin"}"#, "chars");
        refuse(r#"{"type":"stdin","chars":"?"}"#, "base64");
        refuse(r#"{"type":"resize","rows":0,"cols":80}"#, "rows");
        refuse(r#"{"type":"resize","rows":24,"cols":70000}"#, "cols");
        refuse(r#"{"type":"resize","rows":24.5,"cols":80}"#, "rows");
        refuse(&"[".repeat(10_000), "not JSON");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = FromClient::parse(&text);
        }

        #[test]
        fn any_members_are_read_or_refused(kind in "stdin|resize|ping|restart", value in any::<i64>(), text in ".*") {
            for value in [json!(value), json!(text), json!(null), json!([text]), json!(value as f64)] {
                let message = json!({"type": kind, "chars": value, "rows": value, "cols": value});
                let _ = FromClient::parse(&message.to_string());
            }
        }

        #[test]
        fn bytes_go_both_ways_unchanged(bytes in vec(any::<u8>(), 0..300)) {
            let out: Value = serde_json::from_str(&output(&bytes)).unwrap();
            prop_assert_eq!(out["type"].as_str(), Some("out"));
            let back = json!({"type": "stdin", "chars": out["data"]});
            prop_assert_eq!(FromClient::parse(&back.to_string()), Ok(FromClient::Input(bytes.into())));
        }

        #[test]
        fn an_error_frame_is_json_whatever_it_tells(text in ".*") {
            let frame: Value = serde_json::from_str(&error(&text)).unwrap();
            prop_assert_eq!(frame["data"].as_str(), Some(text.as_str()));
        }
    }
}
