//! Why a measurement could not be made.

use std::{fmt::Display, io};

/// One line for whoever measures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// Something is missing, or did not do what it should.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// For `map_err` on the system's errors.
    pub fn io(what: impl Display) -> impl FnOnce(io::Error) -> Error {
        move |error| Error::Io { what: what.to_string(), error }
    }

    /// Anything else.
    pub fn failed(why: impl Display) -> Error {
        Error::Failed(why.to_string())
    }
}
