//! Calls of agents that answer well, badly, late, twice or never.

use std::{cell::Cell, rc::Rc};

use futures_util::future::join_all;
use rmpv::Value;

use super::{fake, *};
use crate::agents::{AgentPool, CallError, Settings, client::SEND_ROOM};

/// A pool whose patience fits tests.
fn hasty() -> Rc<AgentPool> {
    AgentPool::with_settings(Settings { handshake: LONG, connect_wait: SHORT, ..Settings::default() })
}

async fn echo(pool: &Rc<AgentPool>, addr: &str) -> Result<Value, CallError> {
    pool.call(addr, "echo", vec!["hi".into()], LONG).await
}

fn in_flight(pool: &AgentPool) -> usize {
    pool.clients.borrow().values().map(|client| client.state.borrow().waiting.len()).sum()
}

#[test]
fn calls_go_over_one_connection_and_are_told_apart_whatever_the_order_of_answers() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        let count = 500u64;
        let calls = (0..count).map(|n| pool.call(&agent.addr, "gather", vec![n.into(), count.into()], LONG));
        let results = join_all(calls).await;
        assert!(results.into_iter().eq((0..count).map(|n| Ok(Value::from(n)))));
        assert_eq!((agent.came.get(), in_flight(&pool)), (1, 0));
    });
}

#[test]
fn what_is_never_answered_times_out_and_frees_its_place() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        assert_eq!(pool.call(&agent.addr, "never", vec![], SHORT).await, Err(CallError::Timeout));
        assert_eq!(in_flight(&pool), 0);
        assert_eq!(echo(&pool, &agent.addr).await, Ok("hi".into()));
        assert_eq!(agent.came.get(), 1);
    });
}

#[test]
fn a_call_that_is_given_up_frees_its_place() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        let call = pool.call(&agent.addr, "never", vec![], LONG);
        assert!(engine::timeout(SHORT, call).await.is_none());
        assert_eq!((pool.len(), in_flight(&pool)), (1, 0));
    });
}

#[test]
fn a_late_answer_is_dropped_and_goes_to_no_other_call() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        assert_eq!(pool.call(&agent.addr, "late", vec![], SHORT).await, Err(CallError::Timeout));
        assert_eq!(pool.call(&agent.addr, "release", vec![], LONG).await, Ok(Value::Nil));
        assert_eq!(echo(&pool, &agent.addr).await, Ok("hi".into()));
        assert_eq!(agent.came.get(), 1);
    });
}

#[test]
fn a_second_answer_and_messages_that_are_none_are_dropped() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        for method in ["twice", "nonsense", "twice", "echo"] {
            assert_eq!(pool.call(&agent.addr, method, vec![method.into()], LONG).await, Ok(method.into()));
        }
        assert_eq!(agent.came.get(), 1);
    });
}

#[test]
fn an_answer_that_is_no_msgpack_or_a_pickle_fails_its_call_alone() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        for method in ["garbage", "pickle"] {
            let result = pool.call(&agent.addr, method, vec![], LONG).await;
            assert!(matches!(result, Err(CallError::Malformed(_))), "{method}: {result:?}");
        }
        assert_eq!(echo(&pool, &agent.addr).await, Ok("hi".into()));
        assert_eq!(agent.came.get(), 1);
    });
}

#[test]
fn an_exception_is_told_as_raised() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        let error = pool.call(&agent.addr, "raise", vec!["boom".into(), 1.into()], LONG).await.unwrap_err();
        assert_eq!(error.exception().unwrap(), "RuntimeError('boom', 1)");
        assert!(!error.is_method_not_found());
    });
}

/// What ends the connection fails every call in flight; the next call connects anew.
fn loses_the_connection(method: &'static str) {
    on_both(move || async move {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        let first = pool.call(&agent.addr, "never", vec![], LONG);
        let second = pool.call(&agent.addr, method, vec![], LONG);
        assert_eq!(futures_util::join!(first, second), (Err(CallError::Lost), Err(CallError::Lost)));
        assert_eq!(in_flight(&pool), 0);
        assert_eq!(echo(&pool, &agent.addr).await, Ok("hi".into()));
        assert_eq!(agent.came.get(), 2);
        until("the lost connection is closed on the agent's side", || agent.open.get() == 1).await;
    });
}

#[test]
fn an_agent_that_closes_amid_calls_loses_them() {
    loses_the_connection("close");
}

#[test]
fn an_agent_that_announces_65_mib_is_cut_off() {
    loses_the_connection("huge");
}

#[test]
fn an_agent_that_breaks_the_framing_is_cut_off() {
    loses_the_connection("flags");
}

#[test]
fn nobody_there_is_unreachable_with_its_reason() {
    on_both(|| async {
        let (fd, addr) = listening();
        drop(fd);
        let error = echo(&hasty(), &format!("tcp://{addr}")).await.unwrap_err();
        let CallError::Unreachable(reason) = &error else { panic!("{error:?}") };
        assert!(reason.contains("refused"), "{reason}");
    });
}

#[test]
fn strangers_are_unreachable() {
    on_both(|| async {
        let pool = hasty();
        for (greeting, reason) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "no ZMTP greeting"),
            (b"", "not connected yet"),
            (b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0PLAIN", "mechanism is not NULL"),
        ] {
            let error = echo(&pool, &fake::stranger(greeting)).await.unwrap_err();
            let CallError::Unreachable(text) = &error else { panic!("{error:?}") };
            assert!(text.contains(reason), "{text}");
        }
        for addr in ["127.0.0.1:6001", "tcp://", "tcp://host", "ipc:///run/agent"] {
            assert!(matches!(echo(&pool, addr).await, Err(CallError::Unreachable(_))), "{addr}");
        }
    });
}

#[test]
fn a_call_waits_for_an_agent_that_comes_a_little_later() {
    on_both(|| async {
        let (fd, addr) = listening();
        drop(fd);
        let (pool, name) = (AgentPool::new(), format!("tcp://{addr}"));
        let refused = || {
            let clients = pool.clients.borrow();
            clients.values().any(|client| client.state.borrow().trouble.contains("refused"))
        };
        let comes = async {
            until("the first try is refused", refused).await;
            let listener = TcpListener::bind(addr).unwrap();
            listener.set_nonblocking(true).unwrap();
            fake::agent_on(listener.into(), addr)
        };
        let (result, _agent) = futures_util::join!(echo(&pool, &name), comes);
        assert_eq!(result, Ok("hi".into()));
    });
}

#[test]
fn an_unused_connection_is_closed_and_one_in_use_is_not() {
    on_both(|| async {
        let agent = fake::agent();
        let pool = AgentPool::with_settings(Settings { idle: Duration::from_millis(30), ..Settings::default() });
        // In use for several times as long as an unused connection may live.
        assert_eq!(pool.call(&agent.addr, "never", vec![], SHORT).await, Err(CallError::Timeout));
        assert_eq!(agent.came.get(), 1);
        until("the connection is closed", || pool.is_empty() && agent.open.get() == 0).await;
        assert_eq!(echo(&pool, &agent.addr).await, Ok("hi".into()));
        assert_eq!(agent.came.get(), 2);
    });
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        let one = 1 << 20;
        assert_eq!(pool.call(&agent.addr, "stop_reading", vec![], SHORT).await, Err(CallError::Timeout));
        let most = Rc::new(Cell::new(0));
        let watch = {
            let (pool, most) = (pool.clone(), most.clone());
            async move {
                loop {
                    for client in pool.clients.borrow().values() {
                        let mut state = client.state.borrow_mut();
                        let queued = state.session.as_mut().map_or(0, |session| session.output().len());
                        most.set(most.get().max(queued));
                    }
                    engine::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        let calls = (0..64).map(|_| pool.call(&agent.addr, "never", vec![Value::Binary(vec![0; one])], 2 * SHORT));
        let (calls, watched) = futures_util::join!(join_all(calls), engine::timeout(2 * SHORT, watch));
        assert!(calls.into_iter().all(|result| result == Err(CallError::Timeout)) && watched.is_none());
        assert!((SEND_ROOM..=SEND_ROOM + one + 100).contains(&most.get()), "{}", most.get());
    });
}

#[test]
fn long_arguments_and_results_go_through() {
    on_both(|| async {
        let (agent, pool) = (fake::agent(), AgentPool::new());
        let long = Value::Binary((0..20 << 20).map(|n: u32| n as u8).collect());
        let calls = (0..3).map(|_| pool.call(&agent.addr, "echo", vec![long.clone()], LONG));
        assert!(join_all(calls).await.into_iter().all(|result| result.as_ref() == Ok(&long)));
    });
}
