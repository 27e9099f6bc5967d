//! A list of nodes as text: `host:port` or `host:port name` on each line, and `#` before a comment. As a file has it, and as
//! a command prints it.

use super::{Elected, Found, FoundNode};
use crate::config::host_port;

/// Longest name of a node, in bytes: it becomes a label and a column.
const NAME_BYTES_MAX: usize = 100;

/// Reads a list. The error names the first line that makes no sense.
pub(super) fn read(text: &str) -> Result<Found, String> {
    let mut nodes = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default();
        let mut words = content.split_whitespace();
        let Some(address) = words.next() else { continue };
        let name = words.next();
        let named = name.is_none_or(|name| name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control));
        match (host_port(address, 5432), words.next()) {
            (Some((host, port)), None) if named => {
                nodes.push(FoundNode { name: name.map(str::to_owned), ..FoundNode::at(host, port) });
            }
            _ => {
                let shown: String = content.trim().chars().take(80).collect();
                return Err(format!(
                    "line {}: {shown:?} is not \"host:port\" or \"host:port name\"",
                    number + 1
                ));
            }
        }
    }
    Ok(Found { nodes, primary: Elected::ByNobody })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes as `host port name`.
    fn check(text: &str, expected: Result<&[&str], &str>) {
        let shown =
            |node: &FoundNode| format!("{} {} {}", node.host, node.port, node.name.as_deref().unwrap_or("-"));
        let seen = read(text).map(|found| found.nodes.iter().map(shown).collect::<Vec<_>>());
        let expected = expected.map(|nodes| nodes.iter().map(ToString::to_string).collect());
        assert_eq!(seen, expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn a_line_is_a_node_with_or_without_a_name_and_the_rest_is_comment() {
        check(
            "# made by hand\n10.0.0.1:5432\n\n  db2:5433\tsecond # east\n[::1]:1\ndb3\r\n",
            Ok(&["10.0.0.1 5432 -", "db2 5433 second", "::1 1 -", "db3 5432 -"]),
        );
        check("", Ok(&[]));
        check("# nobody\n", Ok(&[]));
    }

    #[test]
    fn one_line_that_makes_no_sense_spoils_the_list_and_is_named() {
        check("db1:1\n/tmp:1\n", Err("line 2: \"/tmp:1\" is not \"host:port\" or \"host:port name\""));
        check("db1:1 a b", Err("line 1: \"db1:1 a b\" is not \"host:port\" or \"host:port name\""));
        check("db1:0", Err("line 1: \"db1:0\" is not \"host:port\" or \"host:port name\""));
        check("db1:1 \u{1}", Err("line 1: \"db1:1 \\u{1}\" is not \"host:port\" or \"host:port name\""));
    }
}
