//! Whose fault an error is that a client was sent, by its SQLSTATE: what an error rate is made of.
//!
//! Only for counting. What is done about an error is decided where it arrives (`relay`, `rerun`).

use wire::sqlstate::SqlState;

use super::Event;

/// Who has to act so that an error does not come again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The application: a statement that is wrong, may not run or was beaten by another one.
    Client,
    /// PostgreSQL: no memory, no disk, no place for one more connection, shut down, broken.
    Node,
    /// The router, which had no node or no backend to give, or lost it in the middle of a transaction.
    Router,
}

impl Event {
    /// Whose fault it is, of an event that is an error.
    pub fn origin(&self) -> Option<Origin> {
        match *self {
            Event::NodeError(Some(code)) if !is_trouble_of_a_server(code) => Some(Origin::Client),
            Event::NodeError(_) => Some(Origin::Node),
            // The router itself says 40001 and 40003 of a transaction whose node it lost.
            Event::OwnError(code) if is_trouble_of_a_server(code) || code.class() == *b"40" => {
                Some(Origin::Router)
            }
            Event::OwnError(_) => Some(Origin::Client),
            Event::Decided(_)
            | Event::Answered { .. }
            | Event::TransactionEnded
            | Event::Wrote(_)
            | Event::Rerun(_)
            | Event::Learned(_)
            | Event::PrimaryRefusedWrite(_)
            | Event::ParseReceived
            | Event::ParseSent
            | Event::BindReceived => None,
        }
    }
}

/// Connection exceptions, insufficient resources, operator intervention, system and internal errors, a broken configuration
/// file. In these classes, too, some codes are the client's doing.
fn is_trouble_of_a_server(code: SqlState) -> bool {
    const CLIENTS_OWN: [SqlState; 3] =
        [SqlState::PROTOCOL_VIOLATION, SqlState::QUERY_CANCELED, SqlState::IDLE_SESSION_TIMEOUT];
    matches!(&code.class(), b"08" | b"53" | b"57" | b"58" | b"F0" | b"XX") && !CLIENTS_OWN.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> SqlState {
        SqlState::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_wrong_with_a_statement_is_nobody_elses_fault() {
        for text in ["42601", "42P01", "23505", "22012", "25006", "25P02", "40001", "40P01", "57014", "P0001"]
        {
            assert_eq!(Event::NodeError(Some(code(text))).origin(), Some(Origin::Client), "{text}");
        }
        for text in ["0A000", "22023", "25006", "26000", "08P01", "54000", "57014", "57P05", "25P03"] {
            assert_eq!(Event::OwnError(code(text)).origin(), Some(Origin::Client), "{text}");
        }
    }

    #[test]
    fn a_server_in_trouble_is_to_blame_and_so_is_one_whose_words_are_not_understood() {
        for text in ["53100", "53200", "53300", "57P01", "57P03", "58030", "XX000", "XX001", "F0000", "08006"]
        {
            assert_eq!(Event::NodeError(Some(code(text))).origin(), Some(Origin::Node), "{text}");
        }
        assert_eq!(Event::NodeError(None).origin(), Some(Origin::Node));
    }

    #[test]
    fn a_wait_in_vain_and_a_lost_node_are_the_routers_failure() {
        for text in ["53300", "57P03", "57P01", "08006", "40001", "40003", "XX000"] {
            assert_eq!(Event::OwnError(code(text)).origin(), Some(Origin::Router), "{text}");
        }
        assert_eq!(Event::BindReceived.origin(), None);
    }
}
