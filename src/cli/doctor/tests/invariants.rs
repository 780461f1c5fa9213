//! What must always hold, broken by hand.

use super::*;

#[test]
fn sums_that_are_wrong_are_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql("UPDATE agents SET used_mem_slots = 612; UPDATE keypairs SET concurrency_used = 4");
        let found = cluster.examine().await;
        let slots = found.says("agent-slots", State::Failed, "agent i-1 says");
        assert!(slots.what.contains(r#""mem":612"#) && slots.what.contains(r#""mem":100"#), "{slots:?}");
        assert!(slots.mend.contains("doctor --fix"), "{slots:?}");
        found.says(
            "key-concurrency",
            State::Failed,
            r#"keypair KEY says {"sessions":4}, its live kernels make {"sessions":1}"#,
        );
        found.failed(&["agent-slots", "key-concurrency"]);
    });
}

#[test]
fn twins_and_an_index_that_does_not_keep_them_off_are_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq_kernels_live_session'::regclass");
        let found = cluster.examine().await;
        let invalid =
            found.says("one-live-session", State::Failed, "uq_kernels_live_session is not valid").mend.clone();
        cluster.sql(&invalid);
        cluster.examine().await.failed(&[]);

        cluster.sql("DROP INDEX uq_kernels_live_session");
        cluster.sql(&kernel("one", "'i-1'", "RUNNING"));
        let found = cluster.examine().await;
        found.says("one-live-session", State::Failed, "KEY has 2 live sessions named one");
        let missing = found.says("one-live-session", State::Failed, "is missing").mend.clone();
        cluster.sql("DELETE FROM kernels WHERE id = (SELECT max(id::text)::uuid FROM kernels)");
        cluster.sql(&missing);
        cluster.examine().await.failed(&[]);
    });
}

#[test]
fn sessions_that_nobody_answers_for_are_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql(&kernel("nowhere", "NULL", "RUNNING"));
        cluster.sql(&kernel("slow", "'i-1'", "PREPARING"));
        cluster.sql(&kernel("quick", "'i-1'", "TERMINATING"));
        cluster.sql("UPDATE kernels SET status_changed = now() - interval '1000 s' WHERE sess_id = 'slow'");
        cluster.sql("INSERT INTO agents SELECT 'i-2', 'LOST', region, 9, 9, 9, 0, 0, 0, addr FROM agents");
        cluster.sql(&kernel("lost", "'i-2'", "RUNNING"));
        let found = cluster.examine().await;
        found.says("sessions-placed", State::Failed, "KEY/nowhere (");
        let slow = found.says("half-done-sessions", State::Warning, "KEY/slow (");
        assert!(slow.what.contains("PREPARING) has been so for 1"), "{slow:?}");
        assert_eq!(found.of("half-done-sessions").len(), 1);
        found.says("sessions-on-lost-agents", State::Note, "agent i-2 is LOST with 1 live session");
    });
}

#[test]
fn keys_and_folders_that_are_odd_are_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql(
            "INSERT INTO keypairs (access_key, is_active) VALUES ('MUTE', true), ('OFF', false); \
             INSERT INTO vfolders (host, name, belongs_to, num_files, max_files, cur_size) VALUES \
             ('h', 'less', 'KEY', -1, 10, 0), ('h', 'more', 'KEY', 11, 10, 0), ('h', 'well', 'KEY', 10, 10, 0)",
        );
        let found = cluster.examine().await;
        let secrets = found.says("key-secrets", State::Warning, "MUTE");
        assert!(!secrets.what.contains("OFF"), "{secrets:?}");
        found.says("folder-counts", State::Note, "KEY/less: -1 of 10 files");
        found.says("folder-counts", State::Note, "KEY/more: 11 of 10 files");
        assert_eq!(found.of("folder-counts").len(), 2);
        found.failed(&[]);
    });
}

#[test]
fn the_well_known_key_is_worse_where_others_can_reach_it() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql(
            "INSERT INTO keypairs (access_key, secret_key, is_active) VALUES ('AKIAIOSFODNN7EXAMPLE', 's', false)",
        );
        cluster.examine().await.says("example-keys", State::Ok, "");
        cluster.sql("UPDATE keypairs SET is_active = true");
        let node = |host: &str| format!(r#"{{"events_addr":"{host}:5002","api_addr":"{host}:8080","workers":1}}"#);
        cluster.put("nodes/gateways/a", &node("127.0.0.1")).await;
        cluster.examine().await.says("example-keys", State::Note, "for try-outs only: AKIAIOSFODNN7EXAMPLE");
        cluster.put("nodes/gateways/b", &node("10.0.0.1")).await;
        cluster.examine().await.says("example-keys", State::Warning, "for try-outs only: AKIAIOSFODNN7EXAMPLE");
    });
}
