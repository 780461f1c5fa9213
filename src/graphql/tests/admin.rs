//! What administrators do: noted, and refused where it makes no sense.

use super::*;

/// The audit log as `action|target_type|target|outcome|message`, in order.
fn audited(world: &World) -> Vec<String> {
    let rows = world.sql("SELECT action, target_type, target, outcome, message FROM audit_log ORDER BY id");
    rows.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_done_is_noted_with_who_when_and_from_where() {
    run(|world| async move {
        let made = world
            .admin(
                "mutation {create_keypair(user_id: 7, props: {rate_limit: 5}) {keypair {access_key secret_key}} \
                 modify_keypair(access_key: \"USER\", props: {is_admin: true, resource_policy: \"a\\u0000b\"}) {ok} \
                 delete_keypair(access_key: \"OTHER\") {ok}}",
            )
            .await;
        let key = made["create_keypair"]["keypair"]["access_key"].as_str().unwrap();
        let secret = made["create_keypair"]["keypair"]["secret_key"].as_str().unwrap();
        let rows = audited(&world);
        assert_eq!(rows[0], format!("create_keypair|keypair|{key}|done|"));
        assert!(rows[1].starts_with("modify_keypair|keypair|USER|refused|"), "{}", rows[1]);
        assert_eq!(
            rows[2],
            "delete_keypair|keypair|OTHER|refused|failed to delete keypair: sessions or folders belong to it"
        );
        assert_eq!(rows.len(), 3);
        let common = "SELECT DISTINCT actor, via, source, request_id, at <= ended_at AND ended_at <= clock_timestamp() \
                      FROM audit_log";
        assert_eq!(world.sql(common), "ADMIN|graphql|10.0.0.77|request-1|t");
        assert_eq!(
            world.sql("SELECT detail FROM audit_log ORDER BY id LIMIT 1"),
            r#"{"props": {"rate_limit": 5}, "user_id": 7}"#
        );
        assert_eq!(world.sql(&format!("SELECT count(*) FROM audit_log WHERE detail::text LIKE '%{secret}%'")), "0");
    });
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    run(|world| async move {
        world.sql("ALTER TABLE audit_log RENAME TO away");
        let (refused, why) = world.error("ADMIN", "mutation {rotate_keypair(access_key: \"USER\") {ok}}").await;
        assert_eq!((refused, why.as_str()), (false, "a store could not be asked"));
        world.sql("ALTER TABLE away RENAME TO audit_log");
        assert_eq!(world.sql("SELECT secret_key FROM keypairs WHERE access_key = 'USER'"), "user-secret");
    });
}

#[test]
fn an_action_goes_on_when_its_client_hangs_up_and_has_its_outcome() {
    run(|world| async move {
        // The key pair's row is held, so that the action waits.
        let at = world.server.connections(&world.database);
        let holder = connect(&at, "test").await.unwrap();
        holder.batch_execute("BEGIN; SELECT FROM keypairs WHERE access_key = 'USER' FOR UPDATE").await.unwrap();
        let asked = world.ask("ADMIN", "mutation {rotate_keypair(access_key: \"USER\") {ok}}", Value::Null);
        assert!(engine::timeout(Duration::from_millis(300), asked).await.is_none());
        assert_eq!(audited(&world), ["rotate_keypair|keypair|USER||"]);
        holder.batch_execute("COMMIT").await.unwrap();
        until(|| audited(&world) == ["rotate_keypair|keypair|USER|done|"]).await;
        assert_ne!(world.sql("SELECT secret_key FROM keypairs WHERE access_key = 'USER'"), "user-secret");
    });
}

#[test]
fn the_log_is_read_in_parts_and_by_what_it_is_about() {
    run(|world| async move {
        for agent in ["i-1", "i-2", "i-3"] {
            world.admin(&format!("mutation {{cordon_agent(agent_id: \"{agent}\") {{ok}}}}")).await;
        }
        world.admin("mutation {uncordon_agent(agent_id: \"i-1\") {ok}}").await;
        let read = |arguments: &str, fields: &str| format!("{{audit_log{arguments} {{{fields}}}}}");
        let data = world.admin(&read("(limit: 2, offset: 1)", "action target outcome message")).await;
        let expected = json!([
            {"action": "cordon_agent", "target": "i-3", "outcome": "refused", "message": "there is no such agent"},
            {"action": "cordon_agent", "target": "i-2", "outcome": "done", "message": null},
        ]);
        assert_eq!(data["audit_log"], expected);
        let data = world.admin(&read("(target: \"i-1\")", "action")).await;
        assert_eq!(data["audit_log"], json!([{"action": "uncordon_agent"}, {"action": "cordon_agent"}]));
        let data = world.admin(&read("(actor: \"USER\")", "id")).await;
        assert_eq!(data["audit_log"], json!([]));
        let all = "id at actor via source request_id action target_type target detail outcome message ended_at";
        let data = world.admin(&read("(action: \"uncordon_agent\")", all)).await;
        assert_eq!(data["audit_log"][0]["via"], "graphql");
        let (refused, why) = world.error("USER", &read("", "id")).await;
        assert!(refused && why.contains("audit_log"), "{why}");
    });
}

#[test]
fn a_cordoned_agent_is_drained_and_let_in_again() {
    run(|world| async move {
        let fields = "{ok msg agent {id schedulable drain_at}}";
        let data = world.admin(&format!("mutation {{cordon_agent(agent_id: \"i-1\") {fields}}}")).await;
        let agent = json!({"id": "i-1", "schedulable": false, "drain_at": null});
        assert_eq!(data["cordon_agent"], json!({"ok": true, "msg": "success", "agent": agent}));
        let data = world.admin(&format!("mutation {{drain_agent(agent_id: \"i-1\", grace: 60) {fields}}}")).await;
        assert_eq!(data["drain_agent"]["agent"]["schedulable"], false);
        assert_eq!(world.sql("SELECT drain_at - now() > '50 s' FROM agents WHERE id = 'i-1'"), "t");
        let data = world.admin(&format!("mutation {{drain_agent(agent_id: \"i-1\", grace: -1) {fields}}}")).await;
        assert_eq!(data["drain_agent"]["ok"], false);
        let data = world.admin(&format!("mutation {{uncordon_agent(agent_id: \"i-1\") {fields}}}")).await;
        assert_eq!(data["uncordon_agent"]["agent"], json!({"id": "i-1", "schedulable": true, "drain_at": null}));
        let data = world.admin(&format!("mutation {{cordon_agent(agent_id: \"nobody\") {fields}}}")).await;
        assert_eq!(data["cordon_agent"], json!({"ok": false, "msg": "there is no such agent", "agent": null}));
    });
}

#[test]
fn a_rotated_key_pair_has_another_secret() {
    run(|world| async move {
        let rotate =
            |key: &str| format!("mutation {{rotate_keypair(access_key: \"{key}\") {{ok keypair {{secret_key}}}}}}");
        let data = world.admin(&rotate("USER")).await;
        let secret = data["rotate_keypair"]["keypair"]["secret_key"].as_str().unwrap();
        assert_eq!(world.sql("SELECT secret_key FROM keypairs WHERE access_key = 'USER'"), secret);
        assert_eq!(secret.len(), 40);
        assert_eq!(world.admin(&rotate("NOBODY")).await["rotate_keypair"], json!({"ok": false, "keypair": null}));
    });
}

#[test]
fn sessions_that_are_none_or_anybodys_are_refused() {
    run(|world| async move {
        let end = |arguments: &str| format!("mutation {{terminate_session({arguments}) {{ok msg}}}}");
        let data = world.admin(&end("sess_id: \"shared\"")).await;
        let msg = "several keys have a live session of that name: say whose, OTHER or USER";
        assert_eq!(data["terminate_session"], json!({"ok": false, "msg": msg}));
        for arguments in ["sess_id: \"ended\"", "sess_id: \"x\"", "sess_id: \"\""] {
            let data = world.admin(&end(arguments)).await;
            assert!(data["terminate_session"]["msg"].as_str().unwrap().contains("no live session"), "{data}");
        }
        let data = world.admin(&end("sess_id: \"ended\", access_key: \"USER\"")).await;
        assert_eq!(data["terminate_session"], json!({"ok": false, "msg": "no such session"}));
        let data = world.admin("mutation {restart_session(sess_id: \"nothing\") {ok}}").await;
        assert_eq!(data["restart_session"]["ok"], false);
        let (refused, _) = world.error("USER", &end("sess_id: \"shared\"")).await;
        assert!(refused);
    });
}

#[test]
fn images_that_make_no_sense_are_refused_and_an_etcd_that_is_away_is_an_error() {
    run(|world| async move {
        let data = world
            .admin(
                "mutation {a: add_image(name: \"lua\", tag: \"5\", hash: \"h\") {ok msg} \
                 b: remove_image(name: \"python\", tag: \"9\") {ok msg} c: add_alias(alias: \"l\", target: \"lua\") {ok} \
                 d: remove_alias(alias: \"nothing\") {ok}}",
            )
            .await;
        assert_eq!(data["a"], json!({"ok": false, "msg": "there is no image lua: a new one needs cpu and mem"}));
        assert_eq!(data["b"], json!({"ok": false, "msg": "image python has no tag \"9\""}));
        assert_eq!((&data["c"]["ok"], &data["d"]["ok"]), (&json!(false), &json!(false)));
        let (refused, why) = world.error("ADMIN", "mutation {remove_alias(alias: \"py\") {ok}}").await;
        assert_eq!((refused, why.as_str()), (false, "a store could not be asked"));
        assert_eq!(audited(&world)[4], "remove_alias|alias|py|failed|a store could not be asked");
    });
}
