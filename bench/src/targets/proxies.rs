//! How each proxy is configured: alike, and as its own documents advise for transaction pooling.

use std::net::SocketAddr;
use std::path::Path;

use wire::auth::ScramVerifier;

use super::{Auth, Backends, PASSWORD, POOL_SIZE, Place, USER};
use crate::process::Service;

/// More clients than any workload has; HAProxy wants two descriptors for each and does not start without them.
const CLIENTS_MAX: u32 = 8_000;

/// What a proxy is started with.
pub(super) struct Start<'a> {
    pub(super) place: &'a Place,
    pub(super) backends: &'a Backends,
    pub(super) auth: Auth,
    pub(super) address: SocketAddr,
    pub(super) name: &'a str,
}

impl Start<'_> {
    pub(super) fn haproxy(&self, program: &Path) -> anyhow::Result<Service> {
        let (listen, server) = (self.address, self.backends.primary.address);
        let config = format!(
            "global\n    maxconn {CLIENTS_MAX}\n    nbthread 1\n\
             defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\
             frontend clients\n    bind {listen}\n    default_backend servers\n\
             backend servers\n    server one {server}\n"
        );
        let config = self.place.write(&format!("{}.cfg", self.file()), &config)?;
        let mut command = self.place.account.command(program);
        command.arg("-db").arg("-f").arg(config);
        self.run(command)
    }

    pub(super) fn pgbouncer(&self, program: &Path, version: (u32, u32)) -> anyhow::Result<Service> {
        let users = self.place.write(&format!("{}-users.txt", self.file()), &self.user_list())?;
        let (host, port) = (self.backends.primary.address.ip(), self.backends.primary.address.port());
        let auth = match self.auth {
            Auth::Trust => "trust",
            Auth::Scram => "scram-sha-256",
        };
        // From 1.21 on PgBouncer keeps prepared statements apart; 200 is what newer versions have by default.
        let prepared = if version >= (1, 21) { "max_prepared_statements = 200\n" } else { "" };
        let config = format!(
            "[databases]\n{database} = host={host} port={port} dbname={database} user={USER}\n\
             [pgbouncer]\nlisten_addr = {listen}\nlisten_port = {listen_port}\nunix_socket_dir =\n\
             auth_type = {auth}\nauth_file = {users}\npool_mode = transaction\n\
             default_pool_size = {POOL_SIZE}\nmax_client_conn = {CLIENTS_MAX}\n{prepared}\
             log_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 1\n",
            database = self.backends.database,
            listen = self.address.ip(),
            listen_port = self.address.port(),
            users = users.display(),
        );
        let config = self.place.write(&format!("{}.ini", self.file()), &config)?;
        let mut command = self.place.account.command(program);
        command.arg("-q").arg(config);
        self.run(command)
    }

    pub(super) fn highwater(&self, program: &Path, workers: u32) -> anyhow::Result<Service> {
        let users = self.place.write(&format!("{}-users.txt", self.file()), &self.user_list())?;
        let (auth, auth_file) = match self.auth {
            Auth::Trust => ("trust", String::new()),
            Auth::Scram => ("scram-sha-256", format!("auth_file = \"{}\"\n", users.display())),
        };
        let user = match self.auth {
            Auth::Trust => format!("[[user]]\nname = \"{USER}\"\n"),
            Auth::Scram => String::new(),
        };
        let backends = self.backends;
        let config = format!(
            "listen = \"{listen}\"\nhttp = \"off\"\nworkers = {workers}\nauth_type = \"{auth}\"\n{auth_file}\
             [[cluster]]\nname = \"bench\"\nnodes = [\"{primary}\", \"{replica}\"]\n\
             monitor = {{ user = \"{USER}\", database = \"{database}\" }}\n\
             [[database]]\nname = \"{database}\"\n{user}\
             [pool]\ndefault_pool_size = {POOL_SIZE}\nmax_client_conn = {CLIENTS_MAX}\n\
             [reads]\nconsistency = \"session\"\n[log]\nlevel = \"warn\"\n",
            listen = self.address,
            primary = backends.primary.address,
            replica = backends.replica.address,
            database = backends.database,
        );
        let config = self.place.write(&format!("{}.toml", self.file()), &config)?;
        let program = self.place.copy(program)?;
        let mut command = self.place.account.command(&program);
        // By the environment, because builds to compare with may not know the key.
        command.arg("serve").arg("-c").arg(config).env("HIGHWATER_WORKERS", "1");
        self.run(command)
    }

    fn run(&self, command: std::process::Command) -> anyhow::Result<Service> {
        Service::start(command, &self.place.path(&format!("{}.log", self.file())))
    }

    /// A name for its files that no other start has.
    fn file(&self) -> String {
        format!("{}-{}", self.name, self.address.port())
    }

    /// Both poolers get a verifier, so that neither has to derive it.
    fn user_list(&self) -> String {
        let verifier = ScramVerifier::from_password(PASSWORD.as_bytes(), b"a salt of the bench", 4096);
        let verifier = verifier.to_secret();
        format!("\"{USER}\" \"{}\"\n", String::from_utf8_lossy(verifier.expose()))
    }
}
