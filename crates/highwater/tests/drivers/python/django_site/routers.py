"""Which of the two connections a query takes."""

# ANCHOR: router
from django.db import connections


class ReadOnReplicas:
    def db_for_read(self, model, **hints):
        # Within a transaction, its own writes must be there.
        return "default" if connections["default"].in_atomic_block else "reading"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, one, other, **hints):
        return True  # both are the same database

    def allow_migrate(self, db, app_label, **hints):
        return db == "default"
# ANCHOR_END: router
