// node-postgres through the router: a CRUD round, typed values, transactions, queued queries, a pool, NOTICE, cancel.

import assert from "node:assert/strict";
import pg from "pg";
import { step, where } from "./environment.js";

const { Client, Pool } = pg;

async function crud(client) {
    await client.query("DROP TABLE IF EXISTS pg_items; CREATE TABLE pg_items (id serial PRIMARY KEY, name text UNIQUE, price numeric)");
    for (let number = 0; number < 20; number++) {
        const inserted = await client.query("INSERT INTO pg_items (name, price) VALUES ($1, $2) RETURNING id", [`item ${number}`, number]);
        const read = await client.query("SELECT name, price FROM pg_items WHERE id = $1", [inserted.rows[0].id]);
        assert.deepEqual(read.rows, [{ name: `item ${number}`, price: String(number) }]);
    }
    assert.equal((await client.query("UPDATE pg_items SET price = 0 WHERE id <= $1", [10])).rowCount, 10);
    assert.equal((await client.query("DELETE FROM pg_items WHERE id > 15")).rowCount, 5);
    assert.equal((await client.query("SELECT count(*)::int AS n FROM pg_items")).rows[0].n, 15);
    step("crud");
}

async function prepared(client) {
    const write = { name: "rename", text: "UPDATE pg_items SET name = $2 WHERE id = $1" };
    const read = { name: "look", text: "SELECT name FROM pg_items WHERE id = $1" };
    for (let number = 0; number < 30; number++) {
        await client.query({ ...write, values: [1, `renamed ${number}`] });
        assert.equal((await client.query({ ...read, values: [1] })).rows[0].name, `renamed ${number}`);
    }
    step("prepared");
}

async function typed(client) {
    const moment = new Date("2024-02-29T12:34:56.789Z");
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const answer = await client.query(
        "SELECT $1::numeric a, $2::timestamptz b, $3::int[] c, $4::text[] d, $5::json e, $6::bytea f, $7::text g, $8::bool h",
        ["12345678901234567890.123456789", moment, [1, null, 3], ["a", 'quote " and \\', null], { key: [1, "é"] }, bytes, null, true],
    );
    const row = answer.rows[0];
    assert.equal(row.a, "12345678901234567890.123456789");
    assert.equal(row.b.getTime(), moment.getTime());
    assert.deepEqual(row.c, [1, null, 3]);
    assert.deepEqual(row.d, ["a", 'quote " and \\', null]);
    assert.deepEqual(row.e, { key: [1, "é"] });
    assert.ok(bytes.equals(row.f));
    assert.equal(row.g, null);
    assert.equal(row.h, true);
    step("typed values");
}

async function transactions(client) {
    await client.query("BEGIN");
    await client.query("INSERT INTO pg_items (name) VALUES ('committed')");
    await client.query("COMMIT");
    await client.query("BEGIN");
    await client.query("INSERT INTO pg_items (name) VALUES ('rolled back')");
    await assert.rejects(client.query("INSERT INTO pg_items (name) VALUES ('committed')"), { code: "23505" });
    await assert.rejects(client.query("SELECT 1"), { code: "25P02" });
    await client.query("ROLLBACK");
    await client.query("BEGIN READ ONLY");
    const names = await client.query("SELECT name FROM pg_items WHERE id > 20");
    assert.deepEqual(names.rows, [{ name: "committed" }]);
    await assert.rejects(client.query("DELETE FROM pg_items"), { code: "25006" });
    await client.query("ROLLBACK");
    step("transactions");
}

async function queued(client) {
    const answers = await Promise.allSettled([
        client.query("SELECT 1 AS n"),
        client.query("INSERT INTO pg_items (name) VALUES ('queued')"),
        client.query("SELECT count(*)::int AS n FROM pg_items WHERE name = $1", ["queued"]),
        client.query("SELECT no_such_column"),
        client.query("SELECT $1::int AS n", [5]),
    ]);
    assert.deepEqual(answers.map((answer) => answer.status), ["fulfilled", "fulfilled", "fulfilled", "rejected", "fulfilled"]);
    assert.equal(answers[2].value.rows[0].n, 1);
    assert.equal(answers[3].reason.code, "42703");
    assert.equal(answers[4].value.rows[0].n, 5);
    const many = await Promise.all(Array.from({ length: 200 }, (_, n) => client.query("SELECT $1::int AS n", [n])));
    assert.deepEqual(many.map((answer) => answer.rows[0].n), Array.from({ length: 200 }, (_, n) => n));
    step("queued queries");
}

async function large(client) {
    const answer = await client.query("SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 100000) n");
    assert.equal(answer.rows.length, 100000);
    assert.equal(answer.rows.at(-1).n, 100000);
    step("large result");
}

async function notices(client) {
    const heard = [];
    client.on("notice", (notice) => heard.push(notice.message));
    await client.query("DO $$ BEGIN RAISE NOTICE 'hello'; END $$");
    assert.deepEqual(heard, ["hello"]);
    step("notice");
}

async function pool() {
    const connections = new Pool({ ...where, max: 8 });
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => connections.query("SELECT $1::int * 2 AS n", [n])));
    assert.deepEqual(answers.map((answer) => answer.rows[0].n), Array.from({ length: 100 }, (_, n) => 2 * n));
    await connections.end();
    step("pool");
}

// node-postgres has its own CancelRequest, on a second, unconnected client.
async function cancelled(client) {
    const query = new pg.Query("SELECT pg_sleep(60)");
    const ended = new Promise((resolve) => query.once("error", resolve).once("end", () => resolve(null)));
    client.query(query);
    // Repeated, because a request that comes before the query is there has no effect.
    const canceller = setInterval(() => new Client(where).cancel(client, query), 300);
    assert.equal((await ended)?.code, "57014");
    clearInterval(canceller);
    assert.equal((await client.query("SELECT 1 AS n")).rows[0].n, 1);
    step("cancel");
}

const client = new Client(where);
await client.connect();
for (const part of [crud, prepared, typed, transactions, queued, large, notices]) {
    await part(client);
}
await pool();
await cancelled(client);
await client.end();
console.log("done");
