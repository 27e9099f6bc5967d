"""SQLAlchemy through the router, with one connection string and with two."""

import asyncio
import os

from environment import same, step, until

# ANCHOR: one
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


def url(name, driver="psycopg"):
    return os.environ[name].replace("postgresql:", f"postgresql+{driver}:", 1)


engine = create_engine(url("DATABASE_URL"))

# Transactions that may write: BEGIN, on the primary.
Writing = sessionmaker(engine)
# Transactions that only read: BEGIN READ ONLY, on a fresh replica. The same connections.
Reading = sessionmaker(engine.execution_options(postgresql_readonly=True))
# ANCHOR_END: one


class Base(DeclarativeBase):
    pass


# ANCHOR: model
class Note(Base):
    __tablename__ = "sqlalchemy_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(unique=True)
    stars: Mapped[int] = mapped_column(default=0)
# ANCHOR_END: model


def count(session, where=True):
    return session.scalar(select(func.count()).select_from(Note).where(where))


# ANCHOR: route
def last_route(connection):
    return connection.execute(text("SHOW highwater.last_route")).mappings().one()
# ANCHOR_END: route


def crud():
    # ANCHOR: own
    with Writing.begin() as session:
        session.add(Note(title="first"))
    with Reading() as session:
        note = session.scalar(select(Note).where(Note.title == "first"))
    # ANCHOR_END: own
    same("own write", note and note.title, "first")
    for number in range(50):
        with Writing.begin() as session:
            session.add(Note(title=f"note {number}"))
            session.flush()
            same("in its own transaction", count(session, Note.title == f"note {number}"), 1)
        with Reading() as session:
            same("own write", count(session, Note.title == f"note {number}"), 1)
    with Writing.begin() as session:
        session.add_all(Note(title=f"bulk {number}") for number in range(500))
    with Reading() as session:
        same("rows by a server-side cursor", len(list(session.scalars(select(Note).execution_options(yield_per=50)))), 551)
    with Writing.begin() as session:
        session.execute(Note.__table__.delete().where(Note.title.startswith("bulk")))
    step("crud")


def transactions():
    try:
        with Writing.begin() as session:
            session.add(Note(title="rolled back"))
            session.flush()
            with session.begin_nested():
                session.execute(text("SELECT 1 / 0"))
    except Exception as error:
        same("SQLSTATE", error.orig.sqlstate, "22012")
    with Reading() as session:
        same("rolled back", count(session, Note.title == "rolled back"), 0)
        try:
            session.execute(Note.__table__.delete())
        except Exception as error:
            same("SQLSTATE of a write that only reads", error.orig.sqlstate, "25006")
        else:
            same("a write that only reads", "succeeds", "fails")
    step("transactions")


def where_reads_go():
    def role(made):
        with made() as session:
            count(session)
            return last_route(session)["role"]

    same("where a transaction that may write reads", role(Writing), "primary")
    until("a read-only transaction on a replica", lambda: role(Reading) == "replica")
    # ANCHOR: autocommit
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.execute(text("UPDATE sqlalchemy_notes SET stars = stars + 1"))
        stars = connection.scalar(text("SELECT max(stars) FROM sqlalchemy_notes"))
    # ANCHOR_END: autocommit
    same("own write without a transaction", stars, 1)

    def alone():
        with autocommit.connect() as connection:
            connection.execute(text("SELECT max(stars) FROM sqlalchemy_notes"))
            return last_route(connection)["role"]

    until("a read without a transaction on a replica", lambda: alone() == "replica")
    step("reads on replicas")


# ANCHOR: two
primary = create_engine(url("DATABASE_RW_URL"))
replicas = create_engine(url("DATABASE_RO_URL"))


class Routing(Session):
    """Reads on app_ro until the session writes; from there on, all on app_rw."""

    def get_bind(self, mapper=None, *, clause=None, **more):
        if self._flushing or (clause is not None and clause.is_dml):
            self.info["wrote"] = True
        return primary if self.info.get("wrote") else replicas
# ANCHOR_END: two


def two():
    with Routing() as session:
        session.add(Note(title="by two"))
        session.flush()
        same("read after the write", count(session, Note.title == "by two"), 1)
        session.commit()

    def seen():
        with Routing() as session:
            return count(session, Note.title == "by two") == 1

    until("the write on the read-only side", seen)
    with Routing() as session:
        try:
            session.connection(bind_arguments={"bind": replicas}).execute(text("DELETE FROM sqlalchemy_notes"))
        except Exception as error:
            same("SQLSTATE of a write on app_ro", error.orig.sqlstate, "25006")
        else:
            same("a write on app_ro", "succeeds", "fails")
    primary.dispose()
    replicas.dispose()
    step("two connection strings")


async def asynchronous():
    # ANCHOR: async
    from sqlalchemy.ext.asyncio import create_async_engine

    # No statement_cache_size=0 and no NullPool: prepared statements may be kept.
    async_engine = create_async_engine(url("DATABASE_URL", "asyncpg"))
    # ANCHOR_END: async

    async def one(number):
        async with async_engine.begin() as connection:
            insert = text("INSERT INTO sqlalchemy_notes (title, stars) VALUES (:title, 0) RETURNING title")
            return (await connection.execute(insert, {"title": f"async {number}"})).scalar_one()

    titles = await asyncio.gather(*(one(number) for number in range(40)))
    same("rows by asyncpg", sorted(titles), sorted(f"async {number}" for number in range(40)))
    await async_engine.dispose()
    step("asyncpg")


# ANCHOR: schema
with create_engine(url("DATABASE_RW_URL")).connect() as connection:
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)
    connection.commit()
# ANCHOR_END: schema
step("schema")
for part in (crud, transactions, where_reads_go, two):
    part()
asyncio.run(asynchronous())
engine.dispose()
print("done")
