//! The gateway's options, declared once: this gives parsing, `--help`, the file's keys and docs/options.md.

use std::{
    env,
    ffi::OsString,
    iter,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args as _, FromArgMatches as _};
use ipnet::IpNet;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

use super::{
    Connections, CpuList, Failure, HostPort, Secret, resolve,
    values::{header_name, host, method, network, origin, seconds},
};
use crate::auth::HashSet;
use crate::engine::EngineChoice;

/// Everything that a gateway can be told, with every default filled in.
#[derive(Clone, Debug, clap::Args)]
pub struct Gateway {
    /// A TOML file of options: `name = value`, names as on the command line without the dashes
    #[arg(long, env = "BACKEND_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// The socket over which `status`, `reload`, `drain` and `resize` reach the running supervisor
    /// [default: <NAMESPACE>-gateway.sock in $XDG_RUNTIME_DIR, /run/backendai or the temporary folder]
    #[arg(long, env = "BACKEND_CONTROL_SOCKET", value_name = "FILE", global = true, verbatim_doc_comment)]
    pub control_socket: Option<PathBuf>,

    /// Namespace and stores.
    #[command(flatten)]
    pub connections: Connections,

    /// The address on which the API is served
    #[arg(long, env = "BACKEND_SERVICE_IP", default_value = "0.0.0.0", value_name = "IP", help_heading = "Service")]
    pub service_ip: IpAddr,

    /// The port of the API [default: 8080, with TLS 8443]
    #[arg(long, env = "BACKEND_SERVICE_PORT", value_name = "PORT", help_heading = "Service")]
    pub service_port: Option<u16>,

    /// A file of the TLS certificate and its chain (PEM); needs --ssl-key
    #[arg(long, env = "BACKEND_SSL_CERT", value_name = "FILE", help_heading = "Service")]
    pub ssl_cert: Option<PathBuf>,

    /// A file of the TLS certificate's private key (PEM); needs --ssl-cert
    #[arg(long, env = "BACKEND_SSL_KEY", value_name = "FILE", help_heading = "Service")]
    pub ssl_key: Option<PathBuf>,

    /// Origins whose pages may call the API from a browser; * is any
    #[arg(long, env = "BACKEND_CORS_ORIGINS", default_value = "*", value_name = "LIST",
          value_delimiter = ',', value_parser = origin, help_heading = "Service")]
    pub cors_origins: Vec<String>,

    /// Headers that these pages may send
    #[arg(
        long,
        env = "BACKEND_CORS_HEADERS",
        default_value = "authorization,content-type,date,last-event-id,x-backendai-date,x-backendai-version,\
                         x-method-override,x-request-id,x-sorna-date,x-sorna-version",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = header_name,
        help_heading = "Service"
    )]
    pub cors_headers: Vec<String>,

    /// Methods that these pages may use, of those that a path has; * is all
    #[arg(long, env = "BACKEND_CORS_METHODS", default_value = "*", value_name = "LIST",
          value_delimiter = ',', value_parser = method, help_heading = "Service")]
    pub cors_methods: Vec<String>,

    /// Networks of proxies whose X-Forwarded-For is believed
    #[arg(long, env = "BACKEND_TRUSTED_PROXIES", value_name = "CIDRS",
          value_delimiter = ',', value_parser = network, help_heading = "Service")]
    pub trusted_proxies: Vec<IpNet>,

    /// The largest JSON body that is read, in bytes
    #[arg(long, env = "BACKEND_MAX_BODY", default_value = "1048576", value_name = "BYTES", help_heading = "Service")]
    pub max_body: usize,

    /// How long a worker that is told to stop may take to finish its requests
    #[arg(long, env = "BACKEND_DRAIN_TIMEOUT", default_value = "30", value_name = "SECONDS",
          value_parser = seconds, help_heading = "Service")]
    pub drain_timeout: Duration,

    /// The address of the operator routes /livez, /readyz, /metrics, /workers
    #[arg(long, env = "BACKEND_ADMIN_IP", default_value = "127.0.0.1", value_name = "IP", help_heading = "Service")]
    pub admin_ip: IpAddr,

    /// The port of the operator routes
    #[arg(long, env = "BACKEND_ADMIN_PORT", default_value = "8081", value_name = "PORT", help_heading = "Service")]
    pub admin_port: u16,

    /// Signature methods that are accepted, of sha256, sha384, sha512, sha3-256, sha3-512, sha224, sha1, md5, blake2b
    /// and blake2s
    #[arg(
        long,
        env = "BACKEND_SIGN_METHODS",
        default_value = "sha256,sha384,sha512,sha3-256,sha3-512",
        value_name = "LIST",
        help_heading = "Access"
    )]
    pub sign_methods: HashSet,

    /// Refuse a signature that was seen before
    #[arg(long, env = "BACKEND_REPLAY_PROTECTION", value_parser = clap::builder::FalseyValueParser::new(),
          help_heading = "Access")]
    pub replay_protection: bool,

    /// Do not tell clients of the admin API about its schema
    #[arg(long, env = "BACKEND_NO_INTROSPECTION", value_parser = clap::builder::FalseyValueParser::new(),
          help_heading = "Access")]
    pub no_introspection: bool,

    /// How long cached keys go on being accepted while PostgreSQL is away
    #[arg(long, env = "BACKEND_AUTH_MAX_STALE", default_value = "60", value_name = "SECONDS",
          value_parser = seconds, help_heading = "Access")]
    pub auth_max_stale: Duration,

    /// Unauthenticated requests that one address may send a worker in a window of 15 minutes [default: no limit]
    #[arg(long, env = "BACKEND_ANONYMOUS_LIMIT", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..), help_heading = "Access")]
    pub anonymous_limit: Option<u32>,

    /// The port at which agents' events arrive
    #[arg(long, env = "BACKEND_EVENTS_PORT", default_value = "5002", value_name = "PORT", help_heading = "Agents")]
    pub events_port: u16,

    /// The port at which an agent is called whose heartbeats say its address and no port
    #[arg(long, env = "BACKEND_AGENT_PORT", default_value = "6001", value_name = "PORT", help_heading = "Agents")]
    pub agent_port: u16,

    /// How long an agent may be silent before it is asked whether it lives
    #[arg(long, env = "BACKEND_HEARTBEAT_TIMEOUT", default_value = "5.0", value_name = "SECONDS",
          value_parser = seconds, help_heading = "Agents")]
    pub heartbeat_timeout: Duration,

    /// Networks from which agents' events are accepted
    #[arg(long, env = "BACKEND_AGENT_NETWORKS", value_name = "CIDRS", value_delimiter = ',', value_parser = network,
          default_value = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7,fe80::/10",
          help_heading = "Agents")]
    pub agent_networks: Vec<IpNet>,

    /// The host at which agents and other gateways reach this one [default: its first address that is not loopback]
    #[arg(long, env = "BACKEND_ADVERTISED_ADDR", value_name = "HOST", value_parser = host, help_heading = "Agents")]
    pub advertised_addr: Option<String>,

    /// Where agents are told to send their events, such as a balancer of several gateways
    /// [default: the advertised host and the events port]
    #[arg(
        long,
        env = "BACKEND_ADVERTISED_EVENTS_ADDR",
        value_name = "HOST:PORT",
        help_heading = "Agents",
        verbatim_doc_comment
    )]
    pub advertised_events_addr: Option<HostPort>,

    /// The Docker registry of the kernels' images: the admin API's rescan_images looks there for repositories
    /// kernel-<image> below the URL's path
    #[arg(long, env = "BACKEND_DOCKER_REGISTRY", value_name = "URL", help_heading = "Agents")]
    pub docker_registry: Option<String>,

    /// The host that clients are told for kernels' service ports, instead of the agent's
    #[arg(long, env = "BACKEND_KERNEL_IP_OVERRIDE", value_name = "HOST", value_parser = host, help_heading = "Agents")]
    pub kernel_ip_override: Option<String>,

    /// Number of workers [default: one per allowed core]
    #[arg(long, env = "BACKEND_WORKERS", value_name = "N", conflicts_with = "cpus",
          value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Workers")]
    pub workers: Option<u16>,

    /// Cores, of those allowed, that get one worker each, such as 0-3,8
    #[arg(long, env = "BACKEND_CPUS", value_name = "LIST", help_heading = "Workers")]
    pub cpus: Option<CpuList>,

    /// What drives a worker's I/O: io-uring, epoll, or auto, which is io-uring where the kernel and the container
    /// allow it
    #[arg(long, env = "BACKEND_ENGINE", default_value = "auto", value_name = "ENGINE", help_heading = "Workers")]
    pub engine: EngineChoice,

    /// Log also why things were decided
    #[arg(short, long, env = "BACKEND_VERBOSE", value_parser = clap::builder::FalseyValueParser::new(),
          help_heading = "Reporting")]
    pub verbose: bool,

    /// Log everything that happens
    #[arg(long, env = "BACKEND_DEBUG", value_parser = clap::builder::FalseyValueParser::new(),
          help_heading = "Reporting")]
    pub debug: bool,

    /// A Datadog API key: accepted for old unit files, not used; metrics are served at /metrics
    #[arg(long, env = "DATADOG_API_KEY", value_name = "KEY", hide_env_values = true, help_heading = "Reporting")]
    pub datadog_api_key: Option<Secret>,

    /// A Datadog application key: accepted for old unit files, not used
    #[arg(long, env = "DATADOG_APP_KEY", value_name = "KEY", hide_env_values = true, help_heading = "Reporting")]
    pub datadog_app_key: Option<Secret>,

    /// A Sentry address: accepted for old unit files, not used; errors are in the log
    #[arg(long, env = "RAVEN_URI", value_name = "URI", hide_env_values = true, help_heading = "Reporting")]
    pub raven_uri: Option<Secret>,
}

// === impl Gateway ===

impl Gateway {
    /// The options of a gateway that is given `args` (without a program's name), its variables and its file.
    ///
    /// # Errors
    /// Help was asked for, or something is unknown or bad.
    pub fn from_args<T: Into<OsString>>(args: impl IntoIterator<Item = T>) -> Result<Self, Failure> {
        let command = Self::augment_args(clap::Command::new("backendai-gateway"));
        let args = iter::once("backendai-gateway".into()).chain(args.into_iter().map(T::into));
        Self::from_matches(&resolve(command, args)?)
    }

    /// The options that `matches` holds, checked against each other.
    ///
    /// # Errors
    /// Two options do not go together.
    pub fn from_matches(matches: &clap::ArgMatches) -> Result<Self, Failure> {
        let gateway = Self::from_arg_matches(matches).map_err(|error| Failure::Bad(error.to_string()))?;
        gateway.check().map_err(Failure::Bad)?;
        Ok(gateway)
    }

    /// What no single option can see: options that need each other.
    ///
    /// # Errors
    /// One line that names the options.
    pub fn check(&self) -> Result<(), String> {
        if self.ssl_cert.is_some() != self.ssl_key.is_some() {
            return Err("--ssl-cert and --ssl-key need each other".to_owned());
        }
        let (api, admin) = (self.service_addr(), self.admin_addr());
        let ports =
            [("--service-port", api.port()), ("--events-port", self.events_port), ("--admin-port", admin.port())];
        for (i, (name, port)) in ports.iter().enumerate() {
            if let Some((other, _)) = ports.iter().skip(i + 1).find(|(_, p)| p == port && *port != 0) {
                return Err(format!("{name} and {other} are both {port}"));
            }
        }
        Ok(())
    }

    /// Whether the API is served over TLS.
    pub fn tls(&self) -> bool {
        self.ssl_cert.is_some() && self.ssl_key.is_some()
    }

    /// Where the API is served.
    pub fn service_addr(&self) -> SocketAddr {
        SocketAddr::new(self.service_ip, self.service_port.unwrap_or(if self.tls() { 8443 } else { 8080 }))
    }

    /// Where the operator routes are served.
    pub fn admin_addr(&self) -> SocketAddr {
        SocketAddr::new(self.admin_ip, self.admin_port)
    }

    /// Where agents' events are taken: every address of the family of the API's, as agents are seldom on loopback.
    pub fn events_addr(&self) -> SocketAddr {
        let any = match self.service_ip {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0_u8; 16]),
        };
        SocketAddr::new(any, self.events_port)
    }

    /// The host at which others reach this gateway.
    pub fn advertised_host(&self) -> String {
        self.advertised_addr.clone().unwrap_or_else(advertised_host)
    }

    /// Where agents are told to send their events.
    pub fn advertised_events(&self) -> HostPort {
        let own = || HostPort { host: self.advertised_host(), port: self.events_port };
        self.advertised_events_addr.clone().unwrap_or_else(own)
    }

    /// Where agents are told that Redis is: a loopback address is this machine's own, so others are told of this
    /// machine by the host that it is reached at, if that is not loopback itself.
    pub fn advertised_redis(&self) -> HostPort {
        let (given, host) = (&self.connections.redis_addr, self.advertised_host());
        match is_loopback(&given.host) && !is_loopback(&host) {
            true => HostPort { host, port: given.port },
            false => given.clone(),
        }
    }

    /// The supervisor's control socket: as given, or in the first folder for such things that exists.
    pub fn control_socket(&self) -> PathBuf {
        self.control_sockets().swap_remove(0)
    }

    /// Where the control socket of a running gateway may be, at least one place: a gateway that was started from
    /// another environment (as a service, by another user) has put it into another folder.
    pub fn control_sockets(&self) -> Vec<PathBuf> {
        let name = format!("{}-gateway.sock", self.connections.namespace);
        match &self.control_socket {
            Some(given) => vec![given.clone()],
            None => runtime_dirs().map(|dir| dir.join(&name)).collect(),
        }
    }
}

/// This machine's first address that is not loopback, IPv4 before IPv6, no link-local one; else `127.0.0.1`.
pub fn advertised_host() -> String {
    let mut found: Vec<IpAddr> = getifaddrs().map(|all| all.filter_map(usable_address).collect()).unwrap_or_default();
    found.sort_by_key(IpAddr::is_ipv6);
    found.first().map_or_else(|| "127.0.0.1".to_owned(), IpAddr::to_string)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn usable_address(interface: nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let up = interface.flags.contains(InterfaceFlags::IFF_UP);
    let address = interface.address?;
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    let ip = v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))?;
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    (up && !ip.is_loopback() && !link_local).then_some(ip)
}

/// Folders for sockets, the user's own first; the last exists always.
fn runtime_dirs() -> impl Iterator<Item = PathBuf> {
    let users = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let known = users.into_iter().chain([PathBuf::from("/run/backendai")]);
    known.filter(|dir| dir.is_dir()).chain([env::temp_dir()])
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    fn line(args: &[&str]) -> String {
        match Gateway::from_args(args.iter().copied()) {
            Err(Failure::Bad(line)) => line,
            other => panic!("{args:?} gave {other:?}"),
        }
    }

    fn with_file(text: &str, args: &[&str]) -> Result<Gateway, Failure> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        Gateway::from_args(["--config", path].into_iter().chain(args.iter().copied()))
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let options = Gateway::from_args::<&str>([]).unwrap();
        assert_eq!(options.service_addr().to_string(), "0.0.0.0:8080");
        assert_eq!(options.admin_addr().to_string(), "127.0.0.1:8081");
        assert_eq!((options.events_port, options.agent_port), (5002, 6001));
        assert_eq!(options.heartbeat_timeout, Duration::from_secs(5));
        assert_eq!((options.max_body, options.drain_timeout), (1 << 20, Duration::from_secs(30)));
        assert_eq!(options.sign_methods.to_string(), "sha256,sha384,sha512,sha3-256,sha3-512");
        assert_eq!(options.agent_networks.len(), 7);
        assert!(!options.debug && !options.replay_protection && options.workers.is_none());
    }

    #[test]
    fn tls_moves_the_port_and_needs_both_files() {
        let options = Gateway::from_args(["--ssl-cert", "c", "--ssl-key", "k"]).unwrap();
        assert_eq!(options.service_addr().port(), 8443);
        assert_eq!(line(&["--ssl-cert", "c"]), "--ssl-cert and --ssl-key need each other");
    }

    #[test]
    fn a_bad_or_unknown_option_is_named_in_one_line() {
        for (args, name) in [
            (&["--service-port", "x"][..], "--service-port"),
            (&["--nonsense"], "--nonsense"),
            (&["--engine", "kqueue"], "--engine"),
            (&["--sign-methods", "crc32"], "crc32"),
            (&["--workers", "2", "--cpus", "0"], "--cpus"),
            (&["--cors-headers", "two words"], "--cors-headers"),
            (&["--cors-methods", "FETCH"], "--cors-methods"),
            (&["--db-addr", "host"], "--db-addr"),
            (&["--service-port", "5002"], "--events-port"),
        ] {
            let line = line(args);
            assert!(line.contains(name) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn the_file_stands_between_the_command_line_and_the_defaults() {
        let text =
            "namespace = 'f'\netcd-addr = ['a:1', 'b:2']\nservice-port = 9000\ndebug = true\ndrain-timeout = 1.5";
        let options = with_file(text, &["--service-port", "9001"]).unwrap();
        assert_eq!(options.connections.namespace, "f");
        assert_eq!(options.connections.etcd_addr.len(), 2);
        assert_eq!(options.service_port, Some(9001));
        assert!(options.debug && !options.verbose);
        assert_eq!(options.drain_timeout, Duration::from_millis(1500));
    }

    #[test]
    fn an_option_of_the_file_yields_to_the_alternative_that_was_given() {
        let options = with_file("workers = 3", &["--cpus", "0"]).unwrap();
        assert_eq!((options.workers, options.cpus.unwrap().cores()), (None, &[0][..]));
        let options = with_file("db-password-file = '/x'", &["--db-password", "y"]).unwrap();
        assert_eq!(options.connections.password().unwrap().unwrap().reveal(), "y");
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (text, name) in [
            ("servise-port = 1", "`servise-port`"),
            ("service-port = 'x'", "--service-port"),
            ("namespace = 'a'\n[table]\na = 1", "`table`"),
            ("namespace =", "line 1"),
            ("workers = 1\ncpus = '0'", "`workers`"),
            ("config = 'x'", "`config`"),
        ] {
            match with_file(text, &[]) {
                Err(Failure::Bad(line)) => assert!(line.contains(name) && !line.contains('\n'), "{line}"),
                other => panic!("{text} gave {other:?}"),
            }
        }
        assert!(line(&["--config", "/nowhere"]).starts_with("/nowhere: "));
    }

    #[test]
    fn every_option_is_shown_with_its_origin_and_no_secret() {
        let command = Gateway::augment_args(clap::Command::new("x"));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"max-body = 7\nnamespace = 'f'").unwrap();
        let path = file.path().to_str().unwrap();
        let args = ["x", "--config", path, "--db-password", "hunter2", "--namespace", "n"].map(OsString::from);
        let text = super::super::resolve_shown(command, args).unwrap().1.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        for line in [
            "namespace = \"n\"  # command line",
            "max-body = \"7\"  # file",
            "events-port = \"5002\"  # default",
            "# ssl-cert is not set",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
    }

    #[test]
    fn agents_of_other_machines_are_not_sent_to_their_own_loopback() {
        let told = |redis: &str, advertised: &str| {
            let options = Gateway::from_args(["--redis-addr", redis, "--advertised-addr", advertised]).unwrap();
            options.advertised_redis().to_string()
        };
        for loopback in ["127.0.0.1:6380", "localhost:6380", "[::1]:6380"] {
            assert_eq!(told(loopback, "10.0.0.5"), "10.0.0.5:6380");
            assert_eq!(told(loopback, "127.0.0.1"), loopback);
        }
        assert_eq!(told("10.0.0.6:6379", "10.0.0.5"), "10.0.0.6:6379");
    }

    #[test]
    fn a_control_socket_is_looked_for_wherever_a_gateway_may_have_put_it() {
        let options = Gateway::from_args(["--namespace", "n"]).unwrap();
        let places = options.control_sockets();
        assert_eq!(places.last(), Some(&env::temp_dir().join("n-gateway.sock")));
        assert_eq!(places.first(), Some(&options.control_socket()));
        let options = Gateway::from_args(["--control-socket", "/x/y"]).unwrap();
        assert_eq!(options.control_sockets(), [PathBuf::from("/x/y")]);
    }

    #[test]
    fn the_advertised_host_is_an_address_of_this_machine() {
        let host: IpAddr = advertised_host().parse().unwrap();
        std::net::UdpSocket::bind((host, 0)).unwrap();
        let options = Gateway::from_args(["--advertised-addr", "gw.example", "--events-port", "7"]).unwrap();
        assert_eq!(options.advertised_events().to_string(), "gw.example:7");
    }

    #[test]
    fn the_list_of_options_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md");
        let text = super::super::reference(&Gateway::augment_args(clap::Command::new("backendai-gateway")));
        if env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap(), text, "UPDATE_GOLDENS=1 cargo test renews docs/options.md");
    }
}
