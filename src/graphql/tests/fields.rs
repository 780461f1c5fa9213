//! Each field of each type.

use super::*;

const KERNEL: &str = "sess_id id role lang status status_info created_at terminated_at agent container_id mem_slot \
    cpu_slot gpu_slot num_queries cpu_used mem_max_bytes mem_cur_bytes net_rx_bytes net_tx_bytes io_read_bytes \
    io_write_bytes io_max_scratch_size io_cur_scratch_size";
const KEYPAIR: &str = "user_id access_key secret_key is_active is_admin resource_policy created_at last_used \
    concurrency_limit concurrency_used rate_limit num_queries";
const FOLDER: &str = "id host name max_files max_size created_at last_used num_files cur_size";

fn running() -> Value {
    json!({
        "sess_id": "shared", "id": RUNNING, "role": "master", "lang": "python:latest", "status": "RUNNING",
        "status_info": null, "created_at": "2017-03-02T00:00:00.000001+00:00", "terminated_at": null,
        "agent": "i-1", "container_id": "c1", "mem_slot": 512, "cpu_slot": 1.5, "gpu_slot": 0.25,
        "num_queries": 12, "cpu_used": 1235, "mem_max_bytes": 5_000_000_001_i64, "mem_cur_bytes": 4_000_000_000_i64,
        "net_rx_bytes": 1, "net_tx_bytes": 2, "io_read_bytes": 3, "io_write_bytes": 4, "io_max_scratch_size": 5,
        "io_cur_scratch_size": 6,
    })
}

fn ended() -> Value {
    json!({
        "sess_id": "ended", "id": ENDED, "role": "master", "lang": "lua:latest", "status": "TERMINATED",
        "status_info": "user-requested", "created_at": "2017-03-01T00:00:00+00:00",
        "terminated_at": "2017-03-01T01:00:00+00:00", "agent": "i-2", "container_id": null, "mem_slot": 256,
        "cpu_slot": 1.0, "gpu_slot": 0.0, "num_queries": 7, "cpu_used": 1234, "mem_max_bytes": 5_000_000_000_i64,
        "mem_cur_bytes": 0, "net_rx_bytes": 6_000_000_000_i64, "net_tx_bytes": 7_000_000_000_i64,
        "io_read_bytes": 8_000_000_000_i64, "io_write_bytes": 9_000_000_000_i64,
        "io_max_scratch_size": 10_000_000_000_i64, "io_cur_scratch_size": 0,
    })
}

/// Statistics and counters of the running session, and some of the ended one that nobody must see.
async fn report(world: &World) {
    let stats = [
        ("cpu_used", "1234.6"),
        ("mem_max_bytes", "5000000001"),
        ("mem_cur_bytes", "4000000000"),
        ("net_rx_bytes", "1"),
        ("net_tx_bytes", "2"),
        ("io_read_bytes", "3"),
        ("io_write_bytes", "4"),
        ("io_max_scratch_size", "5"),
        ("io_cur_scratch_size", "6"),
    ];
    world.report(RUNNING, &stats).await;
    world.report(ENDED, &stats).await;
    world.ledger("queries", RUNNING, 12).await;
    world.ledger("queries", ENDED, 99).await;
}

#[test]
fn a_session_is_its_last_report_while_it_lives_and_its_row_afterwards() {
    run(|world| async move {
        report(&world).await;
        let want = json!([running(), ended()]);
        let admin = world.admin(&format!("{{compute_sessions(access_key: \"USER\") {{{KERNEL}}}}}")).await;
        assert_eq!(admin, json!({"compute_sessions": want}));
        let user = world.user(&format!("{{compute_sessions {{{KERNEL}}}}}")).await;
        assert_eq!(user, json!({"compute_sessions": want}));
    });
}

#[test]
fn an_agent_has_all_its_fields_and_what_runs_on_it() {
    run(|world| async move {
        report(&world).await;
        let all = "id status region mem_slots cpu_slots gpu_slots used_mem_slots used_cpu_slots used_gpu_slots addr \
                   first_contact lost_at";
        let data = world
            .admin(&format!(
                "{{agent(agent_id: \"i-2\") {{{all} computations {{{KERNEL}}}}} nobody: agent(agent_id: \"i-3\") {{id}} \
                 none: agent {{id}}}}"
            ))
            .await;
        let want = json!({
            "agent": {
                "id": "i-2", "status": "LOST", "region": "there", "mem_slots": 16, "cpu_slots": 1.0, "gpu_slots": 0.0,
                "used_mem_slots": 0, "used_cpu_slots": 0.0, "used_gpu_slots": 0.0, "addr": "tcp://10.0.0.2:6001",
                "first_contact": "2017-01-02T00:00:00.500000+00:00", "lost_at": "2017-01-03T12:34:56.789012+00:00",
                "computations": [ended()],
            },
            "nobody": null,
            "none": null,
        });
        assert_eq!(data, want);
    });
}

#[test]
fn a_keypair_has_all_its_fields_folders_sessions_and_their_workers() {
    run(|world| async move {
        let fields = format!("{KEYPAIR} vfolders {{{FOLDER}}} compute_sessions {{id workers {{id role status}}}}");
        let want = json!({
            "user_id": 2, "access_key": "USER", "secret_key": "user-secret", "is_active": true, "is_admin": false,
            "resource_policy": "small", "created_at": "2017-01-01T12:34:56.789012+00:00",
            "last_used": "2017-02-01T00:00:00+00:00", "concurrency_limit": 30, "concurrency_used": 1,
            "rate_limit": 1000, "num_queries": 40,
            "vfolders": [
                {"id": "10000000-0000-4000-8000-000000000002", "host": "local", "name": "data", "max_files": null,
                 "max_size": null, "created_at": null, "last_used": null, "num_files": null, "cur_size": null},
                {"id": "10000000-0000-4000-8000-000000000001", "host": "local", "name": "work", "max_files": 10,
                 "max_size": 2048, "created_at": "2017-01-05T00:00:00+00:00",
                 "last_used": "2017-01-06T00:00:00.250000+00:00", "num_files": 3, "cur_size": 77},
            ],
            "compute_sessions": [
                {"id": RUNNING, "workers": [{"id": WORKER, "role": "worker", "status": "RUNNING"}]},
                {"id": ENDED, "workers": []},
            ],
        });
        let admin = world.admin(&format!("{{keypair(access_key: \"USER\") {{{fields}}}}}")).await;
        assert_eq!(admin, json!({"keypair": want}));
        assert_eq!(world.user(&format!("{{keypair {{{fields}}}}}")).await, json!({"keypair": want}));
    });
}

#[test]
fn an_admin_who_names_no_key_means_their_own() {
    run(|world| async move {
        let data = world.admin("{keypair {access_key} vfolders {id} compute_sessions {id}}").await;
        assert_eq!(data, json!({"keypair": {"access_key": "ADMIN"}, "vfolders": [], "compute_sessions": []}));
        let nobody = "{keypair(access_key: \"NOBODY\") {access_key} compute_sessions(access_key: \"NOBODY\") {id}}";
        assert_eq!(world.admin(nobody).await, json!({"keypair": null, "compute_sessions": []}));
    });
}

#[test]
fn a_user_sees_no_other_key() {
    run(|world| async move {
        let workers = "{compute_workers(sess_id: \"shared\") {id}}";
        assert_eq!(ids(&world.user(workers).await["compute_workers"]), [WORKER]);
        assert_eq!(world.admin(workers).await["compute_workers"].as_array().unwrap().len(), 2);
        for query in [
            "{keypair(access_key: \"OTHER\") {secret_key}}",
            "{vfolders(access_key: \"OTHER\") {id}}",
            "{compute_sessions(access_key: \"OTHER\") {id}}",
            "{compute_session_list(limit: 1, offset: 0, access_key: \"OTHER\") {total_count}}",
            "{compute_workers(sess_id: \"shared\", access_key: \"OTHER\") {id}}",
            "{agents {id}}",
            "{agent(agent_id: \"i-1\") {id}}",
            "{keypairs(user_id: 3) {secret_key}}",
            "mutation {delete_keypair(access_key: \"USER2\") {ok}}",
        ] {
            assert!(world.error("USER", query).await.0, "{query}");
        }
        let all = world.user("{compute_sessions {id workers {id}} vfolders {name} keypair {access_key}}").await;
        assert!(!all.to_string().contains(OTHERS) && !all.to_string().contains("theirs"), "{all}");
    });
}

#[test]
fn a_session_by_its_name() {
    run(|world| async move {
        let one = |name: &str| format!("{{compute_session(sess_id: \"{name}\") {{sess_id workers {{id}}}}}}");
        assert_eq!(world.user(&one("shared")).await["compute_session"]["sess_id"], "shared");
        assert_eq!(world.admin(&one("shared")).await["compute_session"]["sess_id"], "shared");
        for query in [&one("nothing"), "{compute_session {sess_id}}"] {
            assert_eq!(world.user(query).await["compute_session"], Value::Null, "{query}");
        }
        world.sql("UPDATE kernels SET sess_id = 'theirs' WHERE access_key = 'OTHER'");
        assert_eq!(world.user(&one("theirs")).await["compute_session"], Value::Null);
        assert_eq!(world.admin(&one("theirs")).await["compute_session"]["sess_id"], "theirs");
    });
}

#[test]
fn images_and_their_aliases() {
    run(|world| async move {
        let wanted = json!([
            {"name": "python", "tag": "3.6", "hash": "sha256:2", "aliases": []},
            {"name": "python", "tag": "latest", "hash": "sha256:1", "aliases": ["py"]},
        ]);
        let query = "{images {name tag hash aliases}}";
        assert_eq!(world.user(query).await["images"], wanted);
        assert_eq!(world.admin(query).await["images"], wanted);
    });
}

#[test]
fn key_pairs_of_all_users() {
    run(|world| async move {
        let all = world.admin("{keypairs {access_key}}").await["keypairs"].as_array().unwrap().len();
        assert_eq!(all.to_string(), world.sql("SELECT count(*) FROM keypairs").trim());
    });
}
