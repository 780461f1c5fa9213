//! A lease of ours: whatever we write under it is gone within [`TTL`] of our last sign of life.

use std::time::{Duration, Instant};

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};

use super::{
    error::EtcdError,
    link::{CALL_LIMIT, Link, bounded},
};

/// How long a lease lives without a renewal.
pub(super) const TTL: Duration = Duration::from_secs(5);
/// How often it is renewed: two renewals may fail.
pub(super) const RENEW_EVERY: Duration = Duration::from_millis(1500);

/// A lease that a connection keeps alive.
pub(super) struct Lease {
    id: i64,
    /// Until when etcd keeps it for sure, whatever happens from now on: counted from before the renewal was sent.
    until: Instant,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

// === impl Lease ===

impl Lease {
    /// Goes on with a lease of an earlier connection if it still lives, or else gets a new one.
    pub async fn take_up(link: &mut Link, earlier: Option<i64>) -> Result<Lease, EtcdError> {
        if let Some(id) = earlier
            && link.lives(id).await?
        {
            return Lease::hold(link, id).await;
        }
        let id = link.grant(TTL).await?;
        Lease::hold(link, id).await
    }

    async fn hold(link: &mut Link, id: i64) -> Result<Lease, EtcdError> {
        let asked = Instant::now();
        let (keeper, answers) = link.keep(id).await?;
        Ok(Lease { id, until: asked + TTL, keeper, answers })
    }

    /// Renews it. False: it is lost, and its keys with it.
    pub async fn renew(&mut self, link: &Link) -> Result<bool, EtcdError> {
        let asked = Instant::now();
        let call = async {
            self.keeper.keep_alive().await?;
            self.answers.message().await
        };
        let answer = bounded(link.endpoint(), call).await?;
        let lives = answer.ok_or_else(|| link.silent())?.ttl() > 0;
        if lives {
            self.until = asked + TTL;
        }
        Ok(lives)
    }

    /// Its id.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Until when it is ours for sure.
    pub fn until(&self) -> Instant {
        self.until
    }
}

// A renewal that hangs must end before the lease does, so that the next connection can still save the lease.
const _: () = assert!(RENEW_EVERY.as_millis() + CALL_LIMIT.as_millis() < TTL.as_millis());
