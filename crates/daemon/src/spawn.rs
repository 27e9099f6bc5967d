//! The one place that starts tasks: each has a name, and a panic in it is logged, not lost.
//!
//! Tasks run on the control thread's runtime. Whoever starts one keeps its handle or gives it an end of a channel
//! whose closing ends it.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts a task on the runtime of the caller.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn task<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let running = tokio::spawn(future);
    tokio::spawn(async move {
        if let Err(error) = running.await
            && error.is_panic()
        {
            tracing::error!(task = name, "a task of the control thread panicked: its work has stopped");
        }
    })
}

/// Runs something that takes processor time or blocks, away from the control thread, and waits for it. `None`: it panicked.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) async fn blocking<T, F>(work: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.ok()
}

/// Starts a thread that lives as long as the process: a worker.
///
/// # Errors
/// The operating system has no thread to give.
pub(crate) fn thread<F>(name: String, work: F) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new().name(name).spawn(work)
}
