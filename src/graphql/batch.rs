//! What resolvers of one level ask for, in one call to a store.
//!
//! A resolver that wants something of its parent names it here and waits. The call is made by a task of its own as
//! soon as the request's task has nothing more to do: then all resolvers of the level have named theirs. The request
//! lets other tasks run before that, since the sets of futures that async-graphql holds resolvers in do so wherever one
//! of them wakes itself; so the caller gives way again and again until the request was not polled in between. No time
//! is waited for.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    future::{Future, poll_fn},
    hash::Hash,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::Fault;
use crate::engine;

type Loaded<V> = Result<Vec<V>, Fault>;
type Load<G, K, V> = dyn Fn(G, Vec<K>) -> Pin<Box<dyn Future<Output = Loaded<V>>>>;

/// Things of one kind: keys of a group (arguments that a statement has once) are loaded together.
pub struct Batches<G, K, V>(Rc<Inner<G, K, V>>);

/// Whether a request has something to do: how often it was polled.
#[derive(Clone, Default)]
pub struct Busy(Rc<Cell<u64>>);

struct Inner<G, K, V> {
    busy: Busy,
    load: Box<Load<G, K, V>>,
    open: RefCell<HashMap<G, Round<K, V>>>,
}

/// A call that has not been made yet.
struct Round<K, V> {
    keys: Vec<K>,
    places: HashMap<K, usize>,
    answer: Rc<Answer<V>>,
}

/// What comes of a call, and who waits for it.
struct Answer<V> {
    loaded: OnceCell<Loaded<V>>,
    waiting: RefCell<Vec<Waker>>,
}

/// Answers for a call that ends in whatever way.
struct Caller<V>(Rc<Answer<V>>);

// === impl Busy ===

impl Busy {
    /// The request, which is watched.
    pub async fn watch<F: Future>(&self, request: F) -> F::Output {
        let mut request = pin!(request);
        poll_fn(|cx| {
            self.0.set(self.0.get() + 1);
            request.as_mut().poll(cx)
        })
        .await
    }

    /// Until the request waits. Tasks that can run take turns: one that was not polled while this one gave way once
    /// cannot.
    async fn idle(&self) {
        loop {
            let polls = self.0.get();
            give_way().await;
            if self.0.get() == polls {
                return;
            }
        }
    }
}

/// Lets every task run that can.
async fn give_way() {
    let mut gave = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

// === impl Batches ===

impl<G, K, V> Batches<G, K, V>
where
    G: Clone + Eq + Hash + 'static,
    K: Clone + Eq + Hash + 'static,
    V: Clone + 'static,
{
    /// `load` gives a value for each key, in their order, once the request is not busy.
    pub fn new<F>(busy: &Busy, load: impl Fn(G, Vec<K>) -> F + 'static) -> Self
    where
        F: Future<Output = Loaded<V>> + 'static,
    {
        let load = Box::new(move |group, keys| Box::pin(load(group, keys)) as Pin<Box<dyn Future<Output = _>>>);
        Batches(Rc::new(Inner { busy: busy.clone(), load, open: RefCell::default() }))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The whole call failed.
    pub async fn get(&self, group: G, key: K) -> Result<V, Fault> {
        let (place, answer) = self.join(group, key);
        poll_fn(|cx| answer.poll(place, cx)).await
    }

    fn join(&self, group: G, key: K) -> (usize, Rc<Answer<V>>) {
        let mut open = self.0.open.borrow_mut();
        let round = open.entry(group.clone()).or_insert_with(|| self.begin(group));
        let Round { keys, places, answer } = round;
        let place = *places.entry(key).or_insert_with_key(|key| {
            keys.push(key.clone());
            keys.len() - 1
        });
        (place, answer.clone())
    }

    fn begin(&self, group: G) -> Round<K, V> {
        let answer = Rc::new(Answer { loaded: OnceCell::new(), waiting: RefCell::default() });
        let (inner, caller) = (self.0.clone(), Caller(answer.clone()));
        engine::spawn(async move {
            inner.busy.idle().await;
            let round = inner.open.borrow_mut().remove(&group);
            let keys = round.map(|round| round.keys).unwrap_or_default();
            caller.0.tell((inner.load)(group, keys).await);
        });
        Round { keys: Vec::new(), places: HashMap::new(), answer }
    }
}

// === impl Answer ===

impl<V: Clone> Answer<V> {
    fn poll(&self, place: usize, cx: &mut Context<'_>) -> Poll<Result<V, Fault>> {
        match self.loaded.get() {
            Some(Ok(values)) => {
                Poll::Ready(values.get(place).cloned().ok_or_else(|| Fault::broken("a loader left out a key")))
            }
            Some(Err(fault)) => Poll::Ready(Err(fault.clone())),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                // Fields of one object wait one after the other, with one waker.
                if !waiting.last().is_some_and(|last| last.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl<V> Answer<V> {
    /// The first answer counts.
    fn tell(&self, loaded: Loaded<V>) {
        let _ = self.loaded.set(loaded);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl<V> Drop for Caller<V> {
    fn drop(&mut self) {
        if self.0.loaded.get().is_none() {
            self.0.tell(Err(Fault::broken("a loader did not end")));
        }
    }
}
