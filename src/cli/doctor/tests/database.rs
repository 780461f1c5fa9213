//! PostgreSQL, its schema, and what is skipped without them.

use super::*;

#[test]
fn a_database_that_is_away_is_named_and_what_needs_it_is_skipped_by_name() {
    run(async {
        let mut cluster = Cluster::empty();
        cluster.to.db_addr.port = free_port();
        let found = cluster.examine().await;
        let failed = found.says("postgresql", State::Failed, &cluster.to.db_addr.to_string());
        assert!(failed.mend.contains("--db-addr"), "{failed:?}");
        let skipped = found.skipped();
        for check in
            ["schema", "uuid-ossp", "table-rights", "agent-slots", "one-live-session", "agents", "clock-postgresql"]
        {
            assert!(skipped.contains(&check), "{check} is not skipped: {skipped:?}");
            found.says(check, State::Skipped, "as postgresql failed");
        }
        found.says("clock-redis", State::Ok, "");
        let (rows, done) = cluster.doctor(true).await;
        assert!(done.unwrap_err().contains("nothing is mended, as postgresql failed"));
        assert_eq!(rows.len(), found.0.len(), "what was found is told all the same");
    });
}

#[test]
fn a_schema_of_another_time_is_named_with_the_command() {
    run(async {
        let cluster = Cluster::empty();
        let found = cluster.examine().await;
        let empty = found.says("schema", State::Failed, "no tables yet");
        assert_eq!(empty.mend, "run `backendai-manager schema oneshot head`");
        found.says("uuid-ossp", State::Ok, "the first migration installs it");
        found.says("agent-slots", State::Skipped, "as schema failed");
        found.failed(&["schema", "images"]);

        let cluster = Cluster::healthy().await;
        cluster.sql("DELETE FROM backendai_migrations WHERE version = (SELECT max(version) FROM backendai_migrations)");
        let old = cluster.examine().await;
        assert_eq!(
            old.says("schema", State::Failed, "this release needs").mend,
            "run `backendai-manager schema upgrade`"
        );
        old.failed(&["schema"]);
        let (_, refused) = cluster.doctor(true).await;
        assert!(refused.unwrap_err().contains("as schema failed"));

        cluster.sql("INSERT INTO backendai_migrations (version, name) VALUES (9999, 'later')");
        let new = cluster.examine().await;
        assert!(new.says("schema", State::Failed, "knows up to").mend.contains("install the release"));
    });
}

#[test]
fn an_extension_that_is_gone_is_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql("DROP EXTENSION \"uuid-ossp\" CASCADE");
        let found = cluster.examine().await;
        assert!(found.says("uuid-ossp", State::Failed, "not installed").mend.contains("CREATE EXTENSION"));
        found.failed(&["uuid-ossp"]);
    });
}

#[test]
fn an_agent_that_takes_no_connection_is_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        let nowhere = format!("127.0.0.1:{}", free_port());
        cluster.sql(&format!(
            "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots, \
             used_gpu_slots, addr) VALUES ('i-deaf', 'ALIVE', 'r', 0, 0, 0, 0, 0, 0, 'tcp://{nowhere}'), \
             ('i-odd', 'ALIVE', 'r', 0, 0, 0, 0, 0, 0, 'nonsense'), ('i-lost', 'LOST', 'r', 0, 0, 0, 0, 0, 0, 'tcp://{nowhere}')"
        ));
        let found = cluster.examine().await;
        found.says(
            "agents",
            State::Failed,
            &format!("agent i-deaf is ALIVE and does not take connections at tcp://{nowhere}"),
        );
        found.says("agents", State::Failed, "i-odd");
        assert_eq!(found.of("agents").len(), 2);
        cluster.sql("UPDATE agents SET status = 'TERMINATED'");
        cluster.examine().await.says("agents", State::Warning, "no agent is alive");
    });
}
