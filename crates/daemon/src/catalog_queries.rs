//! What is asked of a database so that `sql::CatalogueBuilder` knows its functions, operators, types, relations, views
//! and policies.
//!
//! Texts only: running them and handing on their rows is the loader's. They read nothing but system catalogues that every
//! role may read, and work on PostgreSQL 14 to 18, on the primary or a replica. Run them with `search_path = ''`: nothing
//! can come between them and `pg_catalog`, and definitions then name every schema. Objects of PostgreSQL's own (object ids
//! below 16384) are left out: `sql` has them built in. So are temporary objects: the session that makes one is marked by
//! its statement.

/// The functions of the database, aggregates and window functions among them, procedures not.
///
/// | column | type | what |
/// |---|---|---|
/// | `schema` | text | |
/// | `name` | text | |
/// | `min_args` | int4 | arguments without a default |
/// | `max_args` | int4 or null | all arguments; null: VARIADIC |
/// | `volatility` | text | `i`, `s` or `v`; of an aggregate, the worst of its functions |
pub(crate) const FUNCTIONS: &str = "\
SELECT n.nspname::pg_catalog.text AS schema,
       p.proname::pg_catalog.text AS name,
       (p.pronargs - p.pronargdefaults)::pg_catalog.int4 AS min_args,
       CASE WHEN p.provariadic = 0 THEN p.pronargs::pg_catalog.int4 END AS max_args,
       CASE WHEN EXISTS (
                SELECT FROM pg_catalog.pg_aggregate a
                JOIN pg_catalog.pg_proc q ON q.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
                    a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
                WHERE a.aggfnoid = p.oid AND q.provolatile = 'v')
            THEN 'v' ELSE p.provolatile::pg_catalog.text END AS volatility
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid >= 16384 AND p.prokind <> 'p' AND n.nspname !~ '^pg_temp_'";

/// The operators whose function is VOLATILE; there are seldom any.
///
/// | column | type | what |
/// |---|---|---|
/// | `schema` | text | |
/// | `name` | text | |
/// | `volatility` | text | always `v` |
pub(crate) const OPERATORS: &str = "\
SELECT n.nspname::pg_catalog.text AS schema, o.oprname::pg_catalog.text AS name, 'v'::pg_catalog.text AS volatility
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
WHERE o.oid >= 16384 AND p.provolatile = 'v'";

/// The types to which a cast may run something VOLATILE: by their input function, a cast to them, or a constraint of the
/// domain; and the domains, arrays and composite types made of such types. There are seldom any.
///
/// Constraints are searched for the names of volatile functions as well as for dependencies, since PostgreSQL does not
/// record a dependency on its own functions. A name in a string constant counts too, which errs on the safe side.
///
/// | column | type | what |
/// |---|---|---|
/// | `schema` | text | |
/// | `name` | text | |
/// | `volatility` | text | always `v` |
pub(crate) const TYPES: &str = "\
WITH RECURSIVE suspect(oid) AS (
    SELECT t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_proc p ON p.oid = t.typinput
    WHERE t.oid >= 16384 AND p.provolatile = 'v'
  UNION
    SELECT c.casttarget FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
    WHERE c.oid >= 16384 AND p.provolatile = 'v'
  UNION
    SELECT k.contypid FROM pg_catalog.pg_constraint k
    CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_constraintdef(k.oid) AS text OFFSET 0) d
    JOIN pg_catalog.pg_proc p ON p.provolatile = 'v'
        AND (pg_catalog.strpos(d.text, p.proname || '(') > 0
             OR EXISTS (SELECT FROM pg_catalog.pg_depend e
                        WHERE e.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND e.objid = k.oid
                          AND e.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.refobjid = p.oid))
    WHERE k.contypid <> 0 AND k.oid >= 16384
), worse(oid) AS (
    SELECT oid FROM suspect
  UNION
    SELECT t.oid FROM pg_catalog.pg_type t JOIN worse w
        ON t.typbasetype = w.oid OR t.typelem = w.oid
        OR EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
                   WHERE c.oid = t.typrelid AND c.relkind = 'c' AND a.atttypid = w.oid)
)
SELECT n.nspname::pg_catalog.text AS schema, t.typname::pg_catalog.text AS name, 'v'::pg_catalog.text AS volatility
FROM worse w
JOIN pg_catalog.pg_type t ON t.oid = w.oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace";

/// The tables, views, sequences and foreign tables of the database.
///
/// | column | type | what |
/// |---|---|---|
/// | `schema` | text | |
/// | `name` | text | |
/// | `kind` | text | `r` table, `v` view, `m` materialized view, `S` sequence, `f` foreign table or a table with one among its partitions or children |
/// | `persistence` | text | `p` permanent, `u` unlogged, itself or one of its partitions or children |
pub(crate) const RELATIONS: &str = "\
WITH RECURSIVE tree(root, oid) AS (
    SELECT DISTINCT i.inhparent, i.inhparent FROM pg_catalog.pg_inherits i
  UNION
    SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
), below AS (
    SELECT t.root, pg_catalog.bool_or(c.relkind = 'f') AS is_foreign, pg_catalog.bool_or(c.relpersistence = 'u') AS unlogged
    FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid GROUP BY t.root
)
SELECT n.nspname::pg_catalog.text AS schema,
       c.relname::pg_catalog.text AS name,
       CASE WHEN c.relkind = 'f' OR b.is_foreign THEN 'f' WHEN c.relkind = 'p' THEN 'r'
            ELSE c.relkind::pg_catalog.text END AS kind,
       CASE WHEN b.unlogged THEN 'u' ELSE c.relpersistence::pg_catalog.text END AS persistence
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN below b ON b.root = c.oid
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_toast'";

/// What the views of the database stand for.
///
/// | column | type | what |
/// |---|---|---|
/// | `schema` | text | |
/// | `name` | text | |
/// | `definition` | text | `pg_get_viewdef` |
pub(crate) const VIEWS: &str = "\
SELECT n.nspname::pg_catalog.text AS schema,
       c.relname::pg_catalog.text AS name,
       pg_catalog.pg_get_viewdef(c.oid) AS definition
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind = 'v' AND c.relpersistence <> 't'";

/// The expressions that row-level security runs when a table is read.
///
/// | column | type | what |
/// |---|---|---|
/// | `schema` | text | of the table |
/// | `name` | text | of the table |
/// | `expression` | text | USING of a policy FOR SELECT, ALL or with any command that also reads |
pub(crate) const POLICIES: &str = "\
SELECT n.nspname::pg_catalog.text AS schema,
       c.relname::pg_catalog.text AS name,
       pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS expression
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND p.polqual IS NOT NULL AND c.relpersistence <> 't'";

/// One number that changes when the answer of any other query here does.
///
/// Every change to a catalogue row makes a new version of it, with the id of the transaction that made it: the sum over
/// (object, transaction) changes with each row made, changed or removed, and wrap-around of transaction ids does not hide
/// any. Two different states meet by accident once in 2⁶⁴. It reads rows of the user's objects only, without sorting:
/// a few milliseconds with ten thousand of them.
///
/// Limits: it sees what is committed when it runs, so that a change to an object that is known already (a function that
/// becomes VOLATILE, a view that is replaced, a table that becomes unlogged, a new overload) counts from the next poll.
/// A new object does not matter until then: what is not in the catalogue goes to the primary. A dump and restore or an
/// upgrade of the cluster may change it without need, which costs a reload.
///
/// | column | type | what |
/// |---|---|---|
/// | `epoch` | int8 | |
pub(crate) const EPOCH: &str = "\
WITH version(part, oid, xmin) AS (
    SELECT 1, p.oid, p.xmin FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
  UNION ALL
    SELECT 2, o.oid, o.xmin FROM pg_catalog.pg_operator o WHERE o.oid >= 16384
  UNION ALL
    SELECT 3, c.oid, c.xmin FROM pg_catalog.pg_class c
    WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
    SELECT 4, r.oid, r.xmin FROM pg_catalog.pg_rewrite r WHERE r.oid >= 16384
  UNION ALL
    SELECT 5, p.oid, p.xmin FROM pg_catalog.pg_policy p
  UNION ALL
    SELECT 6, n.oid, n.xmin FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(toast_)?temp_'
  UNION ALL
    SELECT 7, c.oid, c.xmin FROM pg_catalog.pg_cast c WHERE c.oid >= 16384
  UNION ALL
    SELECT 8, k.oid, k.xmin FROM pg_catalog.pg_constraint k WHERE k.contypid <> 0 AND k.oid >= 16384
  UNION ALL
    SELECT 9, t.oid, t.xmin FROM pg_catalog.pg_type t WHERE t.typtype IN ('d', 'b') AND t.typelem = 0 AND t.oid >= 16384
  UNION ALL
    SELECT 10, i.inhrelid, i.xmin FROM pg_catalog.pg_inherits i
)
SELECT pg_catalog.hashtextextended(
    pg_catalog.concat(
        pg_catalog.sum(pg_catalog.hashint8extended(
            v.oid::pg_catalog.int8 * 4294967296 + v.xmin::pg_catalog.text::pg_catalog.int8, v.part)),
        ' ', pg_catalog.count(*)),
    0) AS epoch
FROM version v";
