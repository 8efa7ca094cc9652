from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from accounts import staff_views
from backoffice import pages, views
from backoffice.integration import exposition

admin.autodiscover()  # here, not in every process: only those that serve pages need them

handler400 = views.bad_request
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url=settings.FAVICON)),  # asked of documents that name no icon
    path("healthz", views.healthz),
    path("metrics", exposition.view),
    path("tv/ping", views.ping),
    path("tv/", include("tvapi.urls")),
    path("admin/second-factor/", staff_views.SecondFactorView.as_view(), name="second-factor"),
    path("admin/confirm-password/", staff_views.ConfirmPasswordView.as_view(), name="confirm-password"),
    path("admin/language/", set_language, name="set_language"),
    path("admin/", include(pages.urls())),
    path("admin/", admin.site.urls),
]
