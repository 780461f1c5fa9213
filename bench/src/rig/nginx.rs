//! nginx, answering every request with one body: the measure of what a request costs at least.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use super::child::{Child, command, until};
use crate::{error::Error, process};

/// Starts nginx on these cores with one worker for each; gives it and where it listens.
///
/// # Errors
/// nginx is not installed, or does not start.
pub fn start(folder: &Path, port: u16, cores: &[usize], body: &str) -> Result<(Child, SocketAddr), Error> {
    let program = process::program("nginx")
        .ok_or_else(|| Error::failed("nginx is missing: install the package nginx-light (or nginx)"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let home = folder.join("nginx");
    fs::create_dir_all(&home).map_err(Error::io("nginx's folder"))?;
    let file = home.join("nginx.conf");
    fs::write(&file, configuration(address, cores.len().max(1), body)).map_err(Error::io("nginx's configuration"))?;
    let mut nginx = command(cores, program);
    nginx.arg("-e").arg(home.join("error.log")).arg("-p").arg(&home).arg("-c").arg(&file);
    let mut child = Child::start("nginx", &mut nginx, &home.join("log"))?;
    until("nginx", Duration::from_secs(10), || {
        child.check()?;
        Ok(std::net::TcpStream::connect(address).ok())
    })?;
    Ok((child, address))
}

fn configuration(address: SocketAddr, workers: usize, body: &str) -> String {
    format!(
        "daemon off;
pid nginx.pid;
worker_processes {workers};
events {{ worker_connections 30000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
    server {{
        listen {address} reuseport;
        location / {{ default_type application/json; return 200 '{body}'; }}
    }}
}}
"
    )
}
