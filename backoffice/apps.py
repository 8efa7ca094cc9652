from django.contrib.admin.apps import SimpleAdminConfig


class AdminConfig(SimpleAdminConfig):  # the URLs find the pages
    default_site = "backoffice.site.Site"
