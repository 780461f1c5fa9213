//! Agents that do nothing, at once: what is measured then is the gateway.
//!
//! One process is any number of agents, each on a port of its own, speaking the agent protocol of release 1.3 as the
//! gateway's own library frames it. Kernels are names; every run is finished with its answer. They share one terminal,
//! which shows a word to who comes and then nothing, and has no limit of viewers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use backendai::{
    agents::{Link, LinkError},
    wire::{
        event::{Event, EventKind, Heartbeat},
        rpc::{Answer, RemoteError, Request},
        zmtp::{self, Limits, Session, SocketType},
    },
};
use rmpv::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

use crate::{error::Error, load, terminals};

/// What the fleet says on its output once every agent takes calls and has told that it lives.
pub const READY: &str = "fleet ready";

/// How often an agent tells that it lives.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Pause before an agent tries again to reach the gateway.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest time for the first heartbeats to be sent.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What each agent has: more than any measurement takes. MiB, cores, GPUs.
const SLOTS: (i64, f64, f64) = (1 << 30, 1e6, 0.0);

/// The fleet to be.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many agents.
    pub agents: u16,
    /// The port of the first; the others follow, then the two of the terminal.
    pub port: u16,
    /// Where the gateway takes events.
    pub events: SocketAddr,
}

/// Runs a fleet until this process is ended.
///
/// # Errors
/// A port is taken, or the gateway does not take events.
pub fn run(fleet: Fleet) -> Result<(), Error> {
    load::only_loopback(fleet.events)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("no runtime"))?;
    LocalSet::new().block_on(&runtime, serve(fleet))
}

async fn serve(fleet: Fleet) -> Result<(), Error> {
    let told = Rc::new(tokio::sync::Semaphore::new(0));
    let bind = async |number: u16| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fleet.port.saturating_add(number)));
        let listener = TcpListener::bind(address).await.map_err(Error::io(format!("port {}", address.port())));
        listener.map(|listener| (address, listener))
    };
    let (stdin, input) = bind(fleet.agents).await?;
    let (stdout, output) = bind(fleet.agents.saturating_add(1)).await?;
    let terminal = [stdin.port(), stdout.port()];
    tokio::task::spawn_local(accept(input, take_input));
    tokio::task::spawn_local(accept(output, show_once));
    for number in 0..fleet.agents {
        let (address, listener) = bind(number).await?;
        tokio::task::spawn_local(accept(listener, move |stream| answer(stream, terminal)));
        tokio::task::spawn_local(live(format!("i-bench-{number:04}"), address, fleet.events, told.clone()));
    }
    let all = tokio::time::timeout(START_LIMIT, told.acquire_many(fleet.agents.into())).await;
    let all = all.map_err(|_| Error::failed(format!("no gateway takes events at {}", fleet.events)))?;
    all.map(drop).map_err(Error::failed)?;
    println!("{READY}");
    std::future::pending().await
}

async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = Result<(), LinkError>> + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say.
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let serving = serve(stream);
        tokio::task::spawn_local(async move {
            // A gateway that hangs up ends only this connection.
            let _ = serving.await;
        });
    }
}

/// The terminal's input, which goes nowhere.
async fn take_input(stream: TcpStream) -> Result<(), LinkError> {
    let mut link = Link::handshake(stream, Session::new(SocketType::Sub, b"", Limits::RPC)).await?;
    link.session().subscribe(b"");
    loop {
        link.next().await?;
    }
}

/// The terminal's output.
async fn show_once(stream: TcpStream) -> Result<(), LinkError> {
    let mut link = Link::handshake(stream, Session::new(SocketType::Pub, b"", Limits::RPC)).await?;
    loop {
        if let zmtp::Event::Subscribe(_) = link.next().await? {
            link.send(&[terminals::SHOWN.0]).await?;
        }
    }
}

async fn answer(stream: TcpStream, terminal: [u16; 2]) -> Result<(), LinkError> {
    stream.set_nodelay(true)?;
    let mut link = Link::handshake(stream, Session::new(SocketType::Router, b"", Limits::RPC)).await?;
    loop {
        let zmtp::Event::Message(frames) = link.next().await? else { continue };
        let Ok(request) = Request::parse(&frames) else { continue };
        let result = result(&request, terminal);
        // It leaves with the others of this turn, before the next is waited for.
        link.session().send(&Answer::frames(&request.header, result.as_ref()));
    }
}

/// What a method gives.
fn result(request: &Request, [stdin, stdout]: [u16; 2]) -> Result<Value, RemoteError> {
    let argument = |index: usize| request.args.get(index).cloned().unwrap_or(Value::Nil);
    Ok(match request.method.as_str() {
        "ping" => argument(0),
        "create_kernel" | "restart_kernel" => map(vec![
            ("id", argument(0)),
            ("container_id", "bench".into()),
            ("repl_in_port", 1.into()),
            ("repl_out_port", 2.into()),
            ("stdin_port", stdin.into()),
            ("stdout_port", stdout.into()),
            ("cpu_set", Value::Array(vec![])),
            ("gpu_set", Value::Array(vec![])),
        ]),
        "execute" => map(vec![
            ("runId", argument(2)),
            ("status", "finished".into()),
            ("exitCode", 0.into()),
            ("console", Value::Array(vec![Value::Array(vec!["stdout".into(), "42\n".into()])])),
            ("completions", Value::Array(vec![])),
            ("options", map(vec![])),
            ("files", Value::Array(vec![])),
        ]),
        "get_completions" => map(vec![("status", "finished".into()), ("completions", Value::Array(vec![]))]),
        "get_logs" => map(vec![("logs", "".into())]),
        "destroy_kernel" => map(vec![("cpu_used", 1.0.into()), ("mem_max_bytes", 1.into())]),
        "interrupt_kernel" | "upload_file" | "reset" => Value::Nil,
        other => return Err(RemoteError::method_not_found(other)),
    })
}

fn map(pairs: Vec<(&str, Value)>) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// Tells the gateway, over and over, that an agent lives.
async fn live(id: String, address: SocketAddr, events: SocketAddr, told: Rc<tokio::sync::Semaphore>) {
    let mut first = true;
    loop {
        if let Ok(mut link) = to_gateway(events).await {
            while link.send(&beat(&id, address).frames()).await.is_ok() {
                if std::mem::take(&mut first) {
                    told.add_permits(1);
                }
                tokio::time::sleep(HEARTBEAT).await;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn to_gateway(events: SocketAddr) -> Result<Link<TcpStream>, LinkError> {
    let stream = TcpStream::connect(events).await?;
    Link::handshake(stream, Session::new(SocketType::Push, b"", Limits::EVENTS)).await
}

fn beat(id: &str, address: SocketAddr) -> Event {
    let (mem_slots, cpu_slots, gpu_slots) = SLOTS;
    let heartbeat = Heartbeat {
        ip: address.ip().to_string(),
        region: "bench".into(),
        addr: format!("tcp://{address}"),
        mem_slots,
        cpu_slots,
        gpu_slots,
        // As release 1.1 and later: the gateway then knows that many runs at once do no harm.
        images: Some(Value::Binary(vec![])),
        kernels: None,
        read_only_mounts: false,
    };
    Event { agent: id.to_owned(), kind: EventKind::Heartbeat(heartbeat) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backendai::{agents::AgentPool, engine};

    use super::*;

    #[test]
    fn the_gateways_own_client_gets_what_it_needs() {
        // The fleet's side runs on a thread of its own, as the two drive different runtimes.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                accept(listener, |stream| answer(stream, [3, 4])).await;
            });
        });
        let address = format!("tcp://{}", receiver.recv().unwrap());
        let limit = Duration::from_secs(10);
        let (created, ran, unknown) = engine::block_on(engine::Engine::Epoll, move || async move {
            let pool = AgentPool::new();
            let created = pool.call(&address, "create_kernel", vec!["k".into(), map(vec![])], limit).await.unwrap();
            let args = vec![2.into(), "k".into(), "run".into(), "query".into(), "".into(), map(vec![])];
            let ran = pool.call(&address, "execute", args, limit).await.unwrap();
            (created, ran, pool.call(&address, "dance", vec![], limit).await.unwrap_err())
        })
        .unwrap();
        let field = |value: &Value, name: &str| backendai::wire::value::get(value, name).cloned();
        assert_eq!((field(&created, "id"), field(&created, "stdin_port")), (Some("k".into()), Some(3.into())));
        assert_eq!((field(&ran, "runId"), field(&ran, "status")), (Some("run".into()), Some("finished".into())));
        assert!(unknown.is_method_not_found(), "{unknown}");
    }

    #[test]
    fn a_heartbeat_is_one_that_the_gateway_reads() {
        let event = beat("i-bench-0001", "127.0.0.1:9".parse().unwrap());
        let frames = event.frames().map(Into::into);
        assert_eq!(Event::parse(&frames).unwrap(), event);
    }
}
