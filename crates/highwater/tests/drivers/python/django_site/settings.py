"""One connection string."""

import os
from urllib.parse import unquote, urlsplit


# ANCHOR: one
def database(url, **more):
    """A connection string, in Django's words."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parts.hostname,
        "PORT": parts.port,
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username),
        "PASSWORD": unquote(parts.password),
        "DISABLE_SERVER_SIDE_CURSORS": True,  # else .iterator() pins
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        **more,
    }


DATABASES = {"default": database(os.environ["DATABASE_URL"])}
# ANCHOR_END: one

INSTALLED_APPS = ["django_site.notes"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
