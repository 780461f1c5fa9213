use super::*;
use crate::store::postgres::migrate::*;

const KERNEL: &str = "INSERT INTO kernels (id, sess_id, role, agent, agent_addr, access_key, mem_slot, cpu_slot, \
                      gpu_slot, repl_in_port, repl_out_port, stdin_port, stdout_port, created_at, status) VALUES";

#[test]
fn an_empty_database_becomes_current_at_once_and_stays_so() {
    run(async {
        let database = Database::empty();
        let mut client = database.client().await;
        let empty = check(&client).await.unwrap_err();
        assert!(matches!(empty, SchemaError::Empty), "{empty:?}");
        assert!(empty.to_string().contains("`backendai-manager schema oneshot head`"), "{empty}");
        let mut done = Vec::new();
        oneshot_head(&mut client, |it| done.push(it.version)).await.unwrap();
        assert_eq!(done, (1..=newest()).collect::<Vec<_>>());
        check(&client).await.unwrap();
        assert_eq!(database.sql("SELECT version_num FROM alembic_version"), ALEMBIC_HEAD);
        assert_eq!(pending(&client).await.unwrap(), &[]);
        oneshot_head(&mut client, |_| panic!("nothing is left to do")).await.unwrap();
        assert_eq!(applied(&client).await.unwrap().len(), MIGRATIONS.len());
    });
}

#[test]
fn a_database_of_the_original_is_too_old_until_it_is_upgraded() {
    run(async {
        let database = Database::original().await;
        let mut client = database.client().await;
        let old = check(&client).await.unwrap_err();
        assert!(matches!(old, SchemaError::TooOld { at: 1, .. }), "{old:?}");
        assert!(old.to_string().contains("`backendai-manager schema upgrade`"), "{old}");
        let refused = oneshot_head(&mut client, |_| ()).await.unwrap_err();
        assert!(matches!(refused, SchemaError::NotEmpty { at: 1 }), "{refused:?}");
        upgrade(&mut client, |_| ()).await.unwrap();
        check(&client).await.unwrap();
        assert_eq!(database.sql("SELECT version_num FROM alembic_version"), ALEMBIC_HEAD);
        assert_eq!(applied(&client).await.unwrap()[0].name, MIGRATIONS[0].name);
    });
}

#[test]
fn the_original_can_write_into_an_upgraded_database() {
    run(async {
        let database = Database::original().await;
        upgrade(&mut database.client().await, |_| ()).await.unwrap();
        database.add_key("KEY", "1");
        database.add_agent("i-1", 100, 1.0, 0.0);
        database.sql(&format!(
            "{KERNEL} (uuid_generate_v4(), 's', 'master', 'i-1', 'a', 'KEY', 1, 1, 0, 0, 0, 0, 0, now(), 'PREPARING')"
        ));
        let row = "SELECT num_queries, tag IS NULL, status_changed IS NOT NULL FROM kernels";
        assert_eq!(database.sql(row), "0|t|t");
    });
}

#[test]
fn upgrading_keeps_every_row_and_ends_older_twins_of_live_sessions() {
    run(async {
        let database = Database::original().await;
        database.add_key("KEY", "30");
        database.add_key("OTHER", "30");
        database.add_agent("i-1", 1000, 10.0, 1.0);
        let row = |n: u8, name: &str, key: &str, age: u8, status: &str| {
            let id = format!("00000000-0000-0000-0000-0000000000{n:02}");
            database.sql(&format!(
                "{KERNEL} ('{id}', '{name}', 'master', 'i-1', 'a', '{key}', 100, 1, 0.25, 0, 0, 0, 0, \
                 now() - interval '{age} hours', '{status}')"
            ));
        };
        row(1, "twin", "KEY", 3, "RUNNING");
        row(2, "twin", "KEY", 1, "RUNNING");
        row(3, "twin", "KEY", 2, "PREPARING");
        row(4, "twin", "KEY", 0, "TERMINATED");
        row(5, "twin", "OTHER", 5, "RUNNING");
        row(6, "alone", "KEY", 5, "RUNNING");
        database.sql("UPDATE keypairs SET concurrency_used = CASE access_key WHEN 'KEY' THEN 4 ELSE 1 END");
        database.sql("UPDATE agents SET used_mem_slots = 500, used_cpu_slots = 5, used_gpu_slots = 1.25");

        upgrade(&mut database.client().await, |_| ()).await.unwrap();

        let ended = "SELECT id FROM kernels WHERE status = 'ERROR' AND status_info = 'duplicate-session' \
                     AND terminated_at IS NOT NULL ORDER BY id";
        let expected = "00000000-0000-0000-0000-000000000001\n00000000-0000-0000-0000-000000000003";
        assert_eq!(database.sql(ended), expected);
        assert_eq!(database.sql("SELECT count(*) FROM kernels"), "6");
        assert_eq!(database.sql("SELECT count(*) FROM kernels WHERE status IN ('RUNNING', 'PREPARING')"), "3");
        let used = database.sql("SELECT concurrency_used FROM keypairs ORDER BY access_key");
        assert_eq!(used, "2\n1");
        let slots = database.sql("SELECT used_mem_slots, used_cpu_slots, used_gpu_slots FROM agents");
        assert_eq!(slots, "300|3|0.75");
    });
}

#[test]
fn two_nodes_that_upgrade_at_once_apply_each_migration_once() {
    run(async {
        let database = Database::empty();
        let (mut one, mut two) = (database.client().await, database.client().await);
        let (mut done_one, mut done_two) = (Vec::new(), Vec::new());
        let (first, second) = tokio::join!(
            upgrade(&mut one, |it| done_one.push(it.version)),
            upgrade(&mut two, |it| done_two.push(it.version))
        );
        first.unwrap();
        second.unwrap();
        done_one.extend(done_two);
        done_one.sort_unstable();
        assert_eq!(done_one, (1..=newest()).collect::<Vec<_>>());
        check(&one).await.unwrap();
    });
}

#[test]
fn a_migration_that_fails_changes_nothing_and_says_which_one_it_was() {
    run(async {
        let database = Database::original().await;
        database.sql("CREATE TABLE ledger_flushes (mine int)");
        let mut client = database.client().await;
        let error = upgrade(&mut client, |_| ()).await.unwrap_err();
        assert!(error.to_string().contains("0002_session_state"), "{error}");
        assert!(error.to_string().contains("\"ledger_flushes\" already exists"), "{error}");
        let tags =
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'kernels' AND column_name = 'tag'";
        assert_eq!(database.sql(tags), "0");
        database.sql("DROP TABLE ledger_flushes");
        upgrade(&mut client, |_| ()).await.unwrap();
        check(&client).await.unwrap();
    });
}

#[test]
fn a_schema_of_a_newer_release_or_another_revision_is_refused() {
    run(async {
        let database = Database::current().await;
        let mut client = database.client().await;
        database.sql("INSERT INTO backendai_migrations (version, name) VALUES (9999, '9999_later')");
        let newer = check(&client).await.unwrap_err();
        assert!(matches!(newer, SchemaError::TooNew { at: 9999, .. }), "{newer:?}");
        assert!(upgrade(&mut client, |_| ()).await.is_err());
        database.sql("DELETE FROM backendai_migrations WHERE version = 9999");
        database.sql("UPDATE alembic_version SET version_num = '0d553d59f369'");
        let other = check(&client).await.unwrap_err();
        assert!(matches!(other, SchemaError::OtherAlembic { .. }), "{other:?}");
    });
}
