//! The running judgement on one statement.
//!
//! Both tiers report what they find to it (a call, a relation, a lock); it looks each up and keeps the worst. It does not
//! know where the facts come from.

use crate::Environment;
use crate::catalogue::harmless::effects_of_function;
use crate::catalogue::{Answer, Fate, Name};
use crate::class::{Class, Effects, Why};

/// What was found so far.
#[derive(Clone, Debug)]
pub(crate) struct Judge<'e> {
    env: &'e Environment<'e>,
    /// The worst so far.
    pub(crate) class: Class,
    /// What made it so: the first of the worst.
    pub(crate) why: Why,
    /// All effects.
    pub(crate) effects: Effects,
}

impl<'e> Judge<'e> {
    /// Nothing found: a plain query.
    pub(crate) fn new(env: &'e Environment<'e>) -> Self {
        let mut judge = Self { env, class: Class::Reads, why: Why::PlainSelect, effects: Effects::NONE };
        if env.catalogue.implicit_operator_volatile() {
            judge.worsen(Class::Writes, Why::VolatileOperator);
        }
        judge
    }

    /// The environment it judges in.
    pub(crate) const fn env(&self) -> &'e Environment<'e> {
        self.env
    }

    /// Something of this class was found.
    pub(crate) fn worsen(&mut self, class: Class, why: Why) {
        if class > self.class {
            (self.class, self.why) = (class, why);
        }
    }

    /// A call. Answers false when the function is not known; the caller decides what that means.
    pub(crate) fn call(&mut self, name: &Name<'_>, arguments: Option<u32>) -> bool {
        self.effects |= effects_of_function(name.object);
        self.note_temporary(name.schema);
        match self.env.catalogue.call(name, arguments, self.env.search_path) {
            Answer::Harmless => {}
            Answer::NodeLocal => self.worsen(Class::Unknown, Why::NodeLocal),
            Answer::Volatile => self.worsen(Class::Writes, Why::VolatileFunction),
            Answer::Unknown => return false,
        }
        true
    }

    /// A relation that is read. Answers false when it is not known.
    pub(crate) fn relation(&mut self, name: &Name<'_>) -> bool {
        if self.note_temporary(name.schema) {
            self.worsen(Class::Unknown, Why::TempTable);
            return true;
        }
        match self.env.catalogue.relation(name, self.env.search_path) {
            Fate::Plain => {}
            Fate::Judged(class, why) => self.worsen(class, why),
            Fate::Unknown => return false,
        }
        true
    }

    /// An operator.
    pub(crate) fn operator(&mut self, name: &Name<'_>) {
        if self.env.catalogue.volatile_operator(name, self.env.search_path) {
            self.worsen(Class::Writes, Why::VolatileOperator);
        }
    }

    /// A type, named in a cast or a constant.
    pub(crate) fn type_name(&mut self, name: &Name<'_>) {
        if self.env.catalogue.volatile_type(name, self.env.search_path) {
            self.worsen(Class::Writes, Why::VolatileType);
        }
    }

    fn note_temporary(&mut self, schema: Option<&[u8]>) -> bool {
        let temporary = schema.is_some_and(|schema| schema.starts_with(b"pg_temp"));
        if temporary {
            self.effects |= Effects::TEMP_OBJECT;
        }
        temporary
    }
}
