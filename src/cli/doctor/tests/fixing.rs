//! `--fix`: what it mends, what it notes, and when it changes nothing.

use super::*;

#[test]
fn sums_are_mended_and_each_is_in_the_audit_log() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql("UPDATE agents SET used_mem_slots = 612; UPDATE keypairs SET concurrency_used = 4");
        let (_, told) = cluster.doctor(false).await;
        assert_eq!(told.unwrap_err(), "failed: agent-slots, key-concurrency");
        assert_eq!(cluster.sql("SELECT count(*) FROM audit_log"), "0", "looking changes nothing");

        let (rows, done) = cluster.doctor(true).await;
        assert_eq!(done, Ok(()));
        let mended: Vec<_> = rows.iter().filter(|it| it["state"] == "mended").map(|it| &it["what"]).collect();
        assert_eq!(mended.len(), 2, "{rows:?}");
        assert_eq!(mended[1], r#"keypair KEY said {"sessions":4} and says {"sessions":1} now"#);
        assert_eq!(cluster.sql("SELECT used_mem_slots FROM agents"), "100");
        let log = cluster.sql(
            "SELECT action, via, target_type, target, outcome, detail ->> 'found' LIKE '%its live kernels make%', \
             actor LIKE '%_@_%', ended_at >= at FROM audit_log ORDER BY id",
        );
        assert_eq!(log, "doctor --fix|manager|agent|i-1|done|t|t|t\ndoctor --fix|manager|keypair|KEY|done|t|t|t");

        let (_, again) = cluster.doctor(true).await;
        assert_eq!(again, Ok(()));
        assert_eq!(cluster.sql("SELECT count(*) FROM audit_log"), "2", "there was nothing to mend");
    });
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql("UPDATE agents SET used_mem_slots = 612; DROP TABLE audit_log");
        let (rows, done) = cluster.doctor(true).await;
        assert_eq!(done.unwrap_err(), "failed: agent-slots, table-rights");
        let slots = rows.iter().find(|it| it["check"] == "agent-slots").unwrap();
        let mend = slots["mend"].as_str().unwrap();
        assert!(mend.contains("it could not be mended") && mend.contains("audit_log"), "{mend}");
        assert_eq!(cluster.sql("SELECT used_mem_slots FROM agents"), "612");
    });
}

#[test]
fn a_mend_that_fails_is_in_the_audit_log_as_failed() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.sql(
            "UPDATE agents SET used_mem_slots = 612; \
             CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today'; END$$; \
             CREATE TRIGGER no BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION no()",
        );
        let (_, done) = cluster.doctor(true).await;
        assert_eq!(done.unwrap_err(), "failed: agent-slots");
        assert_eq!(cluster.sql("SELECT outcome, message FROM audit_log"), "failed|PostgreSQL: not today");
    });
}
