from modeltranslation.translator import TranslationOptions, register

from marketdata.models import Instrument


@register(Instrument)
class InstrumentTranslation(TranslationOptions):
    fields = ("description",)
