//! Whether a gateway leads: it, and not this program, calls the agents that end sessions.

use super::{CliError, etcd::store::Etcd};
use crate::{config::Connections, store::etcd::keys};

/// Whether there is a leader, or a gateway that will become it.
///
/// # Errors
/// etcd cannot be reached.
pub async fn somebody_leads(to: &Connections) -> Result<bool, CliError> {
    let mut etcd = Etcd::connect(to).await?;
    Ok(etcd.get(keys::LEADER).await?.is_some() || !etcd.list(keys::GATEWAYS).await?.is_empty())
}
