use super::*;

/// Listens on a channel and makes changes, each in a transaction of its own; the payloads that came, sorted.
fn told(database: &Database, channel: &str, changes: &str) -> Vec<String> {
    let mut came: Vec<String> = database
        .sql(&format!("LISTEN {channel}; {changes}"))
        .lines()
        .filter_map(|line| line.split_once("with payload \"")?.1.split_once('"').map(|it| it.0.to_owned()))
        .collect();
    came.sort();
    came
}

#[test]
fn changes_of_a_key_that_a_gateway_acts_on_are_told_and_counters_are_not() {
    run(async {
        let database = Database::current().await;
        let keys = ["ACTIVE", "ADMIN", "COUNTS", "GONE", "LIMIT", "POLICY", "RATE", "SAME", "SECRET"];
        for key in keys {
            database.add_key(key, "1");
        }
        let changes = "UPDATE keypairs SET is_active = false WHERE access_key = 'ACTIVE'; \
             UPDATE keypairs SET is_admin = true WHERE access_key = 'ADMIN'; \
             UPDATE keypairs SET concurrency_used = 1, num_queries = 9, last_used = now() WHERE access_key = 'COUNTS'; \
             DELETE FROM keypairs WHERE access_key = 'GONE'; \
             UPDATE keypairs SET concurrency_limit = NULL WHERE access_key = 'LIMIT'; \
             UPDATE keypairs SET resource_policy = 'x' WHERE access_key = 'POLICY'; \
             UPDATE keypairs SET rate_limit = 5 WHERE access_key = 'RATE'; \
             UPDATE keypairs SET is_active = is_active WHERE access_key = 'SAME'; \
             UPDATE keypairs SET secret_key = 'new' WHERE access_key = 'SECRET'; \
             INSERT INTO keypairs (access_key) VALUES ('ZNEW')";
        let expected = ["ACTIVE", "ADMIN", "GONE", "LIMIT", "RATE", "SECRET", "ZNEW"];
        assert_eq!(told(&database, "backendai_keypairs", changes), expected);
    });
}

#[test]
fn changes_of_an_agent_are_told_and_its_used_slots_are_not() {
    run(async {
        let database = Database::current().await;
        for id in ["i-addr", "i-heard", "i-lost", "i-mem", "i-used"] {
            database.add_agent(id, 100, 1.0, 0.0);
        }
        let changes = "UPDATE agents SET addr = 'tcp://10.0.0.1:6001' WHERE id = 'i-addr'; \
             UPDATE agents SET lost_at = now() WHERE id = 'i-heard'; \
             UPDATE agents SET status = 'LOST' WHERE id = 'i-lost'; \
             UPDATE agents SET mem_slots = 1 WHERE id = 'i-mem'; \
             UPDATE agents SET used_mem_slots = 1, used_cpu_slots = 1 WHERE id = 'i-used'";
        assert_eq!(told(&database, "backendai_agents", changes), ["i-addr", "i-lost", "i-mem"]);
    });
}
