//! What was measured, for people: tables for the terminal, a page with plots.

mod bars;
mod page;
mod table;

pub(crate) use page::html;
pub(crate) use table::{line, text};
