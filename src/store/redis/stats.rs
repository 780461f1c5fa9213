//! What kernels have used: hashes that agents write into database 0 every five seconds, one per kernel.

use std::collections::HashMap;

use redis::cmd;
use uuid::Uuid;

use super::{Redis, RedisError};

/// The statistics of a kernel. What an agent did not write, or wrote unreadably, is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelStats {
    /// Processor time, ms.
    pub cpu_used: f64,
    /// Most memory in use at once, bytes.
    pub mem_max_bytes: i64,
    /// Memory in use, bytes.
    pub mem_cur_bytes: i64,
    /// Received, bytes.
    pub net_rx_bytes: i64,
    /// Sent, bytes.
    pub net_tx_bytes: i64,
    /// Read from disks, bytes.
    pub io_read_bytes: i64,
    /// Written to disks, bytes.
    pub io_write_bytes: i64,
    /// Most scratch space in use at once, bytes.
    pub io_max_scratch_size: i64,
    /// Scratch space in use, bytes.
    pub io_cur_scratch_size: i64,
    /// Processor time of the kernel's predecessors before a restart, ms.
    pub precpu_used: f64,
    /// The form of the statistics.
    pub version: i64,
    /// When the agent took them, UNIX seconds; 0: never.
    pub last_collected: f64,
}

/// The statistics of a kernel; all 0 where its agent wrote none.
///
/// # Errors
/// Redis is away or refuses.
pub async fn read(redis: &Redis, kernel: Uuid) -> Result<KernelStats, RedisError> {
    let raw = redis.query(cmd("HGETALL").arg(kernel.hyphenated().to_string())).await?;
    Ok(KernelStats::from_fields(&raw))
}

/// The statistics of kernels, in their order, in one round trip.
///
/// # Errors
/// Redis is away or refuses.
pub async fn read_many(redis: &Redis, kernels: &[Uuid]) -> Result<Vec<KernelStats>, RedisError> {
    if kernels.is_empty() {
        return Ok(Vec::new());
    }
    let mut commands = redis::Pipeline::with_capacity(kernels.len());
    for kernel in kernels {
        commands.hgetall(kernel.hyphenated().to_string());
    }
    let raw: Vec<HashMap<String, String>> = redis.query_all(&commands).await?;
    Ok(raw.iter().map(KernelStats::from_fields).collect())
}

/// Removes the statistics of a kernel that has ended.
///
/// # Errors
/// Redis is away or refuses.
pub async fn forget(redis: &Redis, kernel: Uuid) -> Result<(), RedisError> {
    redis.query(cmd("DEL").arg(kernel.hyphenated().to_string())).await
}

impl KernelStats {
    /// Reads the fields of a kernel's hash.
    pub fn from_fields(fields: &HashMap<String, String>) -> Self {
        let number = |name: &str| {
            let number: Option<f64> = fields.get(name).and_then(|text| text.parse().ok());
            number.filter(|number| number.is_finite()).unwrap_or_default()
        };
        // Saturates, which is what is wanted of a number that no counter has; agents write some as floats.
        let whole = |name: &str| number(name) as i64;
        KernelStats {
            cpu_used: number("cpu_used"),
            mem_max_bytes: whole("mem_max_bytes"),
            mem_cur_bytes: whole("mem_cur_bytes"),
            net_rx_bytes: whole("net_rx_bytes"),
            net_tx_bytes: whole("net_tx_bytes"),
            io_read_bytes: whole("io_read_bytes"),
            io_write_bytes: whole("io_write_bytes"),
            io_max_scratch_size: whole("io_max_scratch_size"),
            io_cur_scratch_size: whole("io_cur_scratch_size"),
            precpu_used: number("precpu_used"),
            version: whole("version"),
            last_collected: number("last_collected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_unreadable_is_zero() {
        let pairs = [("cpu_used", "12.5"), ("mem_max_bytes", "1048576"), ("net_rx_bytes", "1e3"), ("version", "x")];
        let fields = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let want = KernelStats { cpu_used: 12.5, mem_max_bytes: 1 << 20, net_rx_bytes: 1000, ..KernelStats::default() };
        assert_eq!(KernelStats::from_fields(&fields), want);
    }
}
