//! `highwater replica`: streaming replicas on this machine, of a primary anywhere.
//!
//! `create` looks first (`facts` of the primary, `here` on this machine, judged by `judge` and `here`), shows its plan, then
//! makes: slot, copy (`backup`), settings (`conf`), unit (`unit`), server (`service`), and proves the lag (`lag`). What it
//! made stands in a record (`home`), by which `list`, `promote` and `remove` know it. Routes nothing: a router finds the
//! replica by its configuration or its nodes file (`nodes`).

mod backup;
mod conf;
mod create;
mod facts;
mod here;
mod home;
mod judge;
mod lag;
mod list;
mod nodes;
mod plan;
mod promote;
mod remove;
mod replication;
mod role;
mod service;
mod target;
mod unit;

use crate::args::replica::Replica;
use crate::failure;
use crate::setup::phase;
use crate::setup::signals::Signals;

/// Does what was asked.
pub(crate) fn replica(asked: &Replica) -> anyhow::Result<()> {
    match asked {
        Replica::Create(asked) => create::create(asked),
        Replica::List(asked) => phase(list::list(asked))?,
        Replica::Promote(asked) => phase(interruptible(promote::promote(asked)))?,
        Replica::Remove(asked) => phase(interruptible(remove::remove(asked)))?,
    }
}

/// Ends with an error when a signal asks for the end. What is half done then is gone on with by the same command.
async fn interruptible(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    tokio::select! {
        result = work => result,
        () = signals.received() => {
            Err(failure::failed("interrupted: what was done stays done; run the same command again to go on"))
        }
    }
}
