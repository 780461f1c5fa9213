//! Redis and etcd: away, hanging, refusing; and clocks that are apart.

use etcd_client::{AlarmAction, AlarmType};
use nix::sys::signal::{Signal, kill};

use super::*;

#[test]
fn a_redis_that_is_away_is_named_and_what_needs_it_is_skipped_by_name() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        cluster.to.redis_addr.port = free_port();
        let found = cluster.examine().await;
        let failed = found.says("redis", State::Failed, &format!("cannot reach Redis at {}", cluster.to.redis_addr));
        assert!(failed.mend.contains("--redis-addr"), "{failed:?}");
        let skipped =
            ["redis-version", "redis-memory", "redis-persistence", "redis-writable", "clock-redis", "heartbeats"];
        assert_eq!(found.skipped(), [&["gateway-ready"][..], &skipped].concat());
        found.failed(&["redis"]);
    });
}

#[test]
fn a_redis_that_hangs_is_given_up() {
    run(async {
        let cluster = Cluster::healthy().await;
        kill(cluster.redis.server.pid(), Signal::SIGSTOP).unwrap();
        let found = cluster.examine().await;
        kill(cluster.redis.server.pid(), Signal::SIGCONT).unwrap();
        found.says("redis", State::Failed, "");
        found.failed(&["redis"]);
    });
}

#[test]
fn a_redis_that_forgets_is_told() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.examine().await.says("redis-persistence", State::Note, "appendonly is off");
        cluster.redis(0, &["CONFIG", "SET", "appendonly", "yes"]).await;
        cluster.redis(0, &["CONFIG", "SET", "maxmemory", "100mb"]).await;
        cluster.redis(0, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
        let found = cluster.examine().await;
        found.says("redis-persistence", State::Ok, "append-only");
        found.says("redis-memory", State::Warning, "allkeys-lru");
        found.failed(&[]);
    });
}

#[test]
fn a_redis_that_takes_nothing_more_is_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.redis(0, &["CONFIG", "SET", "maxmemory", "100kb"]).await;
        let full = cluster.examine().await;
        assert_eq!(full.says("redis-writable", State::Failed, "takes no writes: OOM").mend, "raise maxmemory");
        full.says("redis-memory", State::Warning, "writes are refused");
        cluster.redis(0, &["CONFIG", "SET", "maxmemory", "0"]).await;

        let master = Redis::start();
        cluster.redis(0, &["REPLICAOF", "127.0.0.1", &master.port.to_string()]).await;
        let found = cluster.examine().await;
        let replica = found.says("redis-writable", State::Failed, "is a replica of");
        assert_eq!(replica.mend, format!("name the master: --redis-addr 127.0.0.1:{}", master.port));
        found.failed(&["redis-writable"]);
    });
}

#[test]
fn an_etcd_that_is_away_is_named_and_what_needs_it_is_skipped_by_name() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        let nowhere = format!("127.0.0.1:{}", free_port());
        cluster.to.etcd_addr.push(nowhere.parse().unwrap());
        let found = cluster.examine().await;
        found.says("etcd", State::Warning, &nowhere);
        found.says("etcd-version", State::Ok, "3.");
        found.failed(&[]);
        cluster.to.etcd_addr.remove(0);
        let found = cluster.examine().await;
        assert!(found.says("etcd", State::Failed, &nowhere).mend.contains("--etcd-addr"));
        found.failed(&["etcd"]);
        for check in ["etcd-version", "etcd-health", "etcd-rights", "images", "aliases", "settings", "nodes", "volumes"]
        {
            found.says(check, State::Skipped, "as etcd failed");
        }
    });
}

#[test]
fn an_etcd_that_is_full_or_asks_who_we_are_is_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        let mut etcd = etcd_client::Client::connect([cluster.etcd.addr().to_string()], None).await.unwrap();
        etcd.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.unwrap();
        assert!(cluster.examine().await.says("etcd-health", State::Failed, "NOSPACE").mend.contains("alarm disarm"));
        etcd.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await.unwrap();
        cluster.examine().await.failed(&[]);

        etcd.user_add("root", "p", None).await.unwrap();
        etcd.user_grant_role("root", "root").await.unwrap();
        etcd.auth_enable().await.unwrap();
        let found = cluster.examine().await;
        assert!(
            found.says("etcd-rights", State::Failed, "cannot write below /sorna/local/").mend.contains("auth disable")
        );
        found.says("images", State::Skipped, "as etcd-rights failed");
        found.failed(&["etcd-rights"]);
    });
}

#[test]
fn clocks_that_are_apart_are_told() {
    run(async {
        let cluster = Cluster::healthy().await;
        let now = clocks::now();
        cluster.redis(2, &["HSET", "last_seen", "i-1", &now.to_string()]).await;
        cluster.examine().await.says("heartbeats", State::Ok, "1 agent");
        let ahead = cluster.examine_at(|| clocks::now() + 30.0).await;
        ahead.says("clock-postgresql", State::Warning, "s behind this machine's");
        ahead.says("clock-redis", State::Warning, "s behind this machine's");
        ahead.failed(&[]);
        let behind = cluster.examine_at(|| clocks::now() - 900.0).await;
        assert!(behind.says("clock-postgresql", State::Failed, "s ahead of this machine's").mend.contains("NTP"));
        behind.says("clock-redis", State::Failed, "s ahead of this machine's");
        behind.says("heartbeats", State::Failed, "agent i-1 was last heard of");
        behind.failed(&["clock-postgresql", "clock-redis", "heartbeats"]);
    });
}

#[test]
fn what_is_no_gateway_is_not_taken_for_one() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        let found = cluster.examine().await;
        found.says("gateway", State::Warning, "no gateway runs on this machine");
        cluster.admin.admin_port = cluster.etcd.port;
        cluster.examine().await.says("gateway", State::Warning, "is no gateway: it answers 404");
        cluster.admin.admin_port = cluster.redis.port;
        cluster.examine().await.says("gateway", State::Warning, "no gateway");
    });
}
