//! Filters and parts of lists, and what reading them costs.

use super::*;

#[test]
fn lists_are_filtered() {
    run(|world| async move {
        let data = world
            .admin(
                "{all: agents {id} alive: agents(status: \"ALIVE\") {id} lost: agents(status: \"LOST\") {id} \
                 restarting: agents(status: \"RESTARTING\") {id}}",
            )
            .await;
        assert_eq!(ids(&data["all"]), ["i-1", "i-2"]);
        assert_eq!(ids(&data["alive"]), ["i-1"]);
        assert_eq!(ids(&data["lost"]), ["i-2"]);
        assert_eq!(ids(&data["restarting"]), [""; 0]);
        let data = world
            .admin(
                "{both: keypairs(user_id: 2) {access_key} active: keypairs(user_id: 2, is_active: true) {access_key} \
                 inactive: keypairs(user_id: 2, is_active: false) {access_key} none: keypairs(user_id: 9) {access_key}}",
            )
            .await;
        let keys = |name: &str| data[name].as_array().unwrap().iter().map(|it| it["access_key"].clone()).collect();
        let keys = |name: &str| -> Vec<Value> { keys(name) };
        assert_eq!(keys("both"), ["USER", "USER2"]);
        assert_eq!(keys("active"), ["USER"]);
        assert_eq!(keys("inactive"), ["USER2"]);
        assert_eq!(keys("none"), [""; 0]);
    });
}

#[test]
fn sessions_and_workers_are_filtered_by_status_on_every_way_to_them() {
    run(|world| async move {
        let query = "{compute_sessions(status: \"RUNNING\") {id} ended: compute_sessions(status: \"TERMINATED\") {id} \
            keypair {compute_sessions(status: \"TERMINATED\") {id}} \
            workers: compute_workers(sess_id: \"shared\", status: \"RUNNING\") {id} \
            none: compute_workers(sess_id: \"shared\", status: \"ERROR\") {id}}";
        let data = world.user(query).await;
        assert_eq!(ids(&data["compute_sessions"]), [RUNNING]);
        assert_eq!(ids(&data["ended"]), [ENDED]);
        assert_eq!(ids(&data["keypair"]["compute_sessions"]), [ENDED]);
        assert_eq!(ids(&data["workers"]), [WORKER]);
        assert_eq!(ids(&data["none"]), [""; 0]);
        let data = world
            .admin(
                "{compute_sessions(access_key: \"OTHER\") {workers(status: \"RUNNING\") {id} all: workers {id}} \
                 agent(agent_id: \"i-1\") {computations(status: \"PREPARING\") {role}}}",
            )
            .await;
        assert_eq!(data["compute_sessions"][0]["workers"], json!([]));
        assert_eq!(data["compute_sessions"][0]["all"].as_array().unwrap().len(), 1);
        assert_eq!(data["agent"]["computations"], json!([{"role": "worker"}]));
    });
}

#[test]
fn a_large_cluster_is_read_in_pages() {
    run(|world| async move {
        world.sql(
            "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots, \
             used_gpu_slots, addr) SELECT 'm-' || to_char(n, 'FM0000'), 'ALIVE', 'r', 8, 1, 0, 0, 0, 0, 'tcp://a:1' \
             FROM generate_series(1, 1000) AS n; \
             INSERT INTO kernels (sess_id, agent, agent_addr, access_key, lang, mem_slot, cpu_slot, gpu_slot, \
             repl_in_port, repl_out_port, stdin_port, stdout_port, created_at, status) \
             SELECT 'large-' || to_char(n, 'FM00000'), 'm-' || to_char(n % 1000 + 1, 'FM0000'), 'a', 'ADMIN', 'x:y', 1, \
             1, 0, 1, 2, 3, 4, '2020-01-01'::timestamptz + n * interval '1 s', 'TERMINATED' \
             FROM generate_series(1, 10000) AS n",
        );
        let page = "{compute_session_list(limit: 100, offset: 9900) {total_count items {sess_id}}}";
        let list = &world.admin(page).await["compute_session_list"];
        assert_eq!(list["total_count"], 10_000);
        let names: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|it| it["sess_id"].as_str().unwrap()).collect();
        assert_eq!((names.len(), names[0], names[99]), (100, "large-00100", "large-00001"));
        let asked = world.sources.postgres.asked();
        let page = "{agents(limit: 50, offset: 900) {id computations(limit: 3) {sess_id}}}";
        let agents = &world.admin(page).await["agents"];
        assert_eq!(world.sources.postgres.asked() - asked, 2);
        assert_eq!(agents.as_array().unwrap().len(), 50);
        assert_eq!(agents[0]["computations"].as_array().unwrap().len(), 3);
        let everything = world.admin("{agents {id} compute_sessions {sess_id}}").await;
        assert_eq!(everything["compute_sessions"].as_array().unwrap().len(), 10_000);
    });
}

#[test]
fn every_list_has_parts() {
    run(|world| async move {
        let data = world
            .admin(
                "{agents(limit: 1, offset: 1) {id} keypairs(user_id: 2, limit: 1) {access_key \
                 compute_sessions(offset: 1) {id} vfolders(limit: 1, offset: 1) {name}} \
                 vfolders(access_key: \"USER\", limit: 1) {name} none: vfolders(access_key: \"USER\", limit: 0) {name} \
                 compute_sessions(access_key: \"USER\", limit: 1, offset: 1) {id} \
                 compute_workers(sess_id: \"shared\", offset: 1) {id} \
                 one: compute_sessions(access_key: \"USER\", limit: 1) {workers(limit: 1, offset: 1) {id}} \
                 agent(agent_id: \"i-1\") {computations(limit: 2, offset: 2) {id}}}",
            )
            .await;
        assert_eq!(ids(&data["agents"]), ["i-2"]);
        let key = &data["keypairs"];
        assert_eq!(
            *key,
            json!([{"access_key": "USER", "compute_sessions": [{"id": ENDED}], "vfolders": [{"name": "work"}]}])
        );
        assert_eq!(data["vfolders"], json!([{"name": "data"}]));
        assert_eq!(data["none"], json!([]));
        assert_eq!(ids(&data["compute_sessions"]), [ENDED]);
        assert_eq!(ids(&data["compute_workers"]), [WORKER]);
        assert_eq!(data["one"], json!([{"workers": []}]));
        assert_eq!(ids(&data["agent"]["computations"]), [WORKER, RUNNING]);
    });
}

#[test]
fn a_session_list_says_how_long_it_is() {
    run(|world| async move {
        let part = "{compute_session_list(limit: 1, offset: 1) {items {id} total_count}}";
        assert_eq!(
            world.user(part).await,
            json!({"compute_session_list": {"items": [{"id": ENDED}], "total_count": 2}})
        );
        let beyond = "{compute_session_list(limit: 5, offset: 9, access_key: \"USER\", status: \"RUNNING\") \
            {items {id} total_count}}";
        assert_eq!(world.admin(beyond).await, json!({"compute_session_list": {"items": [], "total_count": 1}}));
    });
}

#[test]
fn what_makes_no_sense_is_told() {
    run(|world| async move {
        for (query, what) in [
            ("{agents(status: \"RUNNING\") {id}}", "there is no status \"RUNNING\""),
            ("{compute_sessions(status: \"running\") {id}}", "there is no status \"running\""),
            ("{compute_workers(sess_id: \"shared\", status: \"\") {id}}", "there is no status \"\""),
            ("{agents {computations(status: \"ALIVE\") {id}}}", "there is no status \"ALIVE\""),
            ("{agents(limit: -1) {id}}", "limit must not be negative"),
            ("{vfolders(offset: -1) {id}}", "offset must not be negative"),
            ("{keypair(access_key: \"a\\u0000b\") {access_key}}", "invalid byte sequence"),
        ] {
            let (refused, message) = world.error("ADMIN", query).await;
            assert!(!refused && message.contains(what), "{query}: {message}");
        }
        for query in ["", "{", "{nothing}", "{agents}", "{keypairs}", "{agents(limit: \"x\") {id}}"] {
            assert!(world.error("ADMIN", query).await.0, "{query}");
        }
    });
}

#[test]
fn a_level_costs_one_statement_however_many_parents_it_has() {
    run(|world| async move {
        world.sql(
            "INSERT INTO keypairs (user_id, access_key) SELECT 7, 'K' || lpad(n::text, 3, '0') FROM \
             generate_series(0, 99) AS n; \
             INSERT INTO vfolders (host, name, belongs_to) SELECT 'local', 'f', 'K' || lpad(n::text, 3, '0') \
             FROM generate_series(0, 99) AS n; \
             INSERT INTO kernels (sess_id, role, agent, agent_addr, access_key, mem_slot, cpu_slot, gpu_slot, \
             repl_in_port, repl_out_port, stdin_port, stdout_port, status) \
             SELECT 's' || s, r, 'i-1', 'a', 'K' || lpad(n::text, 3, '0'), 1, 1, 0, 0, 0, 0, 0, 'RUNNING' \
             FROM generate_series(0, 99) AS n, generate_series(1, 3) AS s, (VALUES ('master'), ('worker')) AS v(r)",
        );
        let before = world.sources.postgres.asked();
        let query = "{keypairs(user_id: 7) {access_key num_queries last_used vfolders {name} \
            compute_sessions {sess_id num_queries cpu_used mem_cur_bytes io_read_bytes \
            workers {sess_id num_queries cpu_used net_rx_bytes}}}}";
        let data = world.admin(query).await;
        // Key pairs; their counters, folders, sessions; the workers.
        assert_eq!(world.sources.postgres.asked() - before, 5);
        let keys = data["keypairs"].as_array().unwrap();
        assert_eq!(keys.len(), 100);
        for key in keys {
            assert_eq!(key["vfolders"], json!([{"name": "f"}]));
            let sessions = key["compute_sessions"].as_array().unwrap();
            assert_eq!(sessions.len(), 3);
            assert!(sessions.iter().all(|it| it["workers"].as_array().unwrap().len() == 1), "{key}");
        }
        // Each kernel's statistics were asked for once, and all counters of a level together.
        let calls = |stats: &str, command: &str| -> u64 {
            let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap();
            line.split(['=', ',']).nth(1).unwrap().parse().unwrap()
        };
        let stats: String = world.redis[1].query(cmd("INFO").arg("commandstats")).await.unwrap();
        assert_eq!(calls(&stats, "hgetall"), 600);
        // 100 within the script that reads what keys used, and one for each level of kernels.
        assert_eq!(calls(&stats, "hmget"), 102);
    });
}

#[test]
fn a_list_that_no_worker_should_hold_is_refused() {
    run(|world| async move {
        world.sql(
            "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots, \
             used_gpu_slots, addr) SELECT 'x' || n, 'TERMINATED', '', 1, 1, 1, 0, 0, 0, '' \
             FROM generate_series(1, 20000) AS n",
        );
        let (refused, message) = world.error("ADMIN", "{agents {id}}").await;
        assert!(!refused && message.contains("more than 20000 rows"), "{message}");
        let some = world.admin("{agents(limit: 1000, offset: 19000) {id}}").await;
        assert_eq!(some["agents"].as_array().unwrap().len(), 1000);
    });
}
