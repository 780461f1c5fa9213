//! `gql-schema`: what the admin API offers, for tools that generate code.

use clap::ValueEnum;

use super::{CliError, Out};
use crate::graphql;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose schema
    #[arg(value_name = "WHOSE")]
    whose: Whose,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Whose {
    /// What an admin key sees
    Admin,
    /// What any other key sees
    User,
}

pub fn run(args: &Args, out: Out<'_>) -> Result<(), CliError> {
    let sdl = match args.whose {
        Whose::Admin => graphql::admin_sdl(),
        Whose::User => graphql::user_sdl(),
    };
    Ok(write!(out, "{sdl}")?)
}
