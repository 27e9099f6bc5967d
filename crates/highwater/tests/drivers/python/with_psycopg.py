"""psycopg 3 through the router: a CRUD round, typed values, transactions, a pipeline, COPY, NOTICE, cancel."""

import datetime
import decimal
import threading

import psycopg
from psycopg.types.json import Jsonb

from environment import DATABASE, HOST, PASSWORD, PORT, USER, same, step


def connect(**more):
    return psycopg.connect(host=HOST, port=PORT, dbname=DATABASE, user=USER, password=PASSWORD, **more)


def crud(connection):
    connection.execute("DROP TABLE IF EXISTS psycopg_items")
    connection.execute("CREATE TABLE psycopg_items (id serial PRIMARY KEY, name text UNIQUE, price numeric(12, 4))")
    for number in range(20):  # prepared by psycopg from the fifth on
        row = connection.execute(
            "INSERT INTO psycopg_items (name, price) VALUES (%s, %s) RETURNING id",
            (f"item {number}", decimal.Decimal(number) / 8),
        ).fetchone()
        same("inserted id", row, (number + 1,))
        read = connection.execute("SELECT name, price FROM psycopg_items WHERE id = %s", row).fetchone()
        same("own write", read, (f"item {number}", decimal.Decimal(number) / 8))
    changed = connection.execute("UPDATE psycopg_items SET price = price + 1 WHERE id <= %s", (10,))
    same("rows updated", changed.rowcount, 10)
    total = connection.execute("SELECT sum(price) FROM psycopg_items").fetchone()[0]
    same("sum after update", total, decimal.Decimal("33.75"))
    same("rows deleted", connection.execute("DELETE FROM psycopg_items WHERE id > 15").rowcount, 5)
    same("rows left", connection.execute("SELECT count(*) FROM psycopg_items").fetchone(), (15,))
    step("crud")


def prepared(connection):
    for number in range(30):
        query = "SELECT %s::int + id FROM psycopg_items WHERE id = 1"
        same("prepared", connection.execute(query, (number,), prepare=True).fetchone(), (number + 1,))
        query = "UPDATE psycopg_items SET price = %s WHERE id = 1"
        same("prepared write", connection.execute(query, (number,), prepare=True).rowcount, 1)
    step("prepared")


def typed(connection):
    moment = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.timezone.utc)
    values = (
        decimal.Decimal("12345678901234567890.123456789"),
        moment,
        [1, 2, None, 4],
        ["a", 'quote " and \\ and ,', None],
        {"key": [1, 2.5, None, "é"]},
        bytes(range(256)),
        None,
        True,
        2.5,
    )
    casts = "%s::numeric, %s::timestamptz, %s::int[], %s::text[], %s::jsonb, %s::bytea, %s::text, %s::bool, %s::float8"
    sent = [Jsonb(value) if isinstance(value, dict) else value for value in values]
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            got = cursor.execute(f"SELECT {casts}", sent).fetchone()
            same(f"typed values (binary={binary})", got, values)
    step("typed values")


def transactions(connection):
    with connection.transaction():
        connection.execute("INSERT INTO psycopg_items (name) VALUES ('committed')")
    try:
        with connection.transaction():
            connection.execute("INSERT INTO psycopg_items (name) VALUES ('rolled back')")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    with connection.transaction():
        try:
            with connection.transaction():  # a savepoint
                connection.execute("INSERT INTO psycopg_items (name) VALUES ('committed')")
        except psycopg.errors.UniqueViolation:
            pass
        connection.execute("INSERT INTO psycopg_items (name) VALUES ('after the error')")
    query = "SELECT name FROM psycopg_items WHERE name NOT LIKE 'item%' ORDER BY name"
    same("after transactions", connection.execute(query).fetchall(), [("after the error",), ("committed",)])
    with connect() as block:  # psycopg's own BEGIN before the first statement
        block.execute("INSERT INTO psycopg_items (name) VALUES ('implicit')")
        same("in the block", block.execute("SELECT count(*) FROM psycopg_items WHERE name = 'implicit'").fetchone(), (1,))
        block.rollback()
        block.read_only = True
        same("undone", block.execute("SELECT count(*) FROM psycopg_items WHERE name = 'implicit'").fetchone(), (0,))
        try:
            block.execute("DELETE FROM psycopg_items")
        except psycopg.errors.ReadOnlySqlTransaction:
            block.rollback()
        else:
            same("a write in a READ ONLY block", "succeeds", "fails")
    step("transactions")


def pipelined(connection):
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("SELECT %s::int", (number,)) for number in range(100)]
        connection.execute("INSERT INTO psycopg_items (name) VALUES ('pipelined')")
        count = connection.execute("SELECT count(*) FROM psycopg_items WHERE name = 'pipelined'")
        pipeline.sync()
        same("pipeline", [cursor.fetchone()[0] for cursor in cursors], list(range(100)))
        same("write in the pipeline", count.fetchone(), (1,))
    try:
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.execute("SELECT no_such_column")
            connection.execute("INSERT INTO psycopg_items (name) VALUES ('must not be')")
    except psycopg.errors.UndefinedColumn:
        pass
    else:
        same("an error in a pipeline", "is lost", "is raised")
    query = "SELECT count(*) FROM psycopg_items WHERE name = 'must not be'"
    same("behind the error", connection.execute(query).fetchone(), (0,))
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO psycopg_items (name) VALUES (%s)", [(f"many {n}",) for n in range(200)])
        same("executemany", cursor.rowcount, 200)
    step("pipeline")


def bulk(connection):
    with connection.cursor() as cursor:
        with cursor.copy("COPY psycopg_items (name) FROM STDIN") as copy:
            for number in range(5000):
                copy.write_row((f"copied {number}",))
        same("copied in", cursor.rowcount, 5000)
        with cursor.copy("COPY (SELECT name FROM psycopg_items WHERE name LIKE 'copied%') TO STDOUT") as copy:
            same("copied out", sum(1 for _ in copy.rows()), 5000)
    rows = connection.execute("SELECT n, repeat('x', 100) FROM generate_series(1, 100000) n").fetchall()
    same("large result", (len(rows), rows[-1][0]), (100000, 100000))
    with connection.transaction(), connection.cursor(name="server_side") as cursor:
        cursor.itersize = 1000
        cursor.execute("SELECT n FROM generate_series(1, 10000) n")
        same("server-side cursor", sum(row[0] for row in cursor), 50005000)
    step("bulk")


def notices(connection):
    heard = []
    connection.add_notice_handler(lambda diagnostic: heard.append(diagnostic.message_primary))
    connection.execute("DO $$ BEGIN RAISE NOTICE 'hello from %', 'the server'; END $$")
    same("notices", heard, ["hello from the server"])
    step("notice")


def cancelled(connection):
    ended = threading.Event()

    def cancel():  # repeated, because a request that comes before the query is there has no effect
        while not ended.wait(0.3):
            connection.cancel_safe()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        connection.execute("SELECT pg_sleep(60)")
    except psycopg.errors.QueryCanceled:
        pass
    else:
        same("a cancelled query", "succeeds", "fails")
    finally:
        ended.set()
        canceller.join()
    same("after the cancel", connection.execute("SELECT 1").fetchone(), (1,))
    step("cancel")


with connect(autocommit=True) as main:
    for part in (crud, prepared, typed, transactions, pipelined, bulk, notices, cancelled):
        part(main)
print("done")
