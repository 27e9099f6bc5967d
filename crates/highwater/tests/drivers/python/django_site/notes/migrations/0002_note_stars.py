"""A column more, and a step that reads and writes rows, as migrations of data do."""

from django.db import migrations, models


def first_note(apps, schema_editor):
    notes = apps.get_model("notes", "Note").objects
    notes.create(title="First", stars=notes.count())


def without_it(apps, schema_editor):
    apps.get_model("notes", "Note").objects.filter(title="First").delete()


class Migration(migrations.Migration):
    dependencies = [("notes", "0001_initial")]
    operations = [
        migrations.AddField(model_name="note", name="stars", field=models.IntegerField(default=0)),
        migrations.RunPython(first_note, without_it),
    ]
