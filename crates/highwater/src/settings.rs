//! The router's configuration for the commands that take one: file, environment and flags handed to `daemon::config`.
//!
//! Reads nothing by itself but the environment; what is right and wrong is judged there.

use std::path::PathBuf;

use clap::Args;
use daemon::config::{Overrides, Source};

use crate::environment;

/// Flags that say the same as the file and the environment (`HIGHWATER_…`); file < environment < flags.
#[derive(Clone, Debug, Args)]
pub(crate) struct Flags {
    /// Configuration file (TOML)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Connection string of a node, in place of the file's clusters; roles are observed, not declared
    #[arg(long, value_name = "DSN")]
    pub(crate) primary: Option<String>,

    /// Connection string of another node; may be given several times
    #[arg(long, value_name = "DSN")]
    pub(crate) replica: Vec<String>,

    /// Where clients connect
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<String>,

    /// Where HTTP is served: health, metrics, status; `off` for nowhere
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) http: Option<String>,
}

impl Flags {
    /// Only a file, and the environment over it.
    pub(crate) fn of_file(config: Option<PathBuf>) -> Flags {
        Flags { config, primary: None, replica: Vec::new(), listen: None, http: None }
    }

    /// What to load the configuration from, now and on every reload.
    pub(crate) fn source(&self) -> Source {
        Source {
            path: self.config.clone(),
            env: environment::all(),
            overrides: Overrides {
                primary: self.primary.clone(),
                replicas: self.replica.clone(),
                listen: self.listen.clone(),
                http: self.http.clone(),
            },
        }
    }
}
