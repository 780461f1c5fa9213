//! Agents and sessions as the database has them: just the rows that the screen shows, and their numbers.

use std::time::Duration;

use futures_util::future::try_join4;
use tokio_postgres::{Client, Row};

use super::super::{CliError, database};
use crate::config::Connections;

/// How long one statement may take: what is slower is not worth its load every second.
const STATEMENT_LIMIT: &str = "SET statement_timeout = '4s'; SET default_transaction_read_only = on";

/// Which rows of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// How many come before.
    pub skip: usize,
    /// How many at most.
    pub count: usize,
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Of the agents.
    pub agents: Span,
    /// Of the sessions.
    pub sessions: Span,
    /// How the sessions are sorted.
    pub order: Order,
}

/// How sessions are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The youngest first.
    #[default]
    Newest,
    /// By name.
    Name,
    /// By key, of each the youngest first.
    Key,
    /// Those that have had the most queries first.
    Queries,
}

/// What the database says.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// What was asked for.
    pub window: Window,
    /// The agents of the window.
    pub agents: Vec<Agent>,
    /// All agents together.
    pub sums: Sums,
    /// The sessions of the window.
    pub sessions: Vec<Session>,
    /// How many sessions live.
    pub live: usize,
}

/// A compute node that has not been ended.
#[derive(Clone, Debug)]
pub struct Agent {
    pub id: String,
    pub status: String,
    /// It gets no new sessions.
    pub cordoned: bool,
    pub slots: Slots,
    /// How many live sessions it has.
    pub sessions: i64,
}

/// Used slots and all slots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slots {
    /// Cores.
    pub cpu: (f64, f64),
    /// MiB.
    pub mem: (f64, f64),
    /// Devices.
    pub gpu: (f64, f64),
}

/// All agents together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub agents: usize,
    /// Those that are not `ALIVE`.
    pub away: i64,
    pub cordoned: i64,
    /// Of those that are `ALIVE`.
    pub slots: Slots,
}

/// A live session.
#[derive(Clone, Debug)]
pub struct Session {
    pub name: String,
    pub key: String,
    pub image: String,
    pub status: String,
    pub agent: String,
    pub age: Duration,
    pub queries: i64,
}

/// As the partial index of live sessions has it.
const LIVE: &str = "role = 'master' AND status NOT IN ('TERMINATED', 'ERROR')";

const SLOTS: &str = "used_cpu_slots, cpu_slots, used_mem_slots::float8, mem_slots::float8, used_gpu_slots, gpu_slots";

const SUMS: &str = "SELECT count(*), count(*) FILTER (WHERE status <> 'ALIVE'), count(*) FILTER (WHERE NOT schedulable), \
                    sum(used_cpu_slots) FILTER (WHERE status = 'ALIVE'), sum(cpu_slots) FILTER (WHERE status = 'ALIVE'), \
                    sum(used_mem_slots::float8) FILTER (WHERE status = 'ALIVE'), \
                    sum(mem_slots::float8) FILTER (WHERE status = 'ALIVE'), \
                    sum(used_gpu_slots) FILTER (WHERE status = 'ALIVE'), sum(gpu_slots) FILTER (WHERE status = 'ALIVE') \
                    FROM agents WHERE status <> 'TERMINATED'";

/// A connection that reads only, and no statement for long.
pub async fn connect(to: &Connections) -> Result<Client, CliError> {
    let client = database(to).await?;
    client.batch_execute(STATEMENT_LIMIT).await?;
    Ok(client)
}

/// Reads what the window shows.
pub async fn read(client: &Client, window: Window) -> Result<Cluster, CliError> {
    let Window { agents, sessions, order } = window;
    let agent_rows = format!(
        "SELECT id, status::text, NOT schedulable, {SLOTS}, coalesce(live.sessions, 0) FROM agents \
         LEFT JOIN (SELECT agent, count(*) AS sessions FROM kernels WHERE {LIVE} GROUP BY agent) live \
         ON live.agent = id WHERE status <> 'TERMINATED' ORDER BY status, id LIMIT $1 OFFSET $2"
    );
    let session_rows = format!(
        "SELECT coalesce(sess_id, id::text), access_key, lang, status::text, agent, \
         extract(epoch FROM now() - created_at)::float8, coalesce(num_queries, 0) \
         FROM kernels WHERE {LIVE} ORDER BY {} LIMIT $1 OFFSET $2",
        order.sql()
    );
    let live = format!("SELECT count(*) FROM kernels WHERE {LIVE}");
    let (agent_limits, session_limits) = (agents.limits(), sessions.limits());
    let [agent_count, agent_skip] = &agent_limits;
    let [session_count, session_skip] = &session_limits;
    // Sent at once, answered one after the other.
    let (agents, sums, sessions, live) = try_join4(
        client.query(&agent_rows, &[agent_count, agent_skip]),
        client.query_one(SUMS, &[]),
        client.query(&session_rows, &[session_count, session_skip]),
        client.query_one(&live, &[]),
    )
    .await?;
    Ok(Cluster {
        window,
        agents: agents.iter().map(agent).collect::<Result<_, _>>()?,
        sums: sums_of(&sums)?,
        sessions: sessions.iter().map(session).collect::<Result<_, _>>()?,
        live: count(live.try_get(0)?),
    })
}

fn agent(row: &Row) -> Result<Agent, tokio_postgres::Error> {
    Ok(Agent {
        id: row.try_get(0)?,
        status: row.try_get(1)?,
        cordoned: row.try_get(2)?,
        slots: slots(row, 3)?,
        sessions: row.try_get(9)?,
    })
}

fn sums_of(row: &Row) -> Result<Sums, tokio_postgres::Error> {
    let agents = count(row.try_get(0)?);
    Ok(Sums { agents, away: row.try_get(1)?, cordoned: row.try_get(2)?, slots: slots(row, 3)? })
}

/// The six numbers from column `at` on; a sum over nothing is null.
fn slots(row: &Row, at: usize) -> Result<Slots, tokio_postgres::Error> {
    let number = |at| row.try_get::<_, Option<f64>>(at).map(Option::unwrap_or_default);
    let pair = |at| Ok::<_, tokio_postgres::Error>((number(at)?, number(at + 1)?));
    Ok(Slots { cpu: pair(at)?, mem: pair(at + 2)?, gpu: pair(at + 4)? })
}

fn session(row: &Row) -> Result<Session, tokio_postgres::Error> {
    let text = |at| row.try_get::<_, Option<String>>(at).map(|it| it.unwrap_or_else(|| "-".to_owned()));
    let age: Option<f64> = row.try_get(5)?;
    Ok(Session {
        name: text(0)?,
        key: text(1)?,
        image: text(2)?,
        status: text(3)?,
        agent: text(4)?,
        age: Duration::try_from_secs_f64(age.unwrap_or_default()).unwrap_or_default(),
        queries: row.try_get(6)?,
    })
}

fn count(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or_default()
}

// === impl Span ===

impl Span {
    /// `LIMIT` and `OFFSET`.
    fn limits(self) -> [i64; 2] {
        [self.count, self.skip].map(|it| i64::try_from(it).unwrap_or(i64::MAX))
    }
}

// === impl Order ===

impl Order {
    /// The one after it.
    pub fn next(self) -> Order {
        match self {
            Order::Newest => Order::Name,
            Order::Name => Order::Key,
            Order::Key => Order::Queries,
            Order::Queries => Order::Newest,
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Order::Newest => "newest",
            Order::Name => "name",
            Order::Key => "key",
            Order::Queries => "queries",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Order::Newest => "created_at DESC NULLS LAST, id",
            Order::Name => "sess_id, access_key",
            Order::Key => "access_key, created_at DESC NULLS LAST, id",
            Order::Queries => "num_queries DESC NULLS LAST, created_at DESC NULLS LAST, id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::postgres::migrate, testing::Postgres};

    const ROWS: &str = "
        INSERT INTO keypairs (access_key, is_active) VALUES ('K', true), ('L', true);
        INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots,
                            used_gpu_slots, addr, schedulable)
        VALUES ('i-b', 'ALIVE', 'r', 2048, 8, 1, 1024, 2.5, 0.5, 'a', true),
               ('i-a', 'LOST', 'r', 1024, 4, 0, 0, 0, 0, 'a', true),
               ('i-c', 'ALIVE', 'r', 1024, 4, 0, 0, 0, 0, 'a', false),
               ('i-old', 'TERMINATED', 'r', 1024, 4, 0, 0, 0, 0, 'a', true);
        INSERT INTO kernels (sess_id, agent, agent_addr, access_key, lang, mem_slot, cpu_slot, gpu_slot, repl_in_port,
                             repl_out_port, stdin_port, stdout_port, status, created_at, num_queries)
        SELECT 'job-' || n, 'i-b', 'a', CASE WHEN n % 2 = 0 THEN 'K' ELSE 'L' END, 'python:3.6', 1, 1, 0, 0, 0, 0, 0,
               CASE WHEN n = 5 THEN 'TERMINATED'::kernelstatus ELSE 'RUNNING' END, now() - n * interval '1 minute', n * 7 % 5
        FROM generate_series(1, 6) n;";

    fn names(cluster: &Cluster) -> Vec<&str> {
        cluster.sessions.iter().map(|it| it.name.as_str()).collect()
    }

    #[tokio::test]
    async fn only_the_window_is_read_and_ended_ones_are_left_out() {
        let postgres = Postgres::shared();
        let name = postgres.new_database();
        let to = postgres.connections(&name);
        let mut client = crate::store::postgres::connect::connect(&to, "test").await.unwrap();
        migrate::upgrade(&mut client, |_| ()).await.unwrap();
        postgres.psql(&name, ROWS);
        let client = connect(&to).await.unwrap();
        let span = |skip, count| Span { skip, count };
        let window = Window { agents: span(0, 2), sessions: span(1, 3), order: Order::Newest };
        let cluster = read(&client, window).await.unwrap();
        assert_eq!(
            cluster.agents.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
            ["i-b", "i-c"],
            "the living first"
        );
        assert_eq!((cluster.agents[0].sessions, cluster.agents[1].cordoned), (5, true));
        assert_eq!((cluster.sums.agents, cluster.sums.away, cluster.sums.cordoned), (3, 1, 1));
        assert_eq!((cluster.sums.slots.mem, cluster.sums.slots.gpu), ((1024.0, 3072.0), (0.5, 1.0)));
        assert_eq!((names(&cluster), cluster.live), (vec!["job-2", "job-3", "job-4"], 5));
        assert_eq!(cluster.sessions[0].age.as_secs() / 60, 2);
        for (order, first) in [(Order::Name, "job-1"), (Order::Key, "job-2"), (Order::Queries, "job-2")] {
            let window = Window { sessions: span(0, 1), order, ..Window::default() };
            assert_eq!(names(&read(&client, window).await.unwrap()), [first], "{order:?}");
        }
        let refused = client.execute("DELETE FROM agents", &[]).await.unwrap_err();
        assert!(crate::store::postgres::explain(&refused).contains("read-only"), "{refused}");
    }
}
