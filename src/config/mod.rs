//! Options: declared once, parsed from the command line, the environment and a file.

mod addr;
mod connections;
mod file;
mod gateway;
mod reference;
mod values;

pub use addr::{HostPort, ParseAddrError};
pub use connections::{Connections, Secret};
pub use file::{Failure, Shown, line_first, resolve, resolve_shown};
pub use gateway::{Gateway, advertised_host};
pub use reference::reference;
pub use values::CpuList;
