//! A user of the database who may not do everything.

use super::*;
use crate::config::Secret;

/// The cluster as a user sees it who has all rights but some.
fn as_limited(cluster: &mut Cluster, revoke: &str) {
    let role = format!("limited_{}", cluster.to.db_name);
    cluster.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; {}",
        revoke.replace("ROLE", &role)
    ));
    cluster.to.db_user = role;
    cluster.to.db_password = Some(Secret::new("p"));
}

#[test]
fn rights_that_are_enough_are_all_there_are() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        as_limited(&mut cluster, "REVOKE TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA public FROM ROLE");
        cluster.examine().await.failed(&[]);
    });
}

#[test]
fn a_right_that_is_missing_is_named_with_the_grant() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        as_limited(&mut cluster, "REVOKE INSERT, UPDATE ON kernels FROM ROLE; REVOKE DELETE ON vfolders FROM ROLE");
        let user = cluster.to.db_user.clone();
        let found = cluster.examine().await;
        let kernels = found.says("table-rights", State::Failed, "lacks INSERT, UPDATE on kernels");
        assert_eq!(kernels.mend, format!("as the table's owner: GRANT INSERT, UPDATE ON kernels TO {user}"));
        let vfolders = found.says("table-rights", State::Failed, "lacks DELETE on vfolders").mend.clone();
        found.failed(&["table-rights"]);
        // What mends it does.
        for grant in [&kernels.mend, &vfolders] {
            cluster.sql(grant.strip_prefix("as the table's owner: ").unwrap());
        }
        cluster.examine().await.failed(&[]);
    });
}

#[test]
fn a_table_that_cannot_be_read_fails_what_reads_it() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        as_limited(&mut cluster, "REVOKE SELECT ON keypairs, backendai_migrations FROM ROLE");
        let found = cluster.examine().await;
        found.says("schema", State::Failed, "permission denied for table backendai_migrations");
        found.says("table-rights", State::Failed, "lacks SELECT on backendai_migrations");
        found.says("table-rights", State::Failed, "lacks SELECT on keypairs");
        cluster.sql(&format!("GRANT SELECT ON backendai_migrations TO {}", cluster.to.db_user));
        let found = cluster.examine().await;
        found.says("key-secrets", State::Failed, "permission denied for table keypairs");
        found.failed(&["table-rights", "key-secrets", "example-keys"]);
    });
}

#[test]
fn a_function_that_may_not_be_called_or_is_gone_is_named() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        let of = "backendai_mend_sum(text, text, boolean)";
        as_limited(
            &mut cluster,
            &format!("REVOKE EXECUTE ON FUNCTION {of} FROM PUBLIC; DROP FUNCTION backendai_vfolder_recount"),
        );
        let found = cluster.examine().await;
        let refused = found.says("function-rights", State::Failed, "may not call backendai_mend_sum");
        assert!(
            refused.mend.contains("GRANT EXECUTE ON FUNCTION backendai_mend_sum(text,text,boolean) TO"),
            "{refused:?}"
        );
        found.says("function-rights", State::Failed, "no function backendai_vfolder_recount");
        cluster.sql("DROP TABLE vfolder_invitations");
        cluster.examine().await.says("table-rights", State::Failed, "there is no vfolder_invitations");
    });
}
