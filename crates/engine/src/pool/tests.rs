//! Stories of one pool, and what must hold after any sequence of events.
