"""As `makemigrations` writes it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.TextField(unique=True)),
                ("written_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"db_table": "django_notes"},
        ),
    ]
