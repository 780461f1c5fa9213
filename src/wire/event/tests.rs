//! Events as recorded from agents 1.0.6 and 1.3.7, and of our own making.

use proptest::{collection::vec, prelude::*};

use super::*;

fn hex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn recorded(name: &str, args: &str) -> EventKind {
    let event = Event::parse(&[Bytes::copy_from_slice(name.as_bytes()), hex("692d766d"), hex(args)]).unwrap();
    assert_eq!(event.agent, "i-vm");
    event.kind
}

fn parse(name: &str, args: &[u8]) -> Result<EventKind, EventError> {
    let frames = [name.as_bytes(), b"i-1", args].map(Bytes::copy_from_slice);
    Event::parse(&frames).map(|event| event.kind)
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        ip: "127.0.0.1".into(),
        region: "local/unknown".into(),
        addr: "tcp://127.0.0.1:26001".into(),
        mem_slots: 24103,
        cpu_slots: 2.0,
        gpu_slots: 0.0,
        images: None,
        kernels: None,
        read_only_mounts: false,
    }
}

fn there_and_back(kind: EventKind) -> EventKind {
    let event = Event { agent: "i-1".into(), kind };
    Event::parse(&event.frames().map(Bytes::from)).unwrap().kind
}

#[test]
fn a_heartbeat_of_release_1_0_has_no_images() {
    let args = concat!(
        "9186a26970a93132372e302e302e31a6726567696f6ead6c6f63616c2f756e6b6e6f776ea461646472b57463703a2f2f3132372e302e30",
        "2e313a3236303031a96d656d5f736c6f7473cd5e27a96370755f736c6f747302a96770755f736c6f747300"
    );
    assert_eq!(recorded("instance_heartbeat", args), EventKind::Heartbeat(heartbeat()));
}

#[test]
fn an_agent_that_says_only_its_address_is_called_at_the_usual_port() {
    let beat = |ip: &str, addr: Value| {
        let said = EventKind::Heartbeat(Heartbeat { ip: ip.into(), ..heartbeat() }).args();
        let Some(Value::Map(mut pairs)) = said.into_iter().next() else { panic!("no map") };
        pairs.retain(|(key, _)| key.as_str() != Some("addr"));
        pairs.push(("addr".into(), addr));
        let kind = parse("instance_heartbeat", &value::encode(&Value::Array(vec![Value::Map(pairs)])));
        kind.map(|kind| match (Event { agent: "i-1".into(), kind }.with_agent_port(6001)).kind {
            EventKind::Heartbeat(beat) => beat.addr,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(beat("10.0.0.7", Value::Nil).unwrap(), "tcp://10.0.0.7:6001");
    assert_eq!(beat("fd00::7", Value::Nil).unwrap(), "tcp://[fd00::7]:6001");
    assert_eq!(beat("10.0.0.7", "tcp://10.0.0.8:7".into()).unwrap(), "tcp://10.0.0.8:7");
    assert_eq!(beat("10.0.0.7", 7.into()), Err(EventError::Argument("addr")));
}

#[test]
fn a_heartbeat_of_release_1_3_has_images() {
    // The recorded one, its images cut to 4 bytes.
    let args = concat!(
        "9187a26970a93132372e302e302e31a6726567696f6ead6c6f63616c2f756e6b6e6f776ea461646472b57463703a2f2f3132372e302e30",
        "2e313a3236303031a96d656d5f736c6f7473cd5e27a96370755f736c6f747302a96770755f736c6f747300a6696d61676573c404dd02f069"
    );
    let images = Some(Value::Binary(vec![0xdd, 2, 0xf0, 0x69]));
    assert_eq!(recorded("instance_heartbeat", args), EventKind::Heartbeat(Heartbeat { images, ..heartbeat() }));
}

#[test]
fn recorded_events_are_read() {
    assert_eq!(recorded("instance_started", "90"), EventKind::Started);
    let reason = "shutdown".into();
    assert_eq!(recorded("instance_terminated", "91a873687574646f776e"), EventKind::Terminated { reason });
    let creating = "91d92463303164643564622d633539642d346331342d383539312d653630343931663562376134";
    let id = "c01dd5db-c59d-4c14-8591-e60491f5b7a4".into();
    assert_eq!(recorded("kernel_creating", creating), EventKind::KernelCreating { id });
    let terminated = concat!(
        "93d92466336330333339392d336165322d343937322d616133382d343537383461636463363162af73656c662d7465726d696e61746564",
        "c0"
    );
    let id = "f3c03399-3ae2-4972-aa38-45784acdc61b".into();
    let reason = "self-terminated".into();
    let expected = EventKind::KernelTerminated { id, reason, stats: None };
    assert_eq!(recorded("kernel_terminated", terminated), expected);
}

#[test]
fn events_of_our_own_agent_go_both_ways() {
    let stats = Value::Map(vec![("cpu_used".into(), 928.69.into())]);
    for kind in [
        EventKind::Heartbeat(Heartbeat { cpu_slots: 1.5, ..heartbeat() }),
        EventKind::Heartbeat(Heartbeat { images: Some(Value::Binary(vec![1])), kernels: Some(vec![]), ..heartbeat() }),
        EventKind::Heartbeat(Heartbeat { kernels: Some(vec!["a".into(), "b".into()]), ..heartbeat() }),
        EventKind::Started,
        EventKind::Terminated { reason: "agent-restart".into() },
        EventKind::KernelCreating { id: "k".into() },
        EventKind::KernelTerminated { id: "k".into(), reason: "destroyed".into(), stats: Some(stats.clone()) },
        EventKind::KernelTerminated { id: "k".into(), reason: "destroyed".into(), stats: None },
        EventKind::Stats(Value::Map(vec![("k".into(), stats)])),
        EventKind::Unknown("volume_mounted".into()),
    ] {
        assert_eq!(there_and_back(kind.clone()), kind);
    }
}

#[test]
fn slots_may_be_integers_or_floats_but_not_negative_or_text() {
    let with = |mem: Value, cpu: Value| {
        let mut value = heartbeat().to_value();
        let Value::Map(pairs) = &mut value else { unreachable!() };
        pairs[3].1 = mem;
        pairs[4].1 = cpu;
        Heartbeat::from_value(value)
    };
    assert_eq!(with(24103.0.into(), 2.into()), Ok(heartbeat()));
    assert_eq!(with((-1).into(), 2.into()), Err(EventError::Argument("mem_slots")));
    assert_eq!(with(1.into(), "2".into()), Err(EventError::Argument("cpu_slots")));
    assert_eq!(with(1.into(), f64::NAN.into()), Err(EventError::Argument("cpu_slots")));
}

#[test]
fn texts_that_the_database_cannot_keep_are_refused() {
    let with = |region: &str| Heartbeat::from_value(Heartbeat { region: region.into(), ..heartbeat() }.to_value());
    assert!(with(&"é".repeat(64)).is_ok());
    assert_eq!(with(&"é".repeat(65)), Err(EventError::Argument("region")));
    assert_eq!(with("a\0"), Err(EventError::Argument("region")));
    assert_eq!(parse("kernel_creating", b"\x91\xa2a\0"), Err(EventError::Argument("kernel id")));
}

#[test]
fn later_releases_may_append_arguments() {
    assert_eq!(parse("instance_started", &[0x91, 0xc0]), Ok(EventKind::Started));
    assert_eq!(parse("instance_terminated", &[0x92, 0xa1, b'x', 0xc0]), {
        Ok(EventKind::Terminated { reason: "x".into() })
    });
}

#[test]
fn what_is_no_event_says_why() {
    assert_eq!(parse("instance_started", &[0xc1]), Err(EventError::Value(ValueError::Reserved)));
    assert_eq!(parse("instance_started", &[0x80]), Err(EventError::Argument("list")));
    assert_eq!(parse("kernel_creating", &[0x90]), Err(EventError::Argument("kernel id")));
    assert_eq!(parse("instance_stats", &[0x91, 0xc0]), Err(EventError::Argument("statistics")));
    assert_eq!(parse("", &[0x90]), Err(EventError::Name("event")));
    assert_eq!(Event::parse(&[]), Err(EventError::Frames(0)));
    for agent in [&b""[..], b"\xff", b"a\nb", &[b'a'; 65]] {
        let frames = [&b"instance_started"[..], agent, &[0x90]].map(Bytes::copy_from_slice);
        assert_eq!(Event::parse(&frames), Err(EventError::Name("agent")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn garbage_never_panics(name in 0usize..6, args in vec(any::<u8>(), 0..60)) {
        let names = ["instance_heartbeat", "instance_terminated", "kernel_creating", "kernel_terminated",
            "instance_stats", "other"];
        let _ = parse(names[name], &args);
    }
}
