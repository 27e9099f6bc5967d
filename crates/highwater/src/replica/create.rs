//! `replica create`: looks, plans, makes, proves. Safe to repeat after any interruption.
//!
//! Until the copy is whole, a failure undoes everything: a slot without a replica would fill the primary's disk. Once it is
//! whole, everything stays, and the next run goes on.

use std::fs::File;

use tokio_postgres::Client;

use super::backup::{self, Copy};
use super::conf::{self, Making, Settings};
use super::facts::{self, Facts, Rights};
use super::here::{self, Asked, Programs};
use super::home::{self, Home, Outside, Record, Registry, State, Upstream};
use super::judge::{self, Problem, Replicator, Verdict, Wanted};
use super::lag::{self, Lag, Wal};
use super::nodes::{self, Change};
use super::plan::{self, Outline};
use super::remove;
use super::replication::Replication;
use super::role;
use super::service::{self, Keeper};
use super::target::Target;
use super::unit::{self, Readiness};
use crate::args::replica::Create;
use crate::setup::account::Account;
use crate::setup::phase;
use crate::setup::postgres;
use crate::setup::progress::Progress;
use crate::setup::signals::Signals;
use crate::setup::tools::Tools;
use crate::{failure, output};

/// What will be made, once nothing speaks against it.
struct Job<'a> {
    asked: &'a Create,
    registry: Registry,
    home: Home,
    account: Account,
    target: Target,
    primary: Client,
    facts: Facts,
    programs: Programs,
    record: Record,
    /// What an earlier run has made outside of the directory.
    earlier: Outside,
    progress: Progress,
}

/// Makes a replica.
pub(crate) fn create(asked: &Create) -> anyhow::Result<()> {
    phase(async {
        let mut signals = Signals::new()?;
        let mut job = tokio::select! {
            job = look(asked) => job?,
            () = signals.received() => return Err(failure::failed("interrupted: nothing was made")),
        };
        output::text(&job.plan());
        if asked.dry_run {
            output::line("nothing was done (--dry-run)");
            return Ok(());
        }
        let _lock = job.begin()?;
        let result = tokio::select! {
            result = job.make() => result,
            () = signals.received() => Err(failure::failed("interrupted")),
        };
        match result {
            Ok(lag) => {
                job.tell(lag);
                Ok(())
            }
            Err(error) => Err(job.after(error).await),
        }
    })?
}

/// Looks at the primary and at this machine. Makes nothing.
async fn look(asked: &Create) -> anyhow::Result<Job<'_>> {
    let progress = Progress::begin();
    let name = asked.name.clone().unwrap_or_else(|| format!("r{}", asked.port));
    if !home::is_name(&name) {
        return Err(failure::usage(format!(
            "--name {name} is no name for a replica: up to 40 of a to z, 0 to 9, - and _, the first a letter or digit"
        )));
    }
    let slot = slot_name(asked, &name)?;
    let registry = Registry::open(asked.registry.registry.as_deref())?;
    let mut home = Home::at(&asked.dir.clone().unwrap_or_else(|| registry.path(&name)))?;
    let earlier = home.record()?;
    let target = Target::parse(&asked.primary)?;
    refuse_other((&name, &slot), &target, &registry, &home, earlier.as_ref())?;
    let account = Account::choose()?;
    progress.step(&format!("looking at the primary at {}", target.address()));
    let primary = target.connect().await?;
    let facts = facts::ask(&target, &primary).await?;
    let copied = earlier.as_ref().is_some_and(|record| is_usable(record, &home, &facts));
    let own_role = (asked.source.own_role || facts.user == Rights::OnlyMakes).then(|| role::name(&name));
    let own_role = own_role.or_else(|| earlier.as_ref()?.outside.role.clone());
    let wanted = Wanted {
        address: &target.address(),
        user: &target.user,
        name: &name,
        slot: &slot,
        slot_is_ours: earlier.as_ref().is_some_and(|record| record.slot == slot),
        copied,
        replicator: own_role.as_deref().map_or(Replicator::User, Replicator::OwnRole),
        from: None,
        system: earlier.as_ref().map(|record| record.system.as_str()).filter(|system| !system.is_empty()),
    };
    let mut verdict = judge::judge(&facts, &wanted);
    let known_role = earlier.as_ref().and_then(|record| record.outside.role.as_ref());
    if let Some(role) = own_role.as_ref().filter(|role| known_role != Some(role)) {
        verdict.problems.extend(foreign_role(role, &name, &target, &primary).await?);
    }
    let on_machine = Asked { create: asked, home: &home, account: &account, copied };
    let (programs, local) = here::look(&on_machine, &facts);
    let programs = ready(verdict, local, programs)?;
    if home.root().exists() {
        home = Home::at(home.root())?;
    }
    let mut record = fresh_record(asked, (&name, &slot), (&target, &facts), &programs);
    record.outside.role = own_role;
    record.outside.unit = unit_path(asked, &name, &home);
    record.copied = copied;
    let outside = earlier.as_ref().map(|record| record.outside.clone()).unwrap_or_default();
    if let Some(earlier) = earlier {
        take_over(&mut record, earlier);
    }
    Ok(Job {
        asked,
        registry,
        home,
        account,
        target,
        primary,
        facts,
        programs,
        record,
        earlier: outside,
        progress,
    })
}

/// A role of that name that nobody has recorded may be another replica's: its password would be changed.
async fn foreign_role(
    role: &str,
    name: &str,
    target: &Target,
    primary: &Client,
) -> anyhow::Result<Option<Problem>> {
    let problem = || {
        Problem::new(format!(
            "the primary at {} has a role {role}, and this command has not made it for {name}: choose another --name, or if \
             nobody needs it, DROP ROLE {role}",
            target.address()
        ))
    };
    Ok(role::exists(role, primary).await?.then(problem))
}

fn slot_name(asked: &Create, name: &str) -> anyhow::Result<String> {
    let slot = asked.source.slot.clone().unwrap_or_else(|| format!("highwater_{}", name.replace('-', "_")));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if slot.is_empty() || slot.len() > 63 || !slot.chars().all(plain) {
        return Err(failure::usage(format!(
            "--slot {slot} is no name for a slot: up to 63 of a to z, 0 to 9 and _ (PostgreSQL's rule)"
        )));
    }
    Ok(slot)
}

/// Refuses what an earlier run has made otherwise, or made into something else.
fn refuse_other(
    (name, slot): (&str, &str),
    target: &Target,
    registry: &Registry,
    home: &Home,
    earlier: Option<&Record>,
) -> anyhow::Result<()> {
    let known = Home::at(&registry.path(name))?;
    if known.root() != home.root() && known.root().exists() {
        return Err(failure::usage(format!(
            "a replica {name} is already in {}: choose another --name, or leave --dir away",
            known.root().display()
        )));
    }
    let Some(record) = earlier else { return Ok(()) };
    if record.name != name {
        return Err(failure::usage(format!(
            "{} holds the replica {}: choose another directory with --dir, or name it with --name {}",
            home.root().display(),
            record.name,
            record.name
        )));
    }
    if record.slot != slot {
        return Err(failure::usage(format!(
            "{name} was made with the slot {}: give --slot {}",
            record.slot, record.slot
        )));
    }
    if (&record.primary.host, record.primary.port) != (&target.host, target.port) {
        let old = Target::recorded(&record.primary.host, record.primary.port, "", "").address();
        return Err(failure::usage(format!(
            "{name} was made from {old}, where its slot is, and not from {}: name the same address, or to have it follow \
             another primary, highwater replica remove {name} first",
            target.address()
        )));
    }
    let promoted = record.copied
        && !home.data().join("standby.signal").exists()
        && home.data().join("PG_VERSION").exists();
    match record.state {
        State::Promoted => Err(failure::failed(format!(
            "{name} has been promoted and is a primary with data of its own: choose another --name, or remove it first with \
             highwater replica remove {name} --force"
        ))),
        State::Removing => Err(failure::failed(format!(
            "the removal of {name} was not finished: run highwater replica remove {name} first"
        ))),
        State::Replica if promoted => Err(failure::failed(format!(
            "{} is no replica any more (there is no standby.signal: somebody promoted it): choose another --name",
            home.data().display()
        ))),
        State::Making | State::Replica => Ok(()),
    }
}

/// A copy can be used as long as it is there and its slot holds what it needs.
fn is_usable(record: &Record, home: &Home, facts: &Facts) -> bool {
    record.copied
        && home.data().join("PG_VERSION").exists()
        && facts.slot(&record.slot).is_some_and(|slot| slot.usable)
}

/// Every problem at once, or none.
fn ready(primary: Verdict, local: Verdict, programs: Option<Programs>) -> anyhow::Result<Programs> {
    for remark in primary.remarks.iter().chain(&local.remarks) {
        output::note(format!("note: {remark}"));
    }
    let problems: Vec<Problem> = primary.problems.into_iter().chain(local.problems).collect();
    match (programs, problems.as_slice()) {
        (Some(programs), []) => Ok(programs),
        (_, [one]) => Err(with_status(one.status, one.text.clone())),
        (_, several) => {
            let status = several.first().map_or(failure::Status::Failed, |first| first.status);
            let same = several.iter().all(|problem| problem.status == status);
            let list: String = several.iter().map(|problem| format!("\n  - {}", problem.text)).collect();
            let status = if same { status } else { failure::Status::Failed };
            Err(with_status(
                status,
                format!("{} to solve first:{list}", output::count(several.len(), "problem")),
            ))
        }
    }
}

fn with_status(status: failure::Status, text: String) -> anyhow::Error {
    match status {
        failure::Status::Failed => failure::failed(text),
        failure::Status::Usage => failure::usage(text),
        failure::Status::Missing => failure::missing(text),
        failure::Status::Unreachable => failure::unreachable(text),
    }
}

fn fresh_record(
    asked: &Create,
    (name, slot): (&str, &str),
    (target, facts): (&Target, &Facts),
    programs: &Programs,
) -> Record {
    Record {
        format: Record::FORMAT,
        name: name.to_owned(),
        state: State::Making,
        primary: Upstream {
            host: target.host.clone(),
            port: target.port,
            user: target.user.clone(),
            database: target.database.clone(),
            replicates_as: target.user.clone(),
        },
        system: facts.replication.as_ref().map(|identity| identity.system.clone()).unwrap_or_default(),
        postgres: home::Programs {
            bin: programs.server.bin.clone(),
            major: programs.server.major,
            version: programs.server.version.clone(),
        },
        listen: asked.listen.clone(),
        port: asked.port,
        slot: slot.to_owned(),
        superuser: facts.superuser.clone().unwrap_or_else(|| target.user.clone()),
        copied: false,
        outside: Outside { role: None, unit: None, nodes_file: asked.nodes_file.clone().map(absolute) },
    }
}

fn absolute(path: std::path::PathBuf) -> std::path::PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn unit_path(asked: &Create, name: &str, home: &Home) -> Option<std::path::PathBuf> {
    if asked.unit.no_unit {
        return None;
    }
    let given = asked.unit.unit_dir.as_ref().map(|directory| absolute(directory.join(unit::name(name))));
    Some(given.unwrap_or_else(|| unit::default_path(name, home)))
}

/// What an earlier run has made and this one does not name is still known, so that it can be removed.
fn take_over(record: &mut Record, earlier: Record) {
    if record.system.is_empty() {
        record.system = earlier.system;
    }
    let outside = &mut record.outside;
    outside.role = outside.role.take().or(earlier.outside.role);
    outside.nodes_file = outside.nodes_file.take().or(earlier.outside.nodes_file);
}

impl Job<'_> {
    fn plan(&self) -> String {
        let account = match &self.account {
            Account::Caller => "you",
            Account::Other { name, .. } => name,
        };
        plan::plan(&Outline {
            record: &self.record,
            directory: &self.home.root().display().to_string(),
            account,
            bytes: self.facts.bytes,
            tablespaces: self.facts.tablespaces.len(),
            served: self.record.outside.unit.as_deref().is_some_and(unit::is_served),
            has_slot: self.record.copied,
            max_rate: self.asked.source.max_rate,
        })
    }

    /// Makes the directory and writes the record: from here on, whatever is made is known.
    fn begin(&mut self) -> anyhow::Result<File> {
        self.progress.step(&format!("preparing {}", self.home.root().display()));
        crate::setup::place::make_directory(self.home.root(), 0o755)?;
        self.home = Home::at(self.home.root())?;
        let lock = self.home.lock()?;
        self.home.write(&self.record)?;
        self.home.prepare(&self.account)?;
        self.registry.link(&self.record.name, &self.home)?;
        Ok(lock)
    }

    async fn make(&mut self) -> anyhow::Result<Lag> {
        let replicator = self.replicator().await?;
        let mut replication = self.admitted(&replicator).await?;
        if self.record.system.is_empty() {
            let identity =
                replication.identify().await.map_err(|refused| failure::failed(refused.to_string()))?;
            self.record.system = identity.system;
            self.home.write(&self.record)?;
        }
        let passfile = replicator.password.as_ref().map(|_| self.home.passfile());
        let conninfo = replicator.conninfo(&self.record.name, passfile.as_deref());
        if !self.record.copied {
            self.slot(&mut replication).await?;
            self.copy(&conninfo).await?;
        }
        drop(replication);
        self.progress.step("writing its settings");
        let making = Making {
            record: &self.record,
            home: &self.home,
            facts: &self.facts,
            account: &self.account,
            conninfo,
        };
        let settings = conf::write(&making, &self.primary).await?;
        self.unit()?;
        let replica = self.serve(settings).await?;
        let lag = self.prove(&replica).await?;
        self.announce()?;
        self.record.state = State::Replica;
        self.home.write(&self.record)?;
        Ok(lag)
    }

    /// Whom it replicates as, with the password in its passfile.
    async fn replicator(&mut self) -> anyhow::Result<Target> {
        let Some(role) = self.record.outside.role.clone() else {
            role::write_passfile(&self.target, &self.home, &self.account)?;
            return Ok(self.target.clone());
        };
        self.progress.step(&format!("making the role {role} on the primary"));
        self.record.primary.replicates_as.clone_from(&role);
        self.home.write(&self.record)?;
        role::make(&role, &self.primary, &self.target, &self.home, &self.account).await
    }

    async fn admitted(&self, replicator: &Target) -> anyhow::Result<Replication> {
        Replication::open(replicator).await.map_err(|refused| {
            failure::failed(judge::refusal(&refused, &replicator.address(), &replicator.user, None))
        })
    }

    /// A slot of this moment: one that an interrupted run has left may hold more than is needed, or be lost.
    async fn slot(&self, replication: &mut Replication) -> anyhow::Result<()> {
        let slot = &self.record.slot;
        self.progress.step(&format!("making the slot {slot} on the primary"));
        backup::end_left_behind(&self.home);
        service::stop(&self.record, &self.home).await?;
        if self.facts.slot(slot).is_some() {
            replication.drop_slot(slot).await.map_err(|refused| {
                failure::failed(format!("the slot {slot} of an earlier run can't be dropped ({refused}): is its replica running elsewhere?"))
            })?;
        }
        replication.create_slot(slot).await.map_err(|refused| {
            failure::failed(format!("the slot {slot} can't be made on {}: {refused}", self.target.address()))
        })
    }

    async fn copy(&mut self, conninfo: &str) -> anyhow::Result<()> {
        self.progress.step("copying the primary (pg_basebackup)");
        self.home.clear_data(&self.account)?;
        let tools = Tools::new(self.programs.pg_basebackup.clone(), self.account.clone(), self.home.root());
        let what = Copy {
            conninfo,
            slot: &self.record.slot,
            max_rate: self.asked.source.max_rate,
            tablespaces: &self.facts.tablespaces,
        };
        backup::copy(&what, &self.home, &tools).await?;
        self.record.copied = true;
        self.home.write(&self.record)
    }

    fn unit(&self) -> anyhow::Result<()> {
        if let Some(old) =
            self.earlier.unit.as_ref().filter(|old| self.record.outside.unit.as_ref() != Some(old))
        {
            self.progress.step(&format!("removing the unit {} of an earlier run", old.display()));
            unit::remove(old, &self.record.name)?;
        }
        let Some(path) = &self.record.outside.unit else { return Ok(()) };
        self.progress.step(&format!("writing the unit {}", path.display()));
        let tells = postgres::tells_systemd(&self.programs.server);
        let readiness = if tells { Readiness::Notifies } else { Readiness::Silent };
        let text = unit::text(&self.record, &self.home, &self.account, readiness);
        if let Some(complaint) = unit::install(path, &text)? {
            output::note(format!("note: systemd-analyze says of the unit: {complaint}"));
        }
        Ok(())
    }

    async fn serve(&self, settings: Settings) -> anyhow::Result<Client> {
        if service::runs(&self.home).is_some() {
            if settings == Settings::AsTheyWere && service::is_kept(&self.record) {
                self.progress.step("the replica runs");
                return service::start(&self.record, &self.home, &self.account).await;
            }
            self.progress.step("stopping the replica, to start it with its settings of today");
            service::stop(&self.record, &self.home).await?;
        }
        self.progress.step(&format!("starting the replica on port {}", self.record.port));
        service::start(&self.record, &self.home, &self.account).await
    }

    async fn prove(&self, replica: &Client) -> anyhow::Result<Lag> {
        self.progress.step("waiting until it streams and shows what the primary has");
        let wal = Wal::of(&self.facts);
        let told = |bytes: u64| output::note(format!("        {} kB behind", bytes >> 10));
        lag::caught_up(&self.primary, replica, wal, told).await.map_err(|error| {
            error.context(format!("see {}", service::where_logged(&self.record, &self.home)))
        })?;
        self.progress.step("measuring the lag");
        lag::measure(&self.primary, replica, wal).await
    }

    fn announce(&self) -> anyhow::Result<()> {
        if let Some(old) = self
            .earlier
            .nodes_file
            .as_ref()
            .filter(|old| self.record.outside.nodes_file.as_ref() != Some(old))
        {
            nodes::remove(old, &self.record.address(), &self.record.name)?;
        }
        let Some(file) = &self.record.outside.nodes_file else { return Ok(()) };
        let written =
            nodes::add(file, &self.record.address(), &self.record.name, &self.target.tcp_address())?;
        if written == Change::Written {
            self.progress.step(&format!("written into {}", file.display()));
        }
        Ok(())
    }

    /// What there is to know in the end.
    fn tell(&self, lag: Lag) {
        let Record { name, outside, .. } = &self.record;
        let millis = |time: std::time::Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        output::line(format!(
            "lag: {} commits on the primary were shown here after {} (median), {} (worst)",
            lag.samples,
            millis(lag.median),
            millis(lag.worst)
        ));
        let keeper = match (service::keeper(&self.record), &outside.unit) {
            (Keeper::Systemd, Some(_)) => format!("systemd keeps it running ({})", unit::name(name)),
            (_, Some(unit)) => format!(
                "systemd does not serve {}: nobody starts the replica again after a crash or a reboot; this command, run \
                 again, does",
                unit.display()
            ),
            (_, None) => {
                "nobody starts it again after a crash or a reboot; this command, run again, does".to_owned()
            }
        };
        output::line(keeper);
        output::line(format!("replica {name} streams at {}", self.record.address()));
    }

    /// Cleans up after a failure, and says what stays.
    async fn after(&mut self, error: anyhow::Error) -> anyhow::Error {
        let (name, slot) = (&self.record.name, &self.record.slot);
        let status = failure::status_of(&error);
        if self.record.copied {
            return with_status(
                status,
                format!(
                    "{error:#}; the copy stays: run the same command again to go on, or highwater replica remove {name}, for until \
                 then the slot {slot} keeps WAL on the primary"
                ),
            );
        }
        output::note("undoing what was made");
        let undone = remove::undo(&self.record, &self.home, &self.account, &self.target, &self.primary).await;
        self.registry.unlink(name);
        match undone {
            Ok(()) => with_status(status, format!("{error:#}; nothing was left behind")),
            Err(left) => with_status(
                status,
                format!(
                    "{error:#}; not everything could be undone ({left:#}): run the same command again, or highwater replica remove \
                 {name}"
                ),
            ),
        }
    }
}
