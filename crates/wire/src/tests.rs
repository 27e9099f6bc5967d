//! Promises of the crate as a whole: round trips, totality, the shapes of published vulnerabilities.
