"""asyncpg through the router: a CRUD round, typed values, transactions, executemany, a pool, NOTICE, cancel."""

import asyncio
import datetime
import decimal
import json

import asyncpg

from environment import DATABASE, HOST, PASSWORD, PORT, USER, same, step

WHERE = {"host": HOST, "port": PORT, "database": DATABASE, "user": USER, "password": PASSWORD}


async def crud(connection):
    await connection.execute("DROP TABLE IF EXISTS asyncpg_items")
    await connection.execute("CREATE TABLE asyncpg_items (id serial PRIMARY KEY, name text UNIQUE, price numeric)")
    for number in range(20):
        insert = "INSERT INTO asyncpg_items (name, price) VALUES ($1, $2) RETURNING id"
        key = await connection.fetchval(insert, f"item {number}", decimal.Decimal(number))
        read = await connection.fetchrow("SELECT name, price FROM asyncpg_items WHERE id = $1", key)
        same("own write", tuple(read), (f"item {number}", decimal.Decimal(number)))
    same("update", await connection.execute("UPDATE asyncpg_items SET price = 0 WHERE id <= $1", 10), "UPDATE 10")
    same("delete", await connection.execute("DELETE FROM asyncpg_items WHERE id > 15"), "DELETE 5")
    same("count", await connection.fetchval("SELECT count(*) FROM asyncpg_items"), 15)
    step("crud")


async def prepared(connection):
    read = await connection.prepare("SELECT name FROM asyncpg_items WHERE id = $1")
    write = await connection.prepare("UPDATE asyncpg_items SET name = $2 WHERE id = $1")
    same("parameters", [kind.name for kind in write.get_parameters()], ["int4", "text"])
    same("columns", [column.name for column in read.get_attributes()], ["name"])
    for number in range(30):
        await write.fetch(1, f"renamed {number}")
        same("prepared", await read.fetchval(1), f"renamed {number}")
    step("prepared")


async def typed(connection):
    moment = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.timezone.utc)
    values = (
        decimal.Decimal("12345678901234567890.123456789"),
        moment,
        [1, 2, None, 4],
        ["a", 'quote " and \\ and ,', None],
        json.dumps({"key": [1, 2.5, None, "é"]}),
        bytes(range(256)),
        None,
        2.5,
    )
    casts = "$1::numeric, $2::timestamptz, $3::int[], $4::text[], $5::json, $6::bytea, $7::text, $8::float8"
    same("typed values", tuple(await connection.fetchrow(f"SELECT {casts}", *values)), values)
    step("typed values")


async def transactions(connection):
    async with connection.transaction():
        await connection.execute("INSERT INTO asyncpg_items (name) VALUES ('committed')")
    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO asyncpg_items (name) VALUES ('rolled back')")
            await connection.execute("INSERT INTO asyncpg_items (name) VALUES ('committed')")
    except asyncpg.UniqueViolationError:
        pass
    async with connection.transaction():
        try:
            async with connection.transaction():  # a savepoint
                await connection.execute("SELECT 1 / 0")
        except asyncpg.DivisionByZeroError:
            pass
        await connection.execute("INSERT INTO asyncpg_items (name) VALUES ('after the error')")
    names = await connection.fetch("SELECT name FROM asyncpg_items WHERE id > 20 ORDER BY name")
    same("after transactions", [row["name"] for row in names], ["after the error", "committed"])
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        same("read only", await connection.fetchval("SELECT count(*) FROM asyncpg_items WHERE id > 20"), 2)
        total = 0
        async for row in connection.cursor("SELECT n FROM generate_series(1, 10000) n", prefetch=100):
            total += row["n"]
        same("cursor", total, 50005000)
    try:
        async with connection.transaction(readonly=True):
            await connection.execute("DELETE FROM asyncpg_items")
    except asyncpg.ReadOnlySQLTransactionError:
        pass
    else:
        same("a write in a READ ONLY block", "succeeds", "fails")
    step("transactions")


async def many(connection):
    rows = [(f"many {number}",) for number in range(1000)]
    await connection.executemany("INSERT INTO asyncpg_items (name) VALUES ($1)", rows)
    same("executemany", await connection.fetchval("SELECT count(*) FROM asyncpg_items WHERE name LIKE 'many%'"), 1000)
    try:
        await connection.executemany("INSERT INTO asyncpg_items (name) VALUES ($1)", [("once",), ("many 1",)])
    except asyncpg.UniqueViolationError:
        pass
    else:
        same("an error in executemany", "is lost", "is raised")
    same("behind the error", await connection.fetchval("SELECT count(*) FROM asyncpg_items WHERE name = 'once'"), 0)
    copied = await connection.copy_records_to_table(
        "asyncpg_items", records=[(f"copied {number}",) for number in range(5000)], columns=["name"]
    )
    same("copy in (binary)", copied, "COPY 5000")
    result = await connection.fetch("SELECT n, repeat('x', 100) FROM generate_series(1, 100000) n")
    same("large result", (len(result), result[-1]["n"]), (100000, 100000))
    step("many rows")


async def pool():
    async with asyncpg.create_pool(**WHERE, min_size=2, max_size=8) as connections:

        async def one(number):
            async with connections.acquire() as connection:
                return await connection.fetchval("SELECT $1::int * 2", number)

        same("pool", await asyncio.gather(*(one(number) for number in range(100))), [2 * n for n in range(100)])
    step("pool")


async def notices(connection):
    heard = []
    connection.add_log_listener(lambda _, message: heard.append(message.message))
    await connection.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    await asyncio.sleep(0)
    same("notices", heard, ["hello"])
    step("notice")


async def cancelled(connection):
    try:
        await connection.fetchval("SELECT pg_sleep(60)", timeout=1)
    except asyncio.TimeoutError:
        pass
    else:
        same("a cancelled query", "succeeds", "fails")
    same("after the cancel", await connection.fetchval("SELECT 1"), 1)
    step("cancel")


async def main():
    connection = await asyncpg.connect(**WHERE)
    for part in (crud, prepared, typed, transactions, many):
        await part(connection)
    await pool()
    await notices(connection)
    await cancelled(connection)
    await connection.close()
    print("done")


asyncio.run(main())
