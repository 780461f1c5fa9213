//! The agent's state: its kernels, its cores, and what it tells gateways of them.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use backendai::wire::event::EventKind;
use rmpv::Value;
use tokio::sync::Notify;

use crate::{
    events::Events,
    exception::{self, Exception},
    kernel::{
        Kernel, Reason,
        cpus::Cpus,
        mounts::{Mount, Way},
        proc_table::ProcTable,
        process::{Init, Reaper, sweep},
        runtime::{Runtime, Runtimes},
        scratch::Scratch,
        start::{self, Spec},
        state_file::{Entry, StateFile},
        stats::Stats,
    },
    methods::config::KernelConfig,
    options::Slots,
};

/// How long a kernel may take to end before it is killed; the calls that end kernels wait 10 s.
const END_WITHIN: Duration = Duration::from_secs(4);

/// What the agent is started with.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub id: String,
    /// The address that gateways reach it at.
    pub ip: Ipv4Addr,
    /// The port of its calls.
    pub port: u16,
    /// Its region.
    pub region: String,
    /// What it has.
    pub slots: Slots,
}

/// The agent.
pub struct Agent {
    /// Who it is.
    pub identity: Identity,
    /// Where kernels' folders are.
    pub root: PathBuf,
    /// Where mounts' sources are.
    pub volumes: PathBuf,
    /// How kernels get them.
    pub way: Way,
    /// Whether kernels are to outlive it.
    pub keep: bool,
    runtimes: Runtimes,
    events: Events,
    reaper: Rc<Reaper>,
    state_file: StateFile,
    kernels: RefCell<HashMap<String, Rc<Kernel>>>,
    cpus: RefCell<Cpus>,
    held: RefCell<HashSet<String>>,
    released: Notify,
}

/// The right to start or end the kernel of one id, which is one's alone.
struct Hold<'a> {
    agent: &'a Agent,
    id: String,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.agent.held.borrow_mut().remove(&self.id);
        self.agent.released.notify_waiters();
    }
}

// === impl Identity ===

impl Identity {
    /// Where the agent takes calls.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, self.port)
    }
}

// === impl Agent ===

impl Agent {
    /// An agent without kernels.
    pub fn new(
        identity: Identity,
        root: PathBuf,
        (volumes, way): (PathBuf, Way),
        keep: bool,
        runtimes: Runtimes,
        events: Events,
        reaper: Rc<Reaper>,
    ) -> Rc<Agent> {
        Rc::new(Agent {
            identity,
            state_file: StateFile::of(&root),
            root,
            volumes,
            way,
            keep,
            runtimes,
            events,
            reaper,
            kernels: RefCell::default(),
            cpus: RefCell::new(Cpus::allowed()),
            held: RefCell::default(),
            released: Notify::new(),
        })
    }

    /// Tells gateways.
    pub fn tell(&self, event: EventKind) {
        self.events.send(event);
    }

    /// The kernel of this id.
    pub fn kernel(&self, id: &str) -> Option<Rc<Kernel>> {
        let kernel = self.kernels.borrow().get(id).cloned()?;
        kernel.touch();
        Some(kernel)
    }

    /// All kernels.
    pub fn kernels(&self) -> Vec<Rc<Kernel>> {
        self.kernels.borrow().values().cloned().collect()
    }

    async fn hold(&self, id: &str) -> Hold<'_> {
        loop {
            let released = self.released.notified();
            if self.held.borrow_mut().insert(id.to_owned()) {
                return Hold { agent: self, id: id.to_owned() };
            }
            released.await;
        }
    }

    /// Creates a kernel.
    ///
    /// # Errors
    /// There is one of this id, the configuration asks for what is not here, or it does not start.
    pub async fn create(self: &Rc<Self>, id: &str, config: KernelConfig) -> Result<Rc<Kernel>, Exception> {
        if self.kernels.borrow().contains_key(id) || self.held.borrow().contains(id) {
            return Err(exception::errno(nix::errno::Errno::EEXIST));
        }
        let _hold = self.hold(id).await;
        let runtime = self.runtimes.for_image(&config.lang)?;
        if config.limits.gpu > self.identity.slots.gpu {
            return Err(exception::assertion("there are not as many graphics processors here"));
        }
        let scratch = Scratch::of(&self.root, id);
        scratch.create().map_err(|error| exception::io(&error))?;
        let cpus = self.cpus.borrow_mut().take(config.limits.cpu);
        let mounts = config.mounts_below(&self.volumes).unwrap_or_default();
        let started = match self.way.show(&scratch.work(), &[], &mounts) {
            Ok(()) => self.start(id, (config, mounts), cpus.clone(), scratch.clone(), runtime, Stats::default()).await,
            Err(error) => Err(error),
        };
        if started.is_err() {
            self.cpus.borrow_mut().give_back(&cpus);
            remove(&scratch);
        }
        started
    }

    /// Ends a kernel's processes and starts them anew in the same folder.
    ///
    /// # Errors
    /// There is no such kernel, or it does not start; then it is gone.
    pub async fn restart(self: &Rc<Self>, id: &str, config: KernelConfig) -> Result<Rc<Kernel>, Exception> {
        let _hold = self.hold(id).await;
        let old = self.kernel(id).ok_or_else(|| exception::key(id))?;
        let runtime = self.runtimes.for_image(&config.lang)?;
        old.sample(&ProcTable::read());
        old.stop(Reason::Restart, END_WITHIN).await;
        self.tell(EventKind::KernelCreating { id: id.to_owned() });
        let cpus = self.cpus_for_restart(&config, &old);
        let stats = old.stats.borrow().restarted();
        let mounts = config.mounts_below(&self.volumes).unwrap_or_else(|| old.mounts.clone());
        let started = match self.way.show(&old.scratch.work(), &old.mounts, &mounts) {
            Ok(()) => self.start(id, (config, mounts), cpus.clone(), old.scratch.clone(), runtime, stats).await,
            Err(error) => Err(error),
        };
        if started.is_err() {
            self.cpus.borrow_mut().give_back(&cpus);
            self.forget(&old);
        }
        started
    }

    /// The cores that the caller names, if they are ours; else those it had.
    fn cpus_for_restart(&self, config: &KernelConfig, old: &Kernel) -> Vec<usize> {
        let mut cpus = self.cpus.borrow_mut();
        for set in [&config.cpu_set, &old.cpus] {
            if cpus.claim(set) {
                return set.clone();
            }
        }
        cpus.take(config.limits.cpu)
    }

    async fn start(
        self: &Rc<Self>,
        id: &str,
        (config, mounts): (KernelConfig, Vec<Mount>),
        cpus: Vec<usize>,
        scratch: Scratch,
        runtime: &dyn Runtime,
        stats: Stats,
    ) -> Result<Rc<Kernel>, Exception> {
        let spec = Spec {
            id: id.to_owned(),
            lang: config.lang,
            limits: config.limits,
            cpus,
            environ: config.environ,
            mounts,
            way: self.way,
            keep: self.keep,
            stats,
        };
        let agent = self.clone();
        let kernel = start::start(spec, scratch, runtime, &self.reaper, move |kernel| agent.on_end(&kernel)).await?;
        if !kernel.has_ended() {
            self.kernels.borrow_mut().insert(id.to_owned(), kernel.clone());
        }
        self.write_state();
        Ok(kernel)
    }

    /// Ends a kernel. Its last statistics; nil if there is none of this id.
    pub async fn destroy(&self, id: &str, reason: Reason) -> Value {
        let _hold = self.hold(id).await;
        let Some(kernel) = self.kernel(id) else { return Value::Nil };
        let stats = kernel.sample(&ProcTable::read());
        kernel.stop(reason, END_WITHIN).await;
        stats
    }

    /// A kernel has ended, for whatever reason.
    fn on_end(&self, kernel: &Rc<Kernel>) {
        self.reaper.end_strays();
        self.cpus.borrow_mut().give_back(&kernel.cpus);
        if kernel.reason() != Reason::Restart {
            self.forget(kernel);
        }
    }

    fn forget(&self, kernel: &Kernel) {
        self.kernels.borrow_mut().remove(&kernel.id);
        self.write_state();
        remove(&kernel.scratch);
        self.tell_end(&kernel.id, kernel.reason().text(), Some(kernel.stats.borrow().to_value()));
    }

    fn tell_end(&self, id: &str, reason: &str, stats: Option<Value>) {
        tracing::info!(kernel = id, reason, "a kernel ended");
        self.tell(EventKind::KernelTerminated { id: id.to_owned(), reason: reason.to_owned(), stats });
    }

    /// Ends all kernels at once.
    pub async fn end_all(&self, reason: Reason) {
        let ids: Vec<String> = self.kernels.borrow().keys().cloned().collect();
        futures_util::future::join_all(ids.iter().map(|id| self.destroy(id, reason))).await;
    }

    /// Ends the kernels that nobody has used for so long.
    pub async fn end_idle(&self, timeout: Duration) {
        let idle = self.kernels().into_iter().filter(|kernel| kernel.idle() >= timeout);
        futures_util::future::join_all(idle.map(|kernel| async move {
            kernel.sample(&ProcTable::read());
            kernel.stop(Reason::IdleTimeout, END_WITHIN).await;
        }))
        .await;
    }

    /// Writes down which kernels there are and what they have used.
    pub fn write_state(&self) {
        let entries: Vec<Entry> =
            self.kernels().iter().filter(|kernel| !kernel.has_ended()).map(|k| entry_of(k)).collect();
        if let Err(error) = self.state_file.write(&entries) {
            tracing::error!(%error, "the list of kernels cannot be written");
        }
    }

    /// What an earlier agent left: kernels meant to stay are taken over, the others are ended, and
    /// gateways are told of these.
    pub async fn recover(self: &Rc<Self>) {
        for entry in self.state_file.read() {
            let agent = self.clone();
            let taken = match entry.keep && init_of(&entry).lives() {
                true => start::take_over(&entry, &self.root, self.way, move |kernel| agent.on_end(&kernel)).await.ok(),
                false => None,
            };
            match taken {
                Some(kernel) => self.adopt(kernel),
                None => self.end_leftover(&entry).await,
            }
        }
        self.end_unfinished();
        self.write_state();
    }

    /// Kernels whose creation an earlier agent did not get to write down.
    fn end_unfinished(&self) {
        for id in Scratch::all(&self.root) {
            if !self.kernels.borrow().contains_key(&id) {
                sweep(&id);
                remove(&Scratch::of(&self.root, &id));
            }
        }
    }

    fn adopt(&self, kernel: Rc<Kernel>) {
        tracing::info!(kernel = kernel.id, "took over a running kernel");
        self.cpus.borrow_mut().claim(&kernel.cpus);
        self.kernels.borrow_mut().insert(kernel.id.clone(), kernel);
    }

    async fn end_leftover(&self, entry: &Entry) {
        init_of(entry).end_all(&entry.id, END_WITHIN).await;
        remove(&Scratch::of(&self.root, &entry.id));
        self.tell_end(&entry.id, "agent-restart", None);
    }
}

fn entry_of(kernel: &Kernel) -> Entry {
    Entry {
        id: kernel.id.clone(),
        lang: kernel.lang.clone(),
        container: kernel.container.clone(),
        pid: kernel.init.pid,
        start: kernel.init.start,
        limits: kernel.limits,
        cpus: kernel.cpus.clone(),
        mounts: kernel.mounts.clone(),
        keep: kernel.keep,
        stats: *kernel.stats.borrow(),
    }
}

fn init_of(entry: &Entry) -> Init {
    Init { pid: entry.pid, start: entry.start }
}

fn remove(scratch: &Scratch) {
    if let Err(error) = scratch.remove() {
        tracing::warn!(%error, folder = %scratch.work().display(), "a kernel's folder stays");
    }
}
