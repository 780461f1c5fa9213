//! Key pairs made, changed and deleted.

use super::*;

const CREATE: &str = "mutation($user_id: Int!, $input: KeyPairInput!) {create_keypair(user_id: $user_id, props: $input) \
    {ok msg keypair {access_key secret_key user_id is_active is_admin concurrency_limit concurrency_used rate_limit \
    num_queries resource_policy compute_sessions {id}}}}";

async fn create(world: &World, variables: Value) -> Value {
    match world.ask("ADMIN", CREATE, variables).await {
        Outcome::Done(response) if response.is_ok() => {
            serde_json::to_value(&response.data).unwrap()["create_keypair"].clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_made_keypair_is_in_the_answer_and_in_the_table() {
    run(|world| async move {
        let input = json!({"is_active": true, "is_admin": false, "resource_policy": "small", "concurrency_limit": 3,
                           "rate_limit": 77});
        let made = create(&world, json!({"user_id": 42, "input": input})).await;
        assert_eq!((&made["ok"], &made["msg"]), (&json!(true), &json!("success")));
        let key = made["keypair"]["access_key"].as_str().unwrap();
        let secret = made["keypair"]["secret_key"].as_str().unwrap();
        assert!(key.len() == 20 && key.starts_with("AKIA") && secret.len() == 40, "{made}");
        let row = world.sql(&format!(
            "SELECT user_id, secret_key, is_active, is_admin, resource_policy, concurrency_limit, concurrency_used, \
             rate_limit, num_queries, created_at IS NULL FROM keypairs WHERE access_key = '{key}'"
        ));
        assert_eq!(row, format!("42|{secret}|t|f|small|3|0|77|0|f"));
        assert_eq!(made["keypair"]["compute_sessions"], json!([]));
    });
}

#[test]
fn what_is_left_open_in_a_new_keypair_is_false_or_null() {
    run(|world| async move {
        let made = create(&world, json!({"user_id": 42, "input": {"is_active": null}})).await;
        let key = &made["keypair"];
        assert_eq!((&key["is_active"], &key["is_admin"]), (&json!(false), &json!(false)));
        assert_eq!((&key["concurrency_limit"], &key["rate_limit"]), (&Value::Null, &Value::Null));
    });
}

#[test]
fn refusals_are_answers() {
    run(|world| async move {
        let made = create(&world, json!({"user_id": 42, "input": {"rate_limit": -1}})).await;
        assert_eq!(made, json!({"ok": false, "msg": "rate_limit must not be negative", "keypair": null}));
        let made = create(&world, json!({"user_id": 42, "input": {"resource_policy": "a\u{0}"}})).await;
        assert_eq!((&made["ok"], &made["keypair"]), (&json!(false), &Value::Null));
        assert_eq!(world.sql("SELECT count(*) FROM keypairs WHERE user_id = 42"), "0");
    });
}

#[test]
fn a_change_touches_what_it_names() {
    run(|world| async move {
        let row = "SELECT is_active, is_admin, resource_policy, concurrency_limit, rate_limit FROM keypairs \
                   WHERE access_key = 'USER'";
        let modify = |key: &str, props: &str| {
            format!("mutation {{modify_keypair(access_key: \"{key}\", props: {{{props}}}) {{ok msg}}}}")
        };
        let good = json!({"modify_keypair": {"ok": true, "msg": "success"}});
        assert_eq!(world.admin(&modify("USER", "is_active: false, rate_limit: 5")).await, good);
        assert_eq!(world.sql(row), "f|f|small|30|5");
        assert_eq!(world.admin(&modify("USER", "")).await, good);
        assert_eq!(world.admin(&modify("USER", "is_active: null, resource_policy: \"big\"")).await, good);
        assert_eq!(world.sql(row), "f|f|big|30|5");
        let bad = world.admin(&modify("NOBODY", "is_active: true")).await;
        assert_eq!(bad["modify_keypair"]["ok"], false);
        let message = bad["modify_keypair"]["msg"].as_str().unwrap();
        assert!(message.starts_with("failed to modify keypair"), "{message}");
        let negative = world.admin(&modify("USER", "concurrency_limit: -3")).await;
        assert_eq!(negative["modify_keypair"]["ok"], false);
        assert_eq!(world.sql(row), "f|f|big|30|5");
    });
}

#[test]
fn only_a_keypair_that_nothing_belongs_to_is_deleted() {
    run(|world| async move {
        let delete = |key: &str| format!("mutation {{delete_keypair(access_key: \"{key}\") {{ok msg}}}}");
        let good = json!({"delete_keypair": {"ok": true, "msg": "success"}});
        assert_eq!(world.admin(&delete("USER2")).await, good);
        for key in ["USER2", "USER", "NOBODY"] {
            let bad = world.admin(&delete(key)).await;
            assert_eq!(bad["delete_keypair"]["ok"], false);
            let message = bad["delete_keypair"]["msg"].as_str().unwrap();
            assert!(message.starts_with("failed to delete keypair"), "{message}");
        }
        assert_eq!(
            world.sql("SELECT string_agg(access_key, ' ' ORDER BY access_key) FROM keypairs"),
            "ADMIN OTHER USER"
        );
    });
}
