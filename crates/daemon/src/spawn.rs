//! The one place that starts tasks: each has a name, and a panic in it is logged, not lost.
//!
//! Tasks run on the control thread's runtime. Whoever starts one keeps its handle or gives it an end of a channel
//! whose closing ends it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use tokio::task::JoinHandle;

/// Starts a task on the runtime of the caller.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn task<F>(name: &'static str, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut future = Box::pin(future);
    // The panic's own message is printed by the panic hook; what panicked is not polled again.
    tokio::spawn(std::future::poll_fn(move |cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).unwrap_or_else(|_| {
            tracing::error!(task = name, "a task of the control thread panicked: its work has stopped");
            Poll::Ready(())
        })
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_ends_that_task_and_nothing_else() {
        let panics = task("test", async { panic!("on purpose") });
        let goes_on = task("test", async {});
        assert!(panics.await.is_ok(), "it was caught");
        assert!(goes_on.await.is_ok());
    }
}
