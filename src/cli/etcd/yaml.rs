//! YAML files of operators: read by type, so that a tag `3.10` stays a text, with anchors, aliases and merge keys.
//! Whatever is wrong is told as `file:line`.

use serde::de::DeserializeOwned;
use serde_saphyr::Location;

use crate::cli::CliError;

/// A file's name and contents.
pub struct Source {
    /// As the operator named it.
    pub name: String,
    /// All of it.
    pub text: String,
}

// === impl Source ===

impl Source {
    /// Reads the file as a type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(&self.text, options).map_err(|error| {
            let message = error.without_snippet().to_string();
            match error.location() {
                Some(place) => self.wrong(place, without_place(&message)),
                None => CliError::Content { file: self.name.clone(), what: message.replace('\n', " ") },
            }
        })
    }

    /// What is wrong at a place of the file.
    pub fn wrong(&self, place: Location, what: impl AsRef<str>) -> CliError {
        CliError::Content { file: format!("{}:{}", self.name, place.line()), what: what.as_ref().replace('\n', " ") }
    }
}

/// The library ends its messages with the place, which stands in front here.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |it| it.0)
}
