"""The synchronous application: `backoffice.asgi` runs it in threads; any WSGI server can run it without the streams."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")
application = get_wsgi_application()
