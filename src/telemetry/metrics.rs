//! `/metrics`: all blocks of the map in Prometheus' text format 0.0.4.

use std::fmt::Write as _;

use super::{
    counters::{Counter, OTHERS},
    histogram::{BOUNDS, bound_seconds},
    map::{CountersMap, MAX_ROUTES, WorkerState},
    process::{Usage, usage},
};

/// How a route is named in labels; its place in the list is the index that it was observed with.
#[derive(Clone, Copy, Debug)]
pub struct RouteLabel<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The path's pattern, such as `/v4/kernel/{id}`.
    pub path: &'a str,
}

/// The page, for every slot of the map that ever had a worker.
pub fn render_metrics(map: CountersMap, routes: &[RouteLabel<'_>]) -> String {
    let slots: Vec<usize> = map.used().collect();
    let mut page = Page { text: String::with_capacity(32 << 10), map, slots };
    page.counters();
    page.requests(routes);
    page.latencies(routes);
    page.processes();
    page.text
}

struct Page {
    text: String,
    map: CountersMap,
    slots: Vec<usize>,
}

// === impl Page ===
// Writing into a String cannot fail, so its results are dropped.

impl Page {
    fn counters(&mut self) {
        let mut last = "";
        for counter in Counter::ALL {
            if std::mem::replace(&mut last, counter.name()) != counter.name() {
                self.head(counter.name(), counter.kind().name(), counter.help());
            }
            for slot in self.slots.clone() {
                let comma = if counter.label().is_empty() { "" } else { "," };
                let value = self.map.value(slot, *counter);
                let _ =
                    writeln!(self.text, "{}{{worker=\"{slot}\"{comma}{}}} {value}", counter.name(), counter.label());
            }
        }
    }

    fn requests(&mut self, routes: &[RouteLabel<'_>]) {
        self.other_head("backendai_requests_total");
        self.each_route(routes, |page, slot, index, route| {
            for (class, digit) in (1..=5).enumerate() {
                let sum: u64 = page.map.blocks(slot).filter_map(|b| b.classes(index).get(class).copied()).sum();
                if sum > 0 {
                    let labels = labels(slot, route);
                    let _ = writeln!(page.text, "backendai_requests_total{{{labels},status=\"{digit}xx\"}} {sum}");
                }
            }
        });
    }

    fn latencies(&mut self, routes: &[RouteLabel<'_>]) {
        self.other_head("backendai_request_seconds");
        self.each_route(routes, |page, slot, index, route| {
            let labels = labels(slot, route);
            let mut seen = 0;
            for bucket in 0..=BOUNDS {
                let count = |b: super::map::Block| b.buckets(index).get(bucket).copied();
                seen += page.map.blocks(slot).filter_map(count).sum::<u64>();
                let bound = if bucket < BOUNDS { bound_seconds(bucket).to_string() } else { "+Inf".to_owned() };
                let _ = writeln!(page.text, "backendai_request_seconds_bucket{{{labels},le=\"{bound}\"}} {seen}");
            }
            let micros: u64 = page.map.blocks(slot).map(|b| b.micros(index)).sum();
            let _ = writeln!(page.text, "backendai_request_seconds_sum{{{labels}}} {}", micros as f64 / 1e6);
            let _ = writeln!(page.text, "backendai_request_seconds_count{{{labels}}} {seen}");
        });
    }

    fn processes(&mut self) {
        let values: Vec<(usize, Usage, bool)> = self.slots.iter().map(|slot| self.process(*slot)).collect();
        type Column = (&'static str, fn(&Usage, bool) -> f64);
        let columns: [Column; 3] = [
            ("backendai_worker_cpu_seconds_total", |usage, _| usage.cpu_seconds),
            ("backendai_worker_resident_bytes", |usage, _| usage.resident_bytes as f64),
            ("backendai_worker_up", |_, up| f64::from(u8::from(up))),
        ];
        for (name, value) in columns {
            self.other_head(name);
            for (slot, usage, up) in &values {
                let _ = writeln!(self.text, "{name}{{worker=\"{slot}\"}} {}", value(usage, *up));
            }
        }
    }

    fn process(&self, slot: usize) -> (usize, Usage, bool) {
        let mut sum = Usage::default();
        let mut up = false;
        for block in self.map.blocks(slot) {
            let used = block.pid().and_then(usage).unwrap_or_default();
            sum.cpu_seconds += used.cpu_seconds;
            sum.resident_bytes += used.resident_bytes;
            up |= block.state() == WorkerState::Ready;
        }
        (slot, sum, up)
    }

    /// Calls `write` for each slot and route that has had a request.
    fn each_route(&mut self, routes: &[RouteLabel<'_>], write: impl Fn(&mut Self, usize, usize, RouteLabel<'_>)) {
        let other = RouteLabel { method: "", path: "other" };
        for slot in self.slots.clone() {
            for index in 0..MAX_ROUTES {
                let any = self.map.blocks(slot).any(|block| block.classes(index).iter().any(|count| *count > 0));
                if any {
                    write(self, slot, index, routes.get(index).copied().unwrap_or(other));
                }
            }
        }
    }

    fn other_head(&mut self, name: &str) {
        if let Some((name, kind, _, help)) = OTHERS.iter().find(|(other, ..)| *other == name) {
            self.head(name, kind, help);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

fn labels(slot: usize, route: RouteLabel<'_>) -> String {
    format!("worker=\"{slot}\",method=\"{}\",path=\"{}\"", route.method, route.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{add, attach, observe_request};

    #[test]
    fn the_page_has_every_slot_every_counter_and_the_routes_that_were_asked() {
        let map = CountersMap::private(4);
        for slot in 0..2 {
            map.started(slot, std::process::id(), Some(slot), 1);
            map.set_state(slot, WorkerState::Ready);
        }
        attach(map, 1);
        add(Counter::AgentTimeouts, 2);
        observe_request(1, 404, 100);
        let routes = [RouteLabel { method: "GET", path: "/v4" }, RouteLabel { method: "PUT", path: "/x/{id}" }];
        let page = render_metrics(map, &routes);
        for line in [
            "backendai_agent_errors_total{worker=\"1\",reason=\"timeout\"} 2",
            "backendai_requests_total{worker=\"1\",method=\"PUT\",path=\"/x/{id}\",status=\"4xx\"} 1",
            "backendai_request_seconds_bucket{worker=\"1\",method=\"PUT\",path=\"/x/{id}\",le=\"0.000064\"} 0",
            "backendai_request_seconds_bucket{worker=\"1\",method=\"PUT\",path=\"/x/{id}\",le=\"0.000128\"} 1",
            "backendai_request_seconds_bucket{worker=\"1\",method=\"PUT\",path=\"/x/{id}\",le=\"+Inf\"} 1",
            "backendai_request_seconds_sum{worker=\"1\",method=\"PUT\",path=\"/x/{id}\"} 0.0001",
            "backendai_worker_up{worker=\"0\"} 1",
            "# TYPE backendai_request_seconds histogram",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("/v4\"") && !page.contains("worker=\"2\""));
        assert!(!page.contains("backendai_worker_resident_bytes{worker=\"0\"} 0"));
    }

    #[test]
    fn a_metric_has_one_head_and_its_lines_follow_it() {
        let map = CountersMap::private(1);
        map.started(0, 1, None, 1);
        let page = render_metrics(map, &[]);
        let mut current = "";
        let mut seen: Vec<&str> = Vec::new();
        for line in page.lines().filter(|line| !line.starts_with("# HELP")) {
            if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
                assert!(!seen.contains(&name), "{name}");
                seen.push(name);
                current = name;
            } else {
                assert!(line.starts_with(current), "{line} under {current}");
            }
        }
        assert_eq!(page.matches("# HELP").count(), seen.len());
    }
}
