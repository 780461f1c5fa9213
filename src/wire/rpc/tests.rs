//! Calls and answers as recorded from agents 1.0.6 and 1.3.7, and of our own making.

use proptest::{collection::vec, prelude::*};

use super::*;

fn hex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn bytes<const N: usize>(frames: [Vec<u8>; N]) -> Vec<Bytes> {
    frames.into_iter().map(Bytes::from).collect()
}

/// The answer that an agent gave in these two frames.
fn answered(header: &str, body: &str) -> Result<Value, RemoteError> {
    Answer::parse(&[hex(header), hex(body)]).unwrap().result().unwrap()
}

/// The text of the error that an agent answered with this body.
fn error_text(body: &str) -> String {
    answered("e60f927801000000ead84fc9b2c0da4101", body).unwrap_err().to_string()
}

#[test]
fn a_recorded_request_is_read_and_written_alike() {
    let frames = [
        hex("a627e9f1010000009c548be3b2c0da41"),
        hex("65786563757465"),
        hex(concat!(
            "9602d92466336330333339392d336165322d343937322d616133382d343537383461636463363162b061363937353563376132",
            "646234363831a57175657279a579203d203580"
        )),
        hex("80"),
    ];
    let request = Request::parse(&frames).unwrap();
    assert_eq!((request.header.pid, request.header.random, request.header.id), (10150, 61929, 1));
    assert_eq!((request.header.time * 1e6).round() / 1e6, 1795345294.177039);
    assert_eq!(request.method, "execute");
    let kernel = "f3c03399-3ae2-4972-aa38-45784acdc61b";
    let args: Vec<Value> =
        vec![2.into(), kernel.into(), "a69755c7a2db4681".into(), "query".into(), "y = 5".into(), Value::Map(vec![])];
    assert_eq!(request.args, args);
    assert_eq!(request.kwargs, vec![]);
    assert_eq!(bytes(Request::frames(&request.header, "execute", args)), frames);
}

#[test]
fn slots_of_a_recorded_creation_keep_their_types() {
    let args = hex(concat!(
        "92d92466336330333339392d336165322d343937322d616133382d34353738346163646336316284a46c616e67ad707974686f6e3a6c61",
        "74657374a66c696d69747383a86d656d5f736c6f7401a86370755f736c6f74cb3ff0000000000000a86770755f736c6f74cb0000000000",
        "000000a66d6f756e747390a7656e7669726f6e80"
    ));
    let value = value::decode(&args, 100).unwrap();
    let limits = value::get(&value.as_array().unwrap()[1], "limits").unwrap();
    assert_eq!(value::get(limits, "mem_slot"), Some(&Value::from(1)));
    assert_eq!(value::get(limits, "cpu_slot"), Some(&Value::F64(1.0)));
    assert_eq!(value::encode(&value), args);
}

#[test]
fn a_recorded_answer_is_read() {
    let answer = Answer::parse(&[hex("e60f92780100000033b736a2b2c0da4100"), hex("a26869")]).unwrap();
    assert_eq!((answer.header.pid, answer.header.id, answer.is_error), (4070, 1, false));
    assert_eq!(answer.result(), Ok(Ok("hi".into())));
    let header = answer.header;
    assert_eq!(
        bytes(Answer::frames(&header, Ok(&"hi".into()))),
        [hex("e60f92780100000033b736a2b2c0da4100"), hex("a26869")]
    );
}

#[test]
fn recorded_errors_read_as_users_see_them() {
    let not_found = concat!(
        "93bd61696f7a6d712e7270632e626173652e4e6f74466f756e644572726f7291ae6e6f5f737563685f6d6574686f64d9204e6f74466f75",
        "6e644572726f7228276e6f5f737563685f6d6574686f64272c29"
    );
    let error = answered("e60f927801000000ead84fc9b2c0da4101", not_found).unwrap_err();
    assert!(error.is_method_not_found());
    assert_eq!(error.repr, "NotFoundError('no_such_method',)");
    assert_eq!(error.to_string(), "aiozmq.rpc.base.NotFoundError('no_such_method')");

    let file_not_found = concat!(
        "93ba6275696c74696e732e46696c654e6f74466f756e644572726f729202b94e6f20737563682066696c65206f72206469726563746f72",
        "79d93146696c654e6f74466f756e644572726f7228322c20274e6f20737563682066696c65206f72206469726563746f72792729"
    );
    assert_eq!(error_text(file_not_found), "FileNotFoundError(2, 'No such file or directory')");

    let type_error = concat!(
        "93b26275696c74696e732e547970654572726f7291d921274e6f6e655479706527206f626a656374206973206e6f74206974657261626c",
        "65d92f547970654572726f722822274e6f6e655479706527206f626a656374206973206e6f74206974657261626c65222c29"
    );
    assert_eq!(error_text(type_error), "TypeError(\"'NoneType' object is not iterable\")");

    let assertion = "93b76275696c74696e732e417373657274696f6e4572726f7290b0417373657274696f6e4572726f722829";
    assert_eq!(error_text(assertion), "AssertionError()");
}

#[test]
fn an_error_without_arguments_is_told_by_its_repr() {
    let docker = concat!(
        "93d92061696f646f636b65722e657863657074696f6e732e446f636b65724572726f7290d96a446f636b65724572726f72283430342c20",
        "276e6f207375636820696d6167653a206c61626c75702f6b65726e656c2d6e6f737563683a6c61746573743a204e6f207375636820696d",
        "6167653a206c61626c75702f6b65726e656c2d6e6f737563683a6c61746573742729"
    );
    let expected = concat!(
        "aiodocker.exceptions.DockerError(404, 'no such image: lablup/kernel-nosuch:latest: ",
        "No such image: lablup/kernel-nosuch:latest')"
    );
    assert_eq!(error_text(docker), expected);
}

#[test]
fn errors_of_our_own_agent_go_both_ways() {
    let error = RemoteError::new("builtins.RuntimeError", vec!["boom".into(), 1.into()]);
    assert_eq!(error.to_string(), "RuntimeError('boom', 1)");
    assert_eq!(error.repr, "RuntimeError('boom', 1)");
    let frames = bytes(Answer::frames(&Header { id: 7, ..Header::default() }, Err(&error)));
    let answer = Answer::parse(&frames).unwrap();
    assert!(answer.is_error);
    assert_eq!(answer.result(), Ok(Err(error)));
    assert!(RemoteError::method_not_found("reboot").is_method_not_found());
}

#[test]
fn what_is_no_call_and_no_answer_is_refused() {
    let call = bytes(Request::frames(&Header::default(), "ping", vec![]));
    let with = |at: usize, frame: &[u8]| {
        let mut frames = call.clone();
        frames[at] = Bytes::copy_from_slice(frame);
        Request::parse(&frames).unwrap_err()
    };
    assert_eq!(with(0, &[0; 15]), RpcError::Header(15));
    assert_eq!(with(1, b"\xff"), RpcError::Method);
    assert_eq!(with(1, &[b'a'; 257]), RpcError::Method);
    assert_eq!(with(2, &[0x80]), RpcError::Shape);
    assert_eq!(with(2, &[0xc1]), RpcError::Value(ValueError::Reserved));
    assert_eq!(with(3, &[0x90]), RpcError::Shape);
    assert_eq!(Request::parse(&call[..3]), Err(RpcError::Frames(3)));

    assert_eq!(Answer::parse(&[]), Err(RpcError::Frames(0)));
    assert_eq!(Answer::parse(&[Bytes::from_static(&[0; 16]), Bytes::new()]), Err(RpcError::Header(16)));
    let mut header = [0; 17];
    header[16] = 1;
    for body in [b"\xa1x".as_slice(), b"\x92\xa1x\x90", b"\x93\xa1x\x90\xc0", b"\x93\xa1x\xc0\xa1x"] {
        let answer = Answer::parse(&[Bytes::copy_from_slice(&header), Bytes::copy_from_slice(body)]).unwrap();
        assert_eq!(answer.result(), Err(RpcError::Shape));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn headers_go_both_ways(pid: u16, random: u16, id: u32, time in 0.0f64..1e12) {
        let header = Header { pid, random, id, time };
        prop_assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
    }

    #[test]
    fn garbage_never_panics(frames in vec(vec(any::<u8>(), 0..40), 0..6)) {
        let frames: Vec<_> = frames.into_iter().map(Bytes::from).collect();
        let _ = Request::parse(&frames);
        let _ = Answer::parse(&frames).map(|answer| answer.result().map(|result| result.map_err(|e| e.to_string())));
    }
}
