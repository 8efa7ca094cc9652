"""What the admin calls things: its sections, lists and columns have names in every language of staff."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.urls import reverse
from django.utils import translation

SAME_EVERYWHERE = {"ID", "ClOrdID", "o", "h", "l", "c", "v"}


def names() -> Iterator[tuple[str, str]]:
    reverse("admin:index")  # finds the pages
    for model, page in admin.site._registry.items():
        yield model._meta.label, str(model._meta.verbose_name)
        yield f"{model._meta.label}, list", str(model._meta.verbose_name_plural)
        yield model._meta.app_label, str(apps.get_app_config(model._meta.app_label).verbose_name)
        for number, column in enumerate(page.list_display):
            yield f"{model._meta.label}, column {number}", str(label_for_field(column, model, page))


@pytest.mark.parametrize("language", ["ru", "ja", "zh-hans"])  # where no word is spelt as in English
def test_every_section_list_and_column_has_a_name_of_its_language(language: str) -> None:
    with translation.override("en"):
        english = dict(names())
    with translation.override(language):
        left = {place: name for place, name in names() if name == english[place] and name not in SAME_EVERYWHERE}
    assert language in settings.STAFF_LANGUAGES
    assert left == {}
