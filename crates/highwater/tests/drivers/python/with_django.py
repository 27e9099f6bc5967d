"""Django with one connection string: migrations, a CRUD round, transactions, its own writes, the share of replicas."""

import os

import django

from environment import same, step, until

os.environ["DJANGO_SETTINGS_MODULE"] = "django_site.settings"
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, transaction  # noqa: E402

from django_site.notes.models import Note  # noqa: E402


# ANCHOR: route
def last_route():
    with connection.cursor() as cursor:
        cursor.execute("SHOW highwater.last_route")
        columns = [column.name for column in cursor.description]
        return dict(zip(columns, cursor.fetchone()))
# ANCHOR_END: route


def migrated():
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS django_notes, django_migrations")
    call_command("migrate", verbosity=0)
    same("the migrations of data", Note.objects.get().title, "First")
    call_command("migrate", "notes", "0001", verbosity=0)
    call_command("migrate", verbosity=0)
    Note.objects.all().delete()
    step("migrations, there and back")


def crud():
    for number in range(50):
        # ANCHOR: own
        note = Note.objects.create(title=f"note {number}")
        assert Note.objects.get(pk=note.pk).title == note.title  # its own write is there
        # ANCHOR_END: own
    same("update", Note.objects.filter(title__endswith="7").update(stars=5), 5)
    same("the update is seen", Note.objects.filter(stars=5).count(), 5)
    same("get_or_create", Note.objects.get_or_create(title="note 7")[1], False)
    Note.objects.bulk_create([Note(title=f"bulk {number}") for number in range(500)])
    same("bulk_create", Note.objects.filter(title__startswith="bulk").count(), 500)
    same("iterator", sum(1 for _ in Note.objects.filter(title__startswith="bulk").iterator(chunk_size=100)), 500)
    same("delete", Note.objects.filter(title__startswith="bulk").delete()[0], 500)
    step("crud")


def transactions():
    # ANCHOR: atomic
    with transaction.atomic():
        note = Note.objects.select_for_update().get(title="note 1")
        note.stars += 1
        note.save()
    # ANCHOR_END: atomic
    try:
        with transaction.atomic():
            Note.objects.create(title="rolled back")
            try:
                with transaction.atomic():  # a savepoint
                    Note.objects.create(title="note 2")
            except IntegrityError:
                pass
            same("its own write in the block", Note.objects.filter(title="rolled back").exists(), True)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    same("rolled back", Note.objects.filter(title="rolled back").exists(), False)
    same("committed", Note.objects.get(title="note 1").stars, 1)
    step("transactions")


def on_replicas():
    def read():
        Note.objects.filter(stars__gte=1).count()
        return last_route()["role"] == "replica"

    until("a read on a replica", read)
    same("where 20 reads ran", {read() for _ in range(20)}, {True})
    # ANCHOR: primary
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL highwater.route = 'primary'")
        list(Note.objects.all())
    # ANCHOR_END: primary
    Note.objects.create(title="last")
    Note.objects.filter(title="last").count()
    same("after a write", last_route()["reason"] in ("own_write_not_replayed", "fresh_replica"), True)
    step("reads on replicas")


for part in (migrated, crud, transactions, on_replicas):
    part()
connection.close()
print("done")
