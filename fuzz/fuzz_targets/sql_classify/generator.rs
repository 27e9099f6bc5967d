//! Statements from choices: mostly valid, with comments, quotes and key words in unusual places.

/// A text of one to three statements.
pub fn text(choices: &[u8]) -> String {
    let mut generator = Generator { choices, at: 0, text: String::new(), depth: 0 };
    for i in 0..=generator.pick(3) {
        if i > 0 {
            generator.text.push(';');
        }
        generator.statement();
    }
    generator.text
}

struct Generator<'a> {
    choices: &'a [u8],
    at: usize,
    text: String,
    depth: u32,
}

const FUNCTIONS: [&str; 36] = [
    "lower",
    "count",
    "now",
    "random",
    "coalesce",
    "substring",
    "overlay",
    "left",
    "right",
    "touch",
    "nextval",
    "public.touch",
    "pg_catalog.lower",
    "pg_catalog.nextval",
    "\"touch\"",
    "\"lower\"",
    "unknown_f",
    "s.f",
    "like",
    "join",
    "varying",
    "data",
    "rows",
    "json_scalar",
    "json_object",
    "set_config",
    "pg_advisory_lock",
    "is",
    "system_user",
    "position",
    "greatest",
    "generate_series",
    "unnest",
    "U&\"to\\0075ch\"",
    "TOUCH",
    "nullif",
];
const TABLES: [&str; 14] = [
    "t",
    "u",
    "public.v",
    "data",
    "cache",
    "public.cache",
    "remote",
    "seqview",
    "nowhere",
    "\"t\"",
    "x",
    "pg_class",
    "pg_locks",
    "ONLY t",
];
const ALIASES: [&str; 16] = [
    "",
    " a",
    " AS b",
    " AS \"c\"",
    " AS into",
    " AS for",
    " AS update",
    " distinct",
    " select",
    " join",
    " AS from",
    " AS data",
    " t",
    " AS with",
    " a(p,q)",
    " AS t (p)",
];
const LITERALS: [&str; 26] = [
    "1",
    "'x'",
    "E'\\''",
    "$$;$$",
    "$a$ $$ $a$",
    "NULL",
    "true",
    "$1",
    "1.5",
    ".5",
    "'a''b'",
    "'a'\n'b'",
    "E'\\''\n'\\''",
    "date '2020-01-01'",
    "posint '1'",
    "interval '1' day",
    "B'01'",
    "U&'d\\0061'",
    "a",
    "t.a",
    "\"a\"",
    "into_",
    "1::int",
    "CAST(1 AS posint)",
    "1::posint",
    "t.update",
];
const BLANKS: [&str; 12] =
    [" ", " ", " ", " ", " ", "\n", "\t", "/* ; */", " -- ;\n", "/* /* ' */ */", " --\r", "/**/"];
const OPERATORS: [&str; 22] = [
    "+",
    "-",
    "*",
    "=",
    "<>",
    "||",
    "->>",
    "=#",
    "OPERATOR(public.=#)",
    "OPERATOR(pg_catalog.+)",
    " AND ",
    " OR ",
    " LIKE ",
    " IS DISTINCT FROM ",
    " IS NOT DISTINCT FROM ",
    " ILIKE ",
    "+-",
    "@>",
    " = ANY ",
    " BETWEEN 1 AND ",
    " NOT LIKE ",
    "*/**/",
];
const TYPES: [&str; 10] = [
    "int",
    "numeric(10,2)",
    "varchar (5)",
    "character varying(5)",
    "posint",
    "public.posint[]",
    "double precision",
    "timestamp(3) with time zone",
    "text",
    "national character varying (3)",
];
const SETTINGS: [&str; 14] = [
    "SET a.b = 1",
    "SET LOCAL a = 'x'",
    "RESET a",
    "SET ROLE x",
    "BEGIN",
    "COMMIT",
    "SHOW a",
    "DISCARD ALL",
    "DEALLOCATE x",
    "SET TRANSACTION READ ONLY",
    "SET highwater.route = 'x'",
    "LISTEN x",
    "ROLLBACK TO x",
    "RESET ALL",
];

impl Generator<'_> {
    fn pick(&mut self, of: usize) -> usize {
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % of
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn blank(&mut self) {
        let blank = BLANKS[self.pick(BLANKS.len())];
        self.push(blank);
    }

    fn one(&mut self, of: &[&str]) {
        let one = of[self.pick(of.len())];
        self.push(one);
    }

    /// A word in mixed case, with blanks around it.
    fn word(&mut self, word: &str) {
        self.blank();
        if self.pick(3) == 0 {
            self.text.push_str(&word.to_lowercase());
        } else {
            self.text.push_str(word);
        }
        self.blank();
    }

    fn word_of(&mut self, of: &[&str]) {
        let one = of[self.pick(of.len())];
        self.word(one);
    }

    fn deep(&self) -> bool {
        self.depth > 4 || self.at > self.choices.len()
    }

    fn statement(&mut self) {
        match self.pick(16) {
            0 => self.word("EXPLAIN"),
            1 => self.word("EXPLAIN (ANALYZE, COSTS off)"),
            2 => self.word("PREPARE p AS"),
            3 => self.word("DECLARE c CURSOR WITH HOLD FOR"),
            4 => self.word("DECLARE c SCROLL CURSOR FOR"),
            5 => {
                self.word("COPY (");
                self.query();
                return self.word(") TO STDOUT");
            }
            6 => {
                self.word("COPY");
                self.one(&TABLES[..10]);
                return self.word("TO STDOUT");
            }
            7 => return self.one(&SETTINGS),
            8 => self.word("CREATE TEMP TABLE tt AS"),
            9 => return self.modifying(),
            _ => {}
        }
        self.query();
    }

    fn modifying(&mut self) {
        match self.pick(3) {
            0 => self.word("INSERT INTO t SELECT 1 RETURNING 1"),
            1 => self.word("UPDATE t SET a = 1 RETURNING a"),
            _ => self.word("DELETE FROM t RETURNING 1"),
        }
    }

    fn query(&mut self) {
        self.depth += 1;
        if self.pick(5) == 0 {
            self.with();
        }
        self.select();
        if self.pick(6) == 0 && !self.deep() {
            self.one(&[" UNION ", " UNION ALL ", " EXCEPT ", "\nINTERSECT\n"]);
            self.select();
        }
        if self.pick(8) == 0 {
            self.word("ORDER BY");
            self.expression();
        }
        match self.pick(14) {
            0 => self.word("FOR UPDATE"),
            1 => self.word("FOR SHARE OF t SKIP LOCKED"),
            2 => self.word("FETCH FIRST 1 ROW WITH TIES"),
            3 => self.word("FOR KEY SHARE"),
            4 => {
                self.word("LIMIT");
                self.expression();
            }
            _ => {}
        }
        self.depth -= 1;
    }

    fn with(&mut self) {
        self.word_of(&["WITH", "WITH RECURSIVE"]);
        self.one(&["x", "cache", "y(a)", "\"x\""]);
        self.word_of(&["AS (", "AS MATERIALIZED (", "AS NOT MATERIALIZED ("]);
        if self.pick(5) == 0 || self.deep() {
            self.modifying()
        } else {
            self.query()
        }
        self.push(")");
    }

    fn select(&mut self) {
        match self.pick(12) {
            0 => {
                self.word("VALUES (");
                self.expression();
                return self.push(")");
            }
            1 => {
                self.word("TABLE");
                return self.one(&TABLES);
            }
            2 if !self.deep() => {
                self.push("(");
                self.query();
                return self.push(")");
            }
            _ => {}
        }
        self.word_of(&["SELECT", "SELECT DISTINCT", "SELECT ALL", "SELECT DISTINCT ON (a)"]);
        for i in 0..=self.pick(2) {
            if i > 0 {
                self.push(",");
            }
            self.expression();
            self.one(&ALIASES[..14]);
        }
        match self.pick(16) {
            0 => self.word("INTO y"),
            1 => self.word("INTO TEMP y"),
            _ => {}
        }
        if self.pick(3) > 0 {
            self.word("FROM");
            self.item();
            while self.pick(3) == 0 && !self.deep() {
                self.push(",");
                self.item();
            }
        }
        if self.pick(3) == 0 {
            self.word("WHERE");
            self.expression();
        }
        if self.pick(8) == 0 {
            self.word_of(&[
                "GROUP BY",
                "HAVING",
                "WINDOW w AS (ORDER BY a), v AS (PARTITION BY b), z AS () ORDER BY",
            ]);
            self.expression();
        }
    }

    fn item(&mut self) {
        self.depth += 1;
        match self.pick(10) {
            0 if !self.deep() => {
                self.push("(");
                self.query();
                self.push(")");
            }
            1 if !self.deep() => {
                self.push("(");
                self.item();
                self.word("CROSS JOIN");
                self.item();
                self.push(")");
            }
            2 => self.call(),
            3 => {
                self.word("LATERAL");
                self.call();
            }
            4 => {
                self.word("ROWS FROM (");
                self.call();
                self.push(")");
            }
            _ => self.one(&TABLES),
        }
        self.one(&ALIASES);
        if self.pick(8) == 0 {
            self.one(&[" TABLESAMPLE bernoulli (1)", " TABLESAMPLE touch (1)", " WITH ORDINALITY"]);
        }
        if self.pick(5) == 0 && !self.deep() {
            self.word_of(&["JOIN", "LEFT JOIN", "FULL OUTER JOIN"]);
            self.item();
            self.word("ON");
            self.expression();
        }
        self.depth -= 1;
    }

    fn call(&mut self) {
        self.one(&FUNCTIONS);
        if self.pick(6) == 0 {
            self.blank();
        }
        self.push("(");
        match self.pick(8) {
            0 => {}
            1 => self.push("*"),
            2 => {
                self.push("DISTINCT ");
                self.expression();
            }
            3 => {
                self.expression();
                self.push(" ORDER BY ");
                self.expression();
            }
            4 => {
                self.push("a => ");
                self.expression();
            }
            5 => {
                self.expression();
                self.one(&[" FROM ", " FOR ", " IN ", ","]);
                self.expression();
            }
            n => {
                self.expression();
                if n == 7 {
                    self.push(",");
                    self.expression();
                }
            }
        }
        self.push(")");
        if self.pick(10) == 0 {
            self.one(&[
                " OVER ()",
                " FILTER (WHERE true)",
                " WITHIN GROUP (ORDER BY a)",
                " OVER (ORDER BY a)",
            ]);
        }
    }

    fn expression(&mut self) {
        self.depth += 1;
        match if self.deep() { 9 } else { self.pick(22) } {
            0 | 1 => self.call(),
            2 => {
                self.push("(");
                self.query();
                self.push(")");
            }
            3 => {
                self.expression();
                self.one(&OPERATORS);
                self.expression();
            }
            4 => {
                self.push("(");
                self.expression();
                self.push(")");
            }
            5 => {
                self.expression();
                self.push("::");
                self.one(&TYPES);
            }
            6 => {
                self.push("CAST(");
                self.expression();
                self.word("AS");
                self.one(&TYPES);
                self.push(")");
            }
            7 => {
                self.word("CASE WHEN");
                self.expression();
                self.word("THEN");
                self.expression();
                self.word("END");
            }
            8 => {
                self.one(&["EXISTS", "ARRAY", "a IN ", "a = ANY", "a LIKE ", "NOT EXISTS"]);
                self.push("(");
                self.query();
                self.push(")");
            }
            10 => {
                self.one(&[
                    "extract(epoch FROM ",
                    "trim(both FROM ",
                    "position('a' IN ",
                    "overlay('a' placing 'b' from ",
                    "collation for (",
                ]);
                self.expression();
                self.push(")");
            }
            11 => {
                self.push("ARRAY[");
                self.expression();
                self.push("]");
            }
            12 => {
                self.push("(");
                self.call();
                self.push(").");
                self.one(&["a", "*", "update", "\"x\""]);
            }
            13 => {
                self.push("ROW(");
                self.expression();
                self.push(",");
                self.expression();
                self.push(")");
            }
            14 => {
                self.push("a[");
                self.expression();
                self.one(&["]", ":]", "].b", ":2]"]);
            }
            _ => self.one(&LITERALS),
        }
        self.depth -= 1;
    }
}
