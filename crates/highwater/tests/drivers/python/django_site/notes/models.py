"""What the recipe stores."""

from django.db import models


class Note(models.Model):
    title = models.TextField(unique=True)
    stars = models.IntegerField(default=0)
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "django_notes"
