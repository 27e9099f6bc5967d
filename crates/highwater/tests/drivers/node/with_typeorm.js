// TypeORM with `replication`: the master is `app_rw`, the only slave is `app_ro`. At the end, with one string.
//
// A save and the find after it travel on different connections, and TypeORM promises nothing between them; so what was
// saved is looked for until it is found.

import "reflect-metadata";
import assert from "node:assert/strict";
import { DataSource, EntitySchema } from "typeorm";
import { step, where } from "./environment.js";

const { DRIVER_RO_PORT, DRIVER_RO_DATABASE, DRIVER_RW_PORT, DRIVER_RW_DATABASE } = process.env;

const Author = new EntitySchema({
    name: "Author",
    tableName: "typeorm_authors",
    columns: {
        id: { type: Number, primary: true, generated: true },
        name: { type: String, unique: true },
        born: { type: "timestamptz", nullable: true },
        marks: { type: "jsonb", default: {} },
    },
    relations: { books: { type: "one-to-many", target: "Book", inverseSide: "author" } },
});

const Book = new EntitySchema({
    name: "Book",
    tableName: "typeorm_books",
    columns: {
        id: { type: Number, primary: true, generated: true },
        title: { type: String },
        price: { type: "numeric", precision: 10, scale: 2 },
    },
    relations: { author: { type: "many-to-one", target: "Author", inverseSide: "books", onDelete: "CASCADE" } },
});

class AddPages1700000000000 {
    name = "AddPages1700000000000";
    async up(runner) {
        await runner.query("ALTER TABLE typeorm_books ADD COLUMN IF NOT EXISTS pages integer");
    }
    async down(runner) {
        await runner.query("ALTER TABLE typeorm_books DROP COLUMN pages");
    }
}

const { user: username, password, host } = where;

async function until(what, ask) {
    const deadline = Date.now() + 30_000;
    for (;;) {
        const answer = await ask();
        if (answer) return answer;
        assert.ok(Date.now() < deadline, `${what} was not seen within 30 s`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

// ANCHOR: two
const source = new DataSource({
    type: "postgres",
    replication: {
        master: { host, username, password, port: Number(DRIVER_RW_PORT), database: DRIVER_RW_DATABASE },
        slaves: [{ host, username, password, port: Number(DRIVER_RO_PORT), database: DRIVER_RO_DATABASE }],
    },
    // ANCHOR_END: two
    entities: [Author, Book],
    migrations: [AddPages1700000000000],
    extra: { max: 5 },
});

await source.initialize();
await source.query("DROP TABLE IF EXISTS typeorm_books, typeorm_authors, migrations");
await source.synchronize();
await source.runMigrations();
step("schema and migration");

const authors = source.getRepository(Author);
const books = source.getRepository(Book);
await until("the table on the read-only side", () => books.count().then(() => true, () => false));

const born = new Date("1929-10-21T00:00:00Z");
const author = await authors.save({ name: "Ursula", born, marks: { genres: ["sf", "poetry"] } });
await books.save([
    { title: "The Dispossessed", price: "12.50", author },
    { title: "Tehanu", price: "9.00", author },
]);
const found = await until("the author", () => authors.findOne({ where: { name: "Ursula" }, relations: { books: true } }));
assert.equal(found.born.getTime(), born.getTime());
assert.deepEqual(found.marks, { genres: ["sf", "poetry"] });
await until("both books", async () => (await books.countBy({ author: { id: author.id } })) === 2);
step("save and find");

await books.update({ title: "Tehanu" }, { price: "10.00" });
await until("the new price", async () => (await books.findOneBy({ title: "Tehanu" }))?.price === "10.00");
const sum = () => books.createQueryBuilder("book").select("SUM(book.price)", "total").getRawOne();
assert.equal((await sum()).total, "22.50");
step("update and query builder");

// ANCHOR: transaction
await source.transaction(async (manager) => {
    const saved = await manager.getRepository(Author).save({ name: "Committed" });
    // Inside the transaction everything is on the master's connection: it sees its own write at once.
    assert.ok(await manager.getRepository(Author).findOneBy({ id: saved.id }));
});
// ANCHOR_END: transaction
await assert.rejects(
    source.transaction(async (manager) => {
        await manager.getRepository(Author).save({ name: "Rolled back" });
        await manager.getRepository(Author).insert({ name: "Committed" });
    }),
    (error) => error.driverError.code === "23505",
);
await until("the committed author", () => authors.findOneBy({ name: "Committed" }));
const master = source.createQueryRunner("master");
const left = await master.query("SELECT count(*)::int AS n FROM typeorm_authors WHERE name = 'Rolled back'");
assert.equal(left[0].n, 0);
await master.release();
step("transactions");

// The read-only side refuses to write, wherever its session happens to be.
const slave = source.createQueryRunner("slave");
await assert.rejects(slave.query("DELETE FROM typeorm_books"), (error) => error.driverError.code === "25006");
await slave.release();
step("the read-only side refuses writes");

const saves = await Promise.all(Array.from({ length: 40 }, (_, n) => authors.save({ name: `author ${n}` })));
assert.equal(new Set(saves.map((one) => one.id)).size, 40);
await until("all authors", async () => (await authors.count()) === 42);
const pages = await Promise.all(Array.from({ length: 40 }, (_, n) => authors.findOneBy({ name: `author ${n}` })));
assert.ok(pages.every((one, n) => one.name === `author ${n}`));
await authors.delete({ id: author.id });
await until("the end of the books", async () => (await books.count()) === 0);
step("many at once, and delete");

await source.destroy();

// ANCHOR: one
const one = new DataSource({
    type: "postgres",
    url: process.env.DATABASE_URL,
    // ANCHOR_END: one
    entities: [Author, Book],
});
await one.initialize();
const kept = await one.getRepository(Author).save({ name: "By one string" });
await until("what one string wrote", () => one.getRepository(Author).findOneBy({ id: kept.id }));
await one.transaction(async (manager) => {
    const saved = await manager.getRepository(Author).save({ name: "In a transaction of one string" });
    assert.ok(await manager.getRepository(Author).findOneBy({ id: saved.id }));
});
await one.destroy();
step("one connection string");

console.log("done");
