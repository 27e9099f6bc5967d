//! PostgreSQL's raw parser (libpg_query, through the crate `pg_raw_parse`).
//!
//! The tree is walked with a list of its own, not by recursion, so that a long chain of operators or UNIONs cannot
//! exhaust the stack. Only queries are walked; other statements are settled before they come here.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_raw_parse::list::NodeList;
use pg_raw_parse::walk::{Recurse, walk_manual};
use pg_raw_parse::{Node, nodes};

use super::{Answer, Grammar};
use crate::catalogue::Name;
use crate::class::{Class, Effects, Why};
use crate::judge::Judge;

/// PostgreSQL's grammar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Postgres;

impl Grammar for Postgres {
    fn judge(&self, statement: &str, judge: &mut Judge<'_>) -> Answer {
        // The crate panics on a node that PostgreSQL's walker does not know.
        let mut found = judge.clone();
        let answer = catch_unwind(AssertUnwindSafe(|| parse(statement, &mut found)));
        *judge = found;
        answer.unwrap_or(Answer::Other)
    }
}

fn parse(statement: &str, judge: &mut Judge<'_>) -> Answer {
    let Ok(tree) = pg_raw_parse::parse(statement) else {
        return Answer::Refused;
    };
    let mut statements = tree.stmts();
    let (Some(first), None) = (statements.next(), statements.next()) else {
        return Answer::Other;
    };
    match first {
        Node::SelectStmt(_) => {
            Walk { judge, tasks: vec![Task::Visit(first)], ctes: Vec::new() }.run();
            Answer::Query
        }
        Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
            Answer::Writes(Why::Dml)
        }
        _ => Answer::Other,
    }
}

struct Walk<'j, 'e, 'a> {
    judge: &'j mut Judge<'e>,
    tasks: Vec<Task<'a>>,
    /// Names of WITH queries that can be seen from here.
    ctes: Vec<&'a str>,
}

/// What is still to be done; the last comes first.
enum Task<'a> {
    Visit(Node<'a>),
    /// From here on, this WITH query can be seen.
    Enter(&'a str),
    /// Forget all WITH queries but this many.
    Leave(usize),
}

impl<'a> Walk<'_, '_, 'a> {
    fn run(&mut self) {
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Visit(node) => self.visit(node),
                Task::Enter(name) => self.ctes.push(name),
                Task::Leave(count) => self.ctes.truncate(count),
            }
        }
    }

    fn visit(&mut self, node: Node<'a>) {
        match node {
            Node::SelectStmt(select) => return self.select(node, select),
            Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
                self.judge.worsen(Class::Writes, Why::ModifyingCte);
            }
            Node::FuncCall(call) => {
                let arguments = u32::try_from(call.args().len()).ok().filter(|_| !call.agg_within_group);
                self.call(call.funcname(), arguments);
            }
            Node::RangeTableSample(sample) => self.call(sample.method(), None),
            Node::RangeVar(relation) => self.relation(relation),
            Node::A_Expr(expression) => self.operator(expression.name()),
            Node::SortBy(sort) => self.operator(sort.use_op()),
            Node::SubLink(link) => self.operator(link.oper_name()),
            Node::TypeName(name) => {
                let parts: Vec<&str> = name.names().iter().filter_map(nodes::String::sval).collect();
                if let Some(name) = named(&parts) {
                    self.judge.type_name(&name);
                }
            }
            Node::JsonScalarExpr(_)
            | Node::JsonParseExpr(_)
            | Node::JsonSerializeExpr(_)
            | Node::JsonFuncExpr(_)
            | Node::JsonTable(_)
            | Node::JsonObjectConstructor(_)
            | Node::JsonArrayConstructor(_)
            | Node::JsonArrayQueryConstructor(_)
            | Node::JsonObjectAgg(_)
            | Node::JsonArrayAgg(_)
            | Node::MergeSupportFunc(_) => self.newer_syntax(),
            _ => {}
        }
        self.children(node);
    }

    /// What PostgreSQL 16 and later read as syntax is a call of a function for an older one.
    fn newer_syntax(&mut self) {
        const WORDS: [&[u8]; 12] = [
            b"json",
            b"json_array",
            b"json_arrayagg",
            b"json_exists",
            b"json_object",
            b"json_objectagg",
            b"json_query",
            b"json_scalar",
            b"json_serialize",
            b"json_table",
            b"json_value",
            b"merge_action",
        ];
        if WORDS.iter().any(|word| self.judge.env().catalogue.own_volatile(word)) {
            self.judge.worsen(Class::Writes, Why::VolatileFunction);
        }
    }

    fn select(&mut self, node: Node<'a>, select: &'a nodes::SelectStmt) {
        if let Some(into) = select.into_clause() {
            self.judge.worsen(Class::Writes, Why::SelectInto);
            let temporary = into.rel().is_some_and(|rel| u8::try_from(rel.relpersistence) == Ok(b't'));
            if temporary {
                self.judge.effects |= Effects::TEMP_OBJECT;
            }
        }
        if !select.locking_clause().is_empty() {
            self.judge.worsen(Class::Writes, Why::LockingClause);
        }
        let Some(with) = select.with_clause() else {
            return self.children(node);
        };
        self.tasks.push(Task::Leave(self.ctes.len()));
        self.children(node);
        let ctes = || with.ctes().iter();
        if with.recursive {
            self.ctes.extend(ctes().filter_map(nodes::CommonTableExpr::ctename));
            self.tasks.extend(ctes().map(|cte| Task::Visit(cte.ctequery())));
            return;
        }
        // Each sees the ones before it only.
        let first = self.tasks.len();
        for cte in ctes() {
            self.tasks.push(Task::Visit(cte.ctequery()));
            self.tasks.extend(cte.ctename().map(Task::Enter));
        }
        self.tasks[first..].reverse();
    }

    /// All but a WITH clause, which `select` sees to.
    fn children(&mut self, node: Node<'a>) {
        let tasks = &mut self.tasks;
        walk_manual::<()>(node, |child| {
            if !matches!(child, Node::WithClause(_) | Node::None) {
                tasks.push(Task::Visit(child));
            }
            ControlFlow::Continue(Recurse::No)
        });
    }

    fn call(&mut self, name: &'a NodeList, arguments: Option<u32>) {
        let parts = strings(name);
        let known = named(&parts).is_some_and(|name| self.judge.call(&name, arguments));
        if !known {
            self.judge.worsen(Class::Writes, Why::UnknownFunction);
        }
    }

    fn relation(&mut self, relation: &'a nodes::RangeVar) {
        let Some(object) = relation.relname() else { return };
        let schema = relation.schemaname();
        if schema.is_none() && self.ctes.contains(&object) {
            return;
        }
        let name = Name { schema: schema.map(str::as_bytes), object: object.as_bytes() };
        if !self.judge.relation(&name) {
            self.judge.worsen(Class::Unknown, Why::UnknownRelation);
        }
    }

    fn operator(&mut self, name: &'a NodeList) {
        if let Some(name) = named(&strings(name)) {
            self.judge.operator(&name);
        }
    }
}

fn strings(list: &NodeList) -> Vec<&str> {
    list.iter().filter_map(Node::as_str).collect()
}

/// The last two parts of a name.
fn named<'a>(parts: &[&'a str]) -> Option<Name<'a>> {
    let (object, before) = parts.split_last()?;
    Some(Name { schema: before.last().map(|schema| schema.as_bytes()), object: object.as_bytes() })
}
