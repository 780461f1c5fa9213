//! Starting a kernel, taking over one that an earlier agent left, and noticing its end.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    net::UnixStream,
    sync::{Notify, mpsc, oneshot, watch},
    task::spawn_local,
};

use super::{
    Kernel, Limits, Reason,
    console::Log,
    files,
    frames::{self, FromRunner},
    launch::Launch,
    mounts::{Mount, Way},
    process::{Init, Reaper, sweep},
    runs::Runs,
    runtime::{self, Runtime},
    scratch::Scratch,
    state_file::Entry,
    stats::Stats,
    write_jobs,
};
use crate::exception::{self, Exception};

/// How long an interpreter may take to start.
const START_WITHIN: Duration = Duration::from_secs(25);
/// How long the other processes may take to end once the interpreter did.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Address space beyond a kernel's memory, in MiB: an interpreter with its libraries and threads maps
/// far more than it touches, and this limit knows mappings only.
const ADDRESS_SPACE_MORE: u64 = 768;

/// What a kernel is started with.
pub struct Spec {
    /// Its id.
    pub id: String,
    /// Its image.
    pub lang: String,
    /// What it may use.
    pub limits: Limits,
    /// Its cores.
    pub cpus: Vec<usize>,
    /// What its creator adds to the environment.
    pub environ: Vec<(String, String)>,
    /// Its virtual folders, whose places are made.
    pub mounts: Vec<Mount>,
    /// How it gets them.
    pub way: Way,
    /// Whether it is to outlive the agent.
    pub keep: bool,
    /// What it has used before.
    pub stats: Stats,
}

/// What tells of a kernel's end: none for one that is not our child.
type Exit = Option<oneshot::Receiver<()>>;

/// Starts a kernel in its folder, which exists. `on_end` is called once when it has ended.
///
/// # Errors
/// Its processes do not come up; what they said is in the error.
pub async fn start(
    spec: Spec,
    scratch: Scratch,
    runtime: &dyn Runtime,
    reaper: &Reaper,
    on_end: impl FnOnce(Rc<Kernel>) + 'static,
) -> Result<Rc<Kernel>, Exception> {
    runtime.install(&scratch).map_err(|error| exception::io(&error))?;
    let (init, mut exit) = spawn(&spec, &scratch, runtime, reaper).map_err(|error| exception::io(&error))?;
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(START_WITHIN, connect(&scratch)) => greeted.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
        _ = &mut exit => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let (stream, hello) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            init.end_all(&spec.id, END_WITHIN).await;
            let log = std::fs::read(scratch.log()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            return Err(exception::runtime(format!("the kernel did not start ({error}): {}", log.trim())));
        }
    };
    Ok(attach(spec, uuid::Uuid::new_v4().simple().to_string(), scratch, init, stream, hello, Some(exit), on_end))
}

/// Takes over a kernel that an earlier agent left running.
///
/// # Errors
/// It does not answer.
pub async fn take_over(
    entry: &Entry,
    root: &Path,
    way: Way,
    on_end: impl FnOnce(Rc<Kernel>) + 'static,
) -> io::Result<Rc<Kernel>> {
    let scratch = Scratch::of(root, &entry.id);
    let greeted = tokio::time::timeout(END_WITHIN, connect(&scratch)).await;
    let (stream, hello) = greeted.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
    let spec = Spec {
        id: entry.id.clone(),
        lang: entry.lang.clone(),
        limits: entry.limits,
        cpus: entry.cpus.clone(),
        environ: Vec::new(),
        mounts: entry.mounts.clone(),
        way,
        keep: entry.keep,
        stats: entry.stats,
    };
    let init = Init { pid: entry.pid, start: entry.start };
    Ok(attach(spec, entry.container.clone(), scratch, init, stream, hello, None, on_end))
}

fn spawn(
    spec: &Spec,
    scratch: &Scratch,
    runtime: &dyn Runtime,
    reaper: &Reaper,
) -> io::Result<(Init, oneshot::Receiver<()>)> {
    let (program, args) = runtime.command(scratch);
    let mut env = runtime::environment(&spec.id, scratch, spec.cpus.len().max(1), &spec.environ);
    if spec.keep {
        env.insert("BACKENDAI_RUNNER_KEEP".to_owned(), "1".to_owned());
    }
    let launch = Launch {
        program,
        args,
        env,
        work: scratch.work(),
        address_space: (spec.limits.mem.saturating_add(ADDRESS_SPACE_MORE)).saturating_mul(1 << 20),
        cpus: spec.cpus.clone(),
        mounts: spec.way.to_make(&spec.mounts),
        agent: (!spec.keep).then(|| std::process::id().try_into().unwrap_or_default()),
    };
    reaper.spawn(&launch, scratch, scratch.listen()?)
}

async fn connect(scratch: &Scratch) -> io::Result<(UnixStream, FromRunner)> {
    let mut stream = UnixStream::connect(scratch.socket()).await?;
    let hello = frames::read(&mut stream).await?;
    Ok((stream, hello))
}

#[allow(clippy::too_many_arguments, reason = "all that a kernel is made of, in its one constructor")]
fn attach(
    spec: Spec,
    container: String,
    scratch: Scratch,
    init: Init,
    stream: UnixStream,
    hello: FromRunner,
    exit: Exit,
    on_end: impl FnOnce(Rc<Kernel>) + 'static,
) -> Rc<Kernel> {
    let (to_runner, jobs) = mpsc::unbounded_channel();
    let outputs = files::outputs(&scratch.work());
    let (mut runs, mut terminal) = (Runs::default(), None);
    if let FromRunner::Hello { run, state, password, ports } = hello {
        terminal = ports;
        if let Some(run) = run {
            runs.adopt(run, (state == "waiting").then_some(password));
        }
    }
    let kernel = Rc::new(Kernel {
        id: spec.id,
        lang: spec.lang,
        container,
        limits: spec.limits,
        cpus: spec.cpus,
        keep: spec.keep,
        init,
        scratch,
        mounts: spec.mounts,
        terminal,
        stats: RefCell::new(spec.stats),
        runs: RefCell::new(runs),
        log: RefCell::new(Log::default()),
        outputs: RefCell::new(outputs),
        changed: Notify::new(),
        to_runner,
        completions: RefCell::new(HashMap::new()),
        completion_id: Cell::new(0),
        used: Cell::new(Instant::now()),
        reason: Cell::new(Reason::SelfTerminated),
        ended: watch::Sender::new(false),
    });
    let (read, write) = stream.into_split();
    spawn_local(write_jobs(jobs, write));
    let own = kernel.clone();
    spawn_local(async move {
        own.until_gone(read, exit).await;
        sweep(&own.id);
        own.mark_ended();
        on_end(own);
    });
    kernel
}

impl Kernel {
    /// Until its first process is gone, and with it all others. What was written until then is read,
    /// as long as somebody takes it or there is room.
    async fn until_gone(&self, link: tokio::net::unix::OwnedReadHalf, exit: Exit) {
        let reading = self.read_frames(link);
        tokio::pin!(reading);
        let gone = async {
            match exit {
                Some(exit) => drop(exit.await),
                None => self.init.gone().await,
            }
        };
        tokio::pin!(gone);
        tokio::select! {
            () = &mut gone => {
                let _ = tokio::time::timeout(Duration::from_millis(200), reading).await; // what is still in the socket
            }
            () = &mut reading => {
                if tokio::time::timeout(END_WITHIN, &mut gone).await.is_err() {
                    self.init.end(true);
                    gone.await;
                }
            }
        }
    }
}
