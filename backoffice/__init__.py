import gc

# Every process loads some 1,800 modules that live as long as it does: with Python's own 700 the collector walks them
# again and again, a tenth of the time to start.
gc.set_threshold(50_000, 20, 50)

from backoffice.celery import app as celery_app  # noqa: E402 (the collector first)

__all__ = ["celery_app"]
