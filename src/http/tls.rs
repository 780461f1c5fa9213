//! TLS on the API's listener.

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::engine::{self, Stream};

/// Longest time for a handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    path: String,
    reason: String,
}

/// Makes TLS of accepted connections.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads a certificate with its chain, and its private key (PEM).
    ///
    /// # Errors
    /// A file cannot be read, holds nothing of the kind, or the two do not belong together.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let wrong = |path: &Path, reason: String| TlsError { path: path.display().to_string(), reason };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(cert, "holds no certificate".into()));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| wrong(key, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// The client speaks something else, gives up, or is too slow.
    pub async fn accept(&self, stream: Stream) -> io::Result<TlsStream<Stream>> {
        let too_slow = || Err(io::ErrorKind::TimedOut.into());
        engine::timeout(HANDSHAKE_TIME, self.0.accept(stream)).await.unwrap_or_else(too_slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let error = |cert: &Path| Tls::load(cert, &empty).err().unwrap().to_string();
        assert!(error(&empty).starts_with(&empty.display().to_string()));
        assert!(error(Path::new("/nowhere.pem")).starts_with("/nowhere.pem: "));
    }
}
