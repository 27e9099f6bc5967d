//! The exchanges against published vectors, and against each other.
