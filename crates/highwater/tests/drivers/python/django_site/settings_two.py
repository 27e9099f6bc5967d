"""Two connection strings: writes on `app_rw`, reads outside of transactions on `app_ro`."""

from .settings import *  # noqa: F403

# ANCHOR: two
DATABASES = {
    "default": database(os.environ["DATABASE_RW_URL"]),
    "reading": database(os.environ["DATABASE_RO_URL"], TEST={"MIRROR": "default"}),
}
DATABASE_ROUTERS = ["django_site.routers.ReadOnReplicas"]
# ANCHOR_END: two
