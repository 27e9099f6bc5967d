"""Django with two connection strings and a database router."""

import os

import django

from environment import same, step, until

os.environ["DJANGO_SETTINGS_MODULE"] = "django_site.settings_two"
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import InternalError, OperationalError, ProgrammingError, connections, transaction  # noqa: E402

from django_site.notes.models import Note  # noqa: E402


def last_role(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW highwater.last_route")
        return cursor.fetchone()[1]


def table_is_there():
    try:
        return Note.objects.count() == 1
    except ProgrammingError:  # the replica does not have it yet
        return False


with connections["default"].cursor() as start:
    start.execute("DROP TABLE IF EXISTS django_notes, django_migrations")
call_command("migrate", verbosity=0)
until("the table on the read-only side", table_is_there)
step("migrations")

kept = Note.objects.create(title="kept")
until("the note on the read-only side", lambda: Note.objects.filter(pk=kept.pk).exists())
until("a read on a replica", lambda: Note.objects.count() and last_role("reading") == "replica")
step("write here, read there")

with transaction.atomic():
    for number in range(20):
        note = Note.objects.create(title=f"note {number}")
        same("its own write in the transaction", Note.objects.get(pk=note.pk).title, f"note {number}")
same("where the transaction ran", last_role("default"), "primary")
until("the transaction on the read-only side", lambda: Note.objects.count() == 22)
step("transactions")

try:
    Note.objects.using("reading").create(title="must not be")
except (InternalError, OperationalError) as error:
    same("SQLSTATE of a write on app_ro", error.__cause__.sqlstate, "25006")
else:
    same("a write on app_ro", "succeeds", "fails")
step("the read-only side refuses writes")

connections.close_all()
print("done")
