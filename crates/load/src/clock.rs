//! The one place of the generator, and of the bench around it, that reads the clock.

use std::time::Instant;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement begins and ends here; nothing of the product calls it"
)]
#[inline]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
