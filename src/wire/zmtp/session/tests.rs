//! Sessions against each other, and against bytes recorded from a running agent.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Greeting and READY of an agent's RPC socket (libzmq 4.1, ROUTER).
const AGENT_GREETING: &str = "ff00000000000000017f03004e554c4c000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
const AGENT_READY: &str = "04290552454144590b536f636b65742d5479706500000006524f55544552084964656e7469747900000000";
/// What a dealer sent to it.
const DEALER_GREETING: &str = "ff00000000000000007f03004e554c4c000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
const DEALER_READY: &str = "04290552454144590b536f636b65742d54797065000000064445414c4552084964656e7469747900000000";
/// A ping and its answer, as they went over the wire.
const PING_REQUEST: &str = "0110d204e11001000000000000c00b5ad641010470696e67010491a26869000180";
const PING_ANSWER: &str = "0111e60f92780100000033b736a2b2c0da41000003a26869";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn session(socket: SocketType) -> Session {
    Session::new(socket, b"", Limits::RPC)
}

fn events(session: &mut Session) -> Result<Vec<Event>, ZmtpError> {
    let mut events = Vec::new();
    while let Some(event) = session.next_event()? {
        events.push(event);
    }
    Ok(events)
}

/// Moves bytes both ways until neither side has any; gives what each saw.
fn settle(a: &mut Session, b: &mut Session) -> (Vec<Event>, Vec<Event>) {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    while !a.output().is_empty() || !b.output().is_empty() {
        let (to_b, to_a) = (a.output().split(), b.output().split());
        b.feed(&to_b);
        a.feed(&to_a);
        of_a.extend(events(a).unwrap());
        of_b.extend(events(b).unwrap());
    }
    (of_a, of_b)
}

fn pair(a: SocketType, b: SocketType) -> (Session, Session) {
    let (mut a, mut b) = (session(a), session(b));
    settle(&mut a, &mut b);
    assert!(a.is_ready() && b.is_ready());
    (a, b)
}

#[test]
fn a_recorded_agent_is_greeted_and_answered_byte_for_byte() {
    let mut dealer = session(SocketType::Dealer);
    dealer.feed(&hex(AGENT_GREETING));
    assert_eq!(dealer.next_event(), Ok(None));
    assert_eq!(&dealer.output().split()[..], [hex(DEALER_GREETING), hex(DEALER_READY)].concat());
    dealer.feed(&hex(AGENT_READY));
    let ready = Event::Ready { peer: SocketType::Router, identity: Bytes::new() };
    assert_eq!(dealer.next_event(), Ok(Some(ready)));

    let header = hex("d204e11001000000000000c00b5ad641");
    dealer.send(&[header, b"ping".to_vec(), hex("91a26869"), hex("80")]);
    assert_eq!(&dealer.output().split()[..], hex(PING_REQUEST));
    dealer.feed(&hex(PING_ANSWER));
    let answer = vec![hex("e60f92780100000033b736a2b2c0da4100").into(), hex("a26869").into()];
    assert_eq!(dealer.next_event(), Ok(Some(Event::Message(answer))));
}

#[test]
fn both_sides_are_ready_after_the_handshake_and_know_each_other() {
    let (mut router, mut dealer) = (session(SocketType::Router), Session::new(SocketType::Dealer, b"w1", Limits::RPC));
    let (of_router, of_dealer) = settle(&mut router, &mut dealer);
    let ready = |peer, identity| vec![Event::Ready { peer, identity: Bytes::from_static(identity) }];
    assert_eq!(of_router, ready(SocketType::Dealer, b"w1"));
    assert_eq!(of_dealer, ready(SocketType::Router, b""));
}

#[test]
fn sockets_that_do_not_go_together_are_refused() {
    let (mut pull, mut dealer) = (session(SocketType::Pull), session(SocketType::Dealer));
    pull.feed(&dealer.output().split());
    assert_eq!(events(&mut pull), Ok(vec![]));
    dealer.feed(&pull.output().split());
    let error = ZmtpError::Incompatible { ours: SocketType::Dealer, theirs: SocketType::Pull };
    assert_eq!(events(&mut dealer), Err(error));
}

#[test]
fn traffic_before_ready_and_unknown_sockets_are_refused() {
    for (bytes, error) in [
        (b"\x00\x01a".as_slice(), ZmtpError::NotReady),
        (b"\x04\x05\x04PING", ZmtpError::Command),
        (b"\x04\x07\x04PING\0\0", ZmtpError::NotReady),
        (b"\x04\x06\x05READY", ZmtpError::UnknownSocket),
        (b"\x04\x09\x05ERROR\x02no", ZmtpError::Refused("no".into())),
    ] {
        let mut dealer = session(SocketType::Dealer);
        dealer.feed(&hex(AGENT_GREETING));
        dealer.feed(bytes);
        assert_eq!(events(&mut dealer), Err(error));
    }
}

#[test]
fn ping_is_answered_with_its_context() {
    let (mut pull, _push) = pair(SocketType::Pull, SocketType::Push);
    pull.feed(b"\x04\x0a\x04PING\0\x0aabc");
    assert_eq!(pull.next_event(), Ok(None));
    assert_eq!(&pull.output().split()[..], b"\x04\x08\x04PONGabc");
}

#[test]
fn a_peer_that_pings_but_never_reads_does_not_fill_memory() {
    let (mut pull, _push) = pair(SocketType::Pull, SocketType::Push);
    for _ in 0..20_000 {
        pull.feed(b"\x04\x0a\x04PING\0\x0aabc");
        assert_eq!(pull.next_event(), Ok(None));
    }
    assert!(pull.output().len() <= PONG_ROOM + 16);
}

#[test]
fn subscriptions_are_messages_and_commands_alike() {
    let (mut publisher, mut subscriber) = pair(SocketType::Pub, SocketType::Sub);
    subscriber.subscribe(b"");
    subscriber.subscribe(b"ab");
    publisher.feed(&subscriber.output().split());
    publisher.feed(b"\x00\x03\x00ab\x04\x0b\x09SUBSCRIBEx\x04\x08\x06CANCELx");
    let bytes = Bytes::from_static;
    let expected = [
        Event::Subscribe(bytes(b"")),
        Event::Subscribe(bytes(b"ab")),
        Event::Cancel(bytes(b"ab")),
        Event::Subscribe(bytes(b"x")),
        Event::Cancel(bytes(b"x")),
    ];
    assert_eq!(events(&mut publisher).unwrap(), expected);
    publisher.send(&[b"\x01out"]);
    subscriber.feed(&publisher.output().split());
    assert_eq!(subscriber.next_event(), Ok(Some(Event::Message(vec![bytes(b"\x01out")]))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_split_of_handshake_and_traffic_gives_the_same_events(
        cuts in vec(1usize..40, 1..16),
        frames in vec(vec(any::<u8>(), 0..300), 1..6),
    ) {
        let mut stream = BytesMut::from(&[hex(AGENT_GREETING), hex(AGENT_READY)].concat()[..]);
        encode_message(&mut stream, &frames);
        let mut dealer = session(SocketType::Dealer);
        let (mut got, mut cuts) = (Vec::new(), cuts.into_iter().cycle());
        while !stream.is_empty() {
            dealer.feed(&stream.split_to(cuts.next().unwrap().min(stream.len())));
            got.extend(events(&mut dealer).unwrap());
        }
        let message = Event::Message(frames.into_iter().map(Bytes::from).collect());
        let ready = Event::Ready { peer: SocketType::Router, identity: Bytes::new() };
        prop_assert_eq!(got, vec![ready, message]);
    }

    #[test]
    fn garbage_never_panics_at_any_stage(stage in 0usize..3, garbage in vec(any::<u8>(), 0..200)) {
        let mut dealer = session(SocketType::Dealer);
        let start = [hex(AGENT_GREETING), hex(AGENT_READY)];
        start[..stage].iter().for_each(|bytes| dealer.feed(bytes));
        dealer.feed(&garbage);
        let _ = events(&mut dealer);
    }

    #[test]
    fn mutated_traffic_never_panics(at in 0usize..200, byte in any::<u8>()) {
        let mut bytes = [hex(AGENT_GREETING), hex(AGENT_READY), hex(PING_ANSWER)].concat();
        let at = at % bytes.len();
        bytes[at] = byte;
        let mut dealer = session(SocketType::Dealer);
        dealer.feed(&bytes);
        let _ = events(&mut dealer);
    }
}
