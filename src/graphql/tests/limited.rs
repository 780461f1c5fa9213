//! Documents that ask for too much, and those that ask for much and may.

use super::*;

/// What tools ask for first, to know a schema.
const INTROSPECTION: &str = "query IntrospectionQuery {__schema {queryType {name} mutationType {name} \
    subscriptionType {name} types {...FullType} directives {name description locations args {...InputValue}}}} \
    fragment FullType on __Type {kind name description fields(includeDeprecated: true) {name description \
    args {...InputValue} type {...TypeRef} isDeprecated deprecationReason} inputFields {...InputValue} \
    interfaces {...TypeRef} enumValues(includeDeprecated: true) {name description isDeprecated deprecationReason} \
    possibleTypes {...TypeRef}} fragment InputValue on __InputValue {name description type {...TypeRef} defaultValue} \
    fragment TypeRef on __Type {kind name ofType {kind name ofType {kind name ofType {kind name ofType {kind name \
    ofType {kind name ofType {kind name ofType {kind name ofType {kind name ofType {kind name}}}}}}}}}}";

#[test]
fn both_schemas_tell_of_themselves_unless_told_not_to() {
    run(|world| async move {
        let names = |data: Value| -> Vec<String> {
            let types = data["__schema"]["types"].as_array().unwrap().clone();
            types.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
        };
        let admin = names(world.admin(INTROSPECTION).await);
        let user = names(world.user(INTROSPECTION).await);
        assert!(admin.contains(&"Agent".into()) && admin.contains(&"KeyPairInput".into()), "{admin:?}");
        assert!(user.contains(&"ComputeSession".into()) && !user.contains(&"Agent".into()), "{user:?}");
        let silent = Schemas::new(false);
        let ask = Ask { query: INTROSPECTION.into(), ..Ask::default() };
        let caller = caller("ADMIN");
        match silent.execute(world.sources.clone(), caller, ask).await {
            Outcome::Refused(_) => {}
            Outcome::Done(response) => assert_eq!(response.data.to_string(), "{__schema: null}"),
        }
    });
}

#[test]
fn every_relation_at_once_is_answered() {
    run(|world| async move {
        let kernel = "id sess_id num_queries cpu_used mem_max_bytes net_rx_bytes io_read_bytes";
        let query = format!(
            "{{agents {{id computations {{{kernel}}}}} keypairs(user_id: 2) {{access_key num_queries vfolders {{name}} \
             compute_sessions {{{kernel} workers {{{kernel}}}}}}} vfolders {{id}} compute_sessions {{{kernel} workers \
             {{{kernel}}}}} compute_workers(sess_id: \"shared\") {{{kernel}}} \
             compute_session_list(limit: 10, offset: 0) {{items {{{kernel} workers {{id}}}} total_count}}}}"
        );
        let data = world.admin(&query).await;
        assert_eq!(data["agents"][0]["computations"].as_array().unwrap().len(), 4);
        assert_eq!(data["keypairs"][0]["compute_sessions"][0]["workers"][0]["id"], WORKER);
    });
}

#[test]
fn documents_that_ask_for_too_much_do_nothing() {
    run(|world| async move {
        let before = world.sources.postgres.asked();
        let deep = format!("{{keypair {}{}", "{compute_sessions {workers ".repeat(25), "}".repeat(51));
        let aliases: String = (0..10_000).map(|n| format!("a{n}: keypair {{access_key}} ")).collect();
        let relations: String = (0..400).map(|n| format!("a{n}: compute_sessions {{id}} ")).collect();
        for (query, limit) in [
            (deep, "depth"),
            (format!("{{{aliases}}}"), "root fields"),
            (format!("{{keypair {{{relations}}}}}"), "complexity"),
            ("{keypair ".repeat(1000), "nesting"),
        ] {
            for who in ["ADMIN", "USER"] {
                let (refused, message) = world.error(who, &query).await;
                assert!(refused && message.contains(&format!("limit of {limit}")), "{message}");
            }
        }
        let directives = "@include(if: true) ".repeat(9);
        assert!(world.error("USER", &format!("{{keypair {directives} {{access_key}}}}")).await.0);
        assert_eq!(world.sources.postgres.asked(), before);
    });
}

#[test]
fn one_operation_of_several_is_done() {
    run(|world| async move {
        let two = "query a {keypair {access_key}} query b($s: String) {compute_sessions(status: $s) {id}}";
        let caller = || caller("USER");
        let ask = |operation: Option<&str>| Ask {
            query: two.into(),
            variables: json!({"s": "TERMINATED", "unused": 1}),
            operation: operation.map(str::to_owned),
        };
        let done = world.execute(caller(), ask(Some("b"))).await;
        let Outcome::Done(response) = done else { panic!("{done:?}") };
        assert_eq!(serde_json::to_value(&response.data).unwrap(), json!({"compute_sessions": [{"id": ENDED}]}));
        for operation in [None, Some("c")] {
            let done = world.execute(caller(), ask(operation)).await;
            assert!(matches!(done, Outcome::Refused(_)), "{done:?}");
        }
    });
}
