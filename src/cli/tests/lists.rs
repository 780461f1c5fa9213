//! Lists of many rows come in pages that neither miss nor repeat one.

use std::collections::BTreeSet;

use super::*;

/// Sessions of many moments, some of which share one; and agents.
fn crowded() -> Cluster {
    let cluster = Cluster::current();
    cluster.sql(
        "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots, \
         used_gpu_slots, addr) SELECT 'i-' || to_char(n, 'FM0000'), 'ALIVE', 'r', 1024, 8, 0, 0, 0, 0, 'tcp://a:1' \
         FROM generate_series(1, 1000) n; \
         INSERT INTO keypairs (access_key, is_active) VALUES ('K', true); \
         INSERT INTO kernels (sess_id, agent, agent_addr, access_key, lang, mem_slot, cpu_slot, gpu_slot, \
         repl_in_port, repl_out_port, stdin_port, stdout_port, status, created_at) \
         SELECT 's' || n, 'i-0001', 'a', 'K', 'python:3', 256, 1, 0, 0, 0, 0, 0, \
         (CASE WHEN n % 10 = 0 THEN 'RUNNING' ELSE 'TERMINATED' END)::kernelstatus, \
         '2026-01-01'::timestamptz + n / 3 * interval '1 s' FROM generate_series(1, 10000) n",
    );
    cluster
}

#[test]
fn ten_thousand_sessions_and_a_thousand_agents_are_listed_whole_and_in_pages() {
    let cluster = crowded();
    let ids = |command: &str| -> Vec<String> {
        let rows = cluster.json(command);
        rows.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = ids("session list --all");
    assert_eq!(all.len(), 10_000);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 10_000);
    let newest_first = cluster.sql("SELECT id FROM kernels ORDER BY created_at DESC, id");
    assert!(newest_first.lines().eq(all.iter().map(String::as_str)));
    let pages: Vec<String> =
        (0..4).flat_map(|page| ids(&format!("session list --all --limit 2500 --offset {}", page * 2500))).collect();
    assert!(pages == all, "pages are the parts of the whole");
    assert_eq!(ids("session list --all --limit 10 --offset 9995").len(), 5);
    assert_eq!(ids("session list").len(), 1000);
    assert_eq!(ids("session list --limit 2").len(), 2);
    let table = cluster.run("session list --all").unwrap();
    assert_eq!(table.lines().count(), 10_001);
    assert_eq!(table.lines().filter(|it| it.starts_with("SESS_ID")).count(), 1, "one head");
    let agents = ids("agent list");
    assert_eq!((agents.len(), agents[999].as_str()), (1000, "i-1000"));
    assert_eq!(ids("agent list --limit 2 --offset 998"), ["i-0999", "i-1000"]);
}

#[test]
fn every_list_has_pages() {
    let cluster = Cluster::current();
    cluster.run("fixture populate example_keypair").unwrap();
    cluster.file("a.json", "{}").file("b.json", "{}");
    for key in ["a", "b"] {
        cluster.run(&format!("etcd put config/{key} 1")).unwrap();
    }
    for list in ["keypair list", "fixture list --fixtures-dir @", "etcd ls", "audit list"] {
        let all = cluster.json(list);
        let all = all.as_array().unwrap();
        assert!(all.len() >= 2, "{list}");
        let part = cluster.json(&format!("{list} --limit 1 --offset 1"));
        assert_eq!(part.as_array().unwrap().as_slice(), &all[1..2], "{list}");
        assert_eq!(cluster.json(&format!("{list} --limit 0")), serde_json::json!([]), "{list}");
    }
}
