"""A small Django project; `with_django.py` and `with_django_two.py` run it through the router."""
