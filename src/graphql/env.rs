//! What the resolvers of one request share: stores, who asks, and the batches of each kind.

use std::{collections::HashMap, future::Future, hash::Hash, rc::Rc, sync::Arc};

use async_graphql::Context;
use send_wrapper::SendWrapper;
use uuid::Uuid;

use super::{
    Fault,
    batch::{Batches, Busy},
    usage::{self, Usage},
};
use crate::{
    registry::{Actor, Registry, Stores},
    store::{
        etcd::Snapshot,
        postgres::{
            Postgres,
            admin::{
                AdminError, Page,
                agents::{self, AgentRow},
                kernels::{self, KernelRow},
                keypairs::{self, KeypairRow},
                vfolders::{self, VfolderRow},
            },
        },
        redis::{
            Ledger, Redis,
            stats::{self, KernelStats},
        },
    },
};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose rows are meant where a query names no key.
    pub access_key: String,
    /// Which schema it gets.
    pub is_admin: bool,
    /// As the audit log names it.
    pub actor: Actor,
}

/// What queries are answered from.
#[derive(Clone)]
pub struct Sources {
    /// All rows.
    pub postgres: Postgres,
    /// Queries up to this moment (database 1).
    pub ledger: Ledger,
    /// Statistics of live kernels (database 0).
    pub stats: Redis,
    /// The images of now.
    pub images: Images,
    /// What changes sessions, and notes who changed what.
    pub registry: Rc<Registry>,
    /// Where images come from, if it is known.
    pub docker_registry: Option<Rc<str>>,
}

/// Gives the configuration that is known now.
pub type Images = Rc<dyn Fn() -> Arc<Snapshot>>;

/// Kernels of what, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelList {
    /// Of what.
    pub of: Parent,
    /// Only those of this status.
    pub status: Option<&'static str>,
    /// Which part of the list.
    pub page: Page,
}

/// What kernels belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// An access key: its sessions.
    Key,
    /// A session: its workers.
    Session,
    /// An agent: whatever runs on it.
    Agent,
}

/// Which parent: its name, and for a session whose it is (`None`: anybody's).
pub type ParentKey = (String, Option<String>);

type Kernels = Vec<Arc<KernelRow>>;
type Folders = Vec<Arc<VfolderRow>>;

/// What resolvers share.
pub struct Env {
    /// The worker's PostgreSQL.
    pub postgres: Postgres,
    /// Who asks.
    pub caller: Caller,
    /// The images of now.
    pub images: Images,
    /// What changes sessions, and notes who changed what.
    pub registry: Rc<Registry>,
    /// Where images come from, if it is known.
    pub docker_registry: Option<Rc<str>>,
    kernels: Batches<KernelList, ParentKey, Kernels>,
    folders: Batches<Page, String, Folders>,
    agents: Batches<(), String, Option<Arc<AgentRow>>>,
    keypairs: Batches<(), String, Option<Arc<KeypairRow>>>,
    usage: Batches<(), String, Usage>,
    stats: Batches<(), Uuid, Arc<KernelStats>>,
    queries: Batches<(), Uuid, Option<u64>>,
}

/// An [`Env`] as async-graphql carries it.
pub struct Handle(SendWrapper<Rc<Env>>);

/// Does something with what resolvers share, on the thread where that is.
pub fn with<F: Future>(ctx: &Context<'_>, work: impl FnOnce(Rc<Env>) -> F) -> SendWrapper<F> {
    SendWrapper::new(work((*ctx.data_unchecked::<Handle>().0).clone()))
}

// === impl Sources ===

impl Sources {
    /// Those of a worker.
    pub fn new(registry: &Rc<Registry>, docker_registry: Option<Rc<str>>) -> Self {
        let Stores { postgres, ledger, stats, etcd, .. } = registry.stores().clone();
        let images: Images = Rc::new(move || etcd.snapshot());
        Sources { postgres, ledger, stats, images, registry: registry.clone(), docker_registry }
    }
}

// === impl Env ===

impl Env {
    /// What the resolvers of a request share.
    pub fn handle(sources: Sources, caller: Caller, busy: &Busy) -> Handle {
        let Sources { postgres, ledger, stats, images, registry, docker_registry } = sources;
        let env = Env {
            kernels: on(busy, &postgres, load_kernels),
            folders: on(busy, &postgres, |postgres, page, keys| async move {
                Ok(vfolders::of_keys(&postgres, &keys, page).await?.into_iter().map(shared).collect())
            }),
            agents: on(busy, &postgres, |postgres, (), ids| async move {
                Ok(in_order(&ids, agents::find(&postgres, &ids).await?, |row| row.id.clone()))
            }),
            keypairs: on(busy, &postgres, |postgres, (), keys| async move {
                Ok(in_order(&keys, keypairs::find(&postgres, &keys).await?, |row| row.access_key.clone()))
            }),
            usage: {
                let ledger = ledger.clone();
                on(busy, &postgres, move |postgres, (), keys: Vec<String>| {
                    let ledger = ledger.clone();
                    async move { usage::read(&postgres, &ledger, &keys).await }
                })
            },
            stats: Batches::new(busy, move |(), ids: Vec<Uuid>| {
                let stats = stats.clone();
                async move { Ok(live_stats(&stats, &ids).await) }
            }),
            queries: Batches::new(busy, move |(), ids: Vec<Uuid>| {
                let ledger = ledger.clone();
                async move {
                    // While Redis is away, queries are counted in the row.
                    Ok(ledger.totals(&ids).await.unwrap_or_else(|_| vec![None; ids.len()]))
                }
            }),
            postgres,
            caller,
            images,
            registry,
            docker_registry,
        };
        Handle(SendWrapper::new(Rc::new(env)))
    }

    /// A parent's kernels.
    ///
    /// # Errors
    /// PostgreSQL is away, or there are too many.
    pub async fn kernels(&self, list: KernelList, parent: ParentKey) -> Result<Kernels, Fault> {
        self.kernels.get(list, parent).await
    }

    /// How many sessions a key has.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn count(&self, key: &str, status: Option<&'static str>) -> Result<i64, Fault> {
        Ok(kernels::count_of_key(&self.postgres, key, status).await?)
    }

    /// A key's folders.
    ///
    /// # Errors
    /// PostgreSQL is away, or there are too many.
    pub async fn folders(&self, page: Page, key: String) -> Result<Folders, Fault> {
        self.folders.get(page, key).await
    }

    /// An agent.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn agent(&self, id: String) -> Result<Option<Arc<AgentRow>>, Fault> {
        self.agents.get((), id).await
    }

    /// A key pair.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn keypair(&self, key: String) -> Result<Option<Arc<KeypairRow>>, Fault> {
        self.keypairs.get((), key).await
    }

    /// What a key used up to now.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn usage(&self, key: String) -> Result<Usage, Fault> {
        self.usage.get((), key).await
    }

    /// What a live kernel used up to now.
    ///
    /// # Errors
    /// None of the stores': while Redis is away it is nothing.
    pub async fn stats(&self, id: Uuid) -> Result<Arc<KernelStats>, Fault> {
        self.stats.get((), id).await
    }

    /// The queries of a live session; `None` where Redis does not count them.
    ///
    /// # Errors
    /// None of the stores': while Redis is away it does not count them.
    pub async fn queries(&self, id: Uuid) -> Result<Option<u64>, Fault> {
        self.queries.get((), id).await
    }
}

/// Batches that PostgreSQL loads.
fn on<G, K, V, F>(
    busy: &Busy,
    postgres: &Postgres,
    load: impl Fn(Postgres, G, Vec<K>) -> F + 'static,
) -> Batches<G, K, V>
where
    G: Clone + Eq + Hash + 'static,
    K: Clone + Eq + Hash + 'static,
    V: Clone + 'static,
    F: Future<Output = Result<Vec<V>, Fault>> + 'static,
{
    let postgres = postgres.clone();
    Batches::new(busy, move |group, keys| load(postgres.clone(), group, keys))
}

async fn load_kernels(postgres: Postgres, list: KernelList, parents: Vec<ParentKey>) -> Result<Vec<Kernels>, Fault> {
    let KernelList { of, status, page } = list;
    let names = || -> Vec<String> { parents.iter().map(|(name, _)| name.clone()).collect() };
    let lists: Result<Vec<Vec<KernelRow>>, AdminError> = match of {
        Parent::Key => kernels::sessions_of_keys(&postgres, &names(), status, page).await,
        Parent::Session => kernels::workers_of_sessions(&postgres, &parents, status, page).await,
        Parent::Agent => kernels::on_agents(&postgres, &names(), status, page).await,
    };
    Ok(lists?.into_iter().map(shared).collect())
}

async fn live_stats(redis: &Redis, ids: &[Uuid]) -> Vec<Arc<KernelStats>> {
    let read = stats::read_many(redis, ids).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "statistics could not be read");
        vec![KernelStats::default(); ids.len()]
    });
    shared(read)
}

fn shared<T>(rows: Vec<T>) -> Vec<Arc<T>> {
    rows.into_iter().map(Arc::new).collect()
}

/// The row of each key, in the keys' order.
fn in_order<T>(keys: &[String], rows: Vec<T>, key: impl Fn(&T) -> String) -> Vec<Option<Arc<T>>> {
    let rows: HashMap<String, Arc<T>> = rows.into_iter().map(|row| (key(&row), Arc::new(row))).collect();
    keys.iter().map(|key| rows.get(key).cloned()).collect()
}
