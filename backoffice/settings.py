"""Settings: one file; what differs between machines comes from the environment.

Without `DATABASE_URL` the embedded servers under `DEMO_DIR` are used, which `make demo` starts.
"""

import re
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from kombu import Queue

from backoffice import embedded

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

ENVIRONMENT = env.str("ENVIRONMENT", default="local")
if ENVIRONMENT not in ("production", "staging", "local"):
    raise ImproperlyConfigured(f"ENVIRONMENT is production, staging or local, not {ENVIRONMENT!r}.")
IS_PRODUCTION = ENVIRONMENT == "production"
IS_LOCAL = ENVIRONMENT == "local"
DEBUG = False

DEMO_DIR = Path(env.str("DEMO_DIR", default=".demo")).absolute()
EMBEDDED_DATABASE = not env.str("DATABASE_URL", default="")
EMBEDDED_REDIS = EMBEDDED_DATABASE and not env.str("REDIS_URL", default="")
_servers = embedded.connection_settings(DEMO_DIR) if EMBEDDED_DATABASE else None

SECRET_KEY = env.str("SECRET_KEY", default="") or (embedded.secret_key(DEMO_DIR) if IS_LOCAL else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("Set SECRET_KEY to a long random text: outside ENVIRONMENT=local there is no default.")

DATABASES = {"default": _servers.database if _servers else env.db("DATABASE_URL")}
DATABASES["default"]["ENGINE"] = "backoffice.postgres"  # Django's, with work that is done before a commit
# Connecting costs more than most queries (scram), so processes keep their connections.
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
# Planning costs more than most queries too: what a connection has asked five times, Postgres has planned.
if env.bool("PREPARED_STATEMENTS", default=True):
    DATABASES["default"]["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 5}
# A replica of it, for reads that may lag (backoffice.replica). Nothing is written there, even if it is no replica.
DATABASE_ROUTERS = ["backoffice.replica.Router"]
REPLICA_LAG_SECONDS = env.float("REPLICA_LAG_SECONDS", default=5.0)
if env.str("REPLICA_URL", default=""):
    DATABASES["replica"] = {**DATABASES["default"], **env.db("REPLICA_URL"), "ENGINE": "backoffice.postgres"}
    DATABASES["replica"]["OPTIONS"] = {
        **DATABASES["default"]["OPTIONS"],
        **env.db("REPLICA_URL").get("OPTIONS", {}),
        "connect_timeout": 2,  # a page waits for it before it is made from the primary
        "options": "-c default_transaction_read_only=on",
    }
    DATABASES["replica"]["TEST"] = {"MIRROR": "default"}
REDIS_URL = env.str("REDIS_URL", default="") or (_servers.redis_url if _servers else "redis://127.0.0.1:6379/0")

# With sentinels, connections go to the master that they name, whatever host and port REDIS_URL has.
REDIS_SENTINELS = env.list("REDIS_SENTINELS", default=[])  # host:port of each
REDIS_SENTINEL_MASTER = env.str("REDIS_SENTINEL_MASTER", default="backoffice")
REDIS_SENTINEL_PASSWORD = env.str("REDIS_SENTINEL_PASSWORD", default="")  # of the sentinels themselves
for _each in REDIS_SENTINELS:
    if not re.fullmatch(r".+:\d{1,5}", _each):
        raise ImproperlyConfigured(f"REDIS_SENTINELS is a list like redis-1:26379,redis-2:26379: {_each!r} is none.")


def _port(name: str, default: int) -> int:
    text = env.str(name, default=str(default))
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ImproperlyConfigured(f"{name} is a port number from 1 to 65535, not {text!r}.")
    return int(text)


def _networks(name: str) -> list[str]:
    try:
        return [str(ip_network(text)) for text in env.list(name, default=[])]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is a list of networks like 192.0.2.0/24,2001:db8::/32: {error}.") from error


HTTP_PORT = _port("HTTP_PORT", 8000)
STREAM_PORT = _port("STREAM_PORT", HTTP_PORT + 1)
# Which part of the system this process is, as traces name it. `stream` is an ASGI process of endless responses where a
# balancer separates them, else it is `web`; `beat` knows no task.
PART = env.str("PART", default="web")
WEB_THREADS = env.int("WEB_THREADS", default=4)  # of each ASGI process; each keeps a database connection
DATA_THREADS = env.int("DATA_THREADS", default=3)  # besides these, for what data servers ask
LANE_THREADS = env.int("LANE_THREADS", default=3)  # and for polled answers that nobody has at hand
# How many answers a token may have in a second, and ten times that an address; 0: any number. Not for data servers.
REQUESTS_A_SECOND = env.float("REQUESTS_A_SECOND", default=50.0 if not IS_LOCAL else 0.0)
# How long a web or stream process that was told to stop answers on, so that balancers notice; see backoffice.departure.
LEAVE_NOTICE_SECONDS = env.float("LEAVE_NOTICE_SECONDS", default=0.0 if IS_LOCAL else 5.0)
# Polled answers are kept in Redis behind a fence, and given before Django is asked. Writers raise the fence always, so
# processes may differ in both.
POLL_SNAPSHOTS = env.bool("POLL_SNAPSHOTS", default=True)
POLL_LANE = env.bool("POLL_LANE", default=True)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")  # what Prometheus sends; without it nobody reads /metrics
# Asynchronous functions that are asked before Django, see backoffice.asgi.
ASGI_HANDLERS = ["tvapi.throttle.handle", "tvapi.lane.handle", "tvapi.streaming.handle", "tvapi.account_streams.handle"]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["*"] if IS_LOCAL else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "modeltranslation",
    "backoffice",  # before unfold, one of whose templates it replaces
    "unfold.apps.BasicAppConfig",  # the site is ours, see backoffice.site
    "unfold.contrib.filters",
    "import_export",
    "backoffice.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "pgtrigger",
    "axes",
    "backoffice.audit",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "accounts",
    "marketdata",
    "trading",
    "backoffice.operations",
    "backoffice.dealing",
    "backoffice.workbench",
    "backoffice.support",
    "backoffice.integration",
    "tvapi",
    "tvapi.conformance",
]

MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",  # outermost: its headers are on every answer (CORS-4)
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "accounts.staff.StaffGate",
    "backoffice.audit.middleware.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "backoffice.replica.ReplicaMiddleware",
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]

ROOT_URLCONF = "backoffice.urls"
WSGI_APPLICATION = "backoffice.wsgi.application"
ASGI_APPLICATION = "backoffice.asgi.application"
APPEND_SLASH = False  # a redirect would lose the body of a form, and the contract knows no redirects
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- who may log in ---------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Networks as 192.0.2.0/24; none named: from everywhere. TRUSTED_PROXIES is how many of our own stand before us.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
STAFF_NETWORKS = _networks("STAFF_NETWORKS")
DATA_SERVER_NETWORKS = _networks("DATA_SERVER_NETWORKS")
TOKEN_LIFETIME_SECONDS = env.int("TOKEN_LIFETIME_SECONDS", default=30 * 60)
SECOND_FACTOR_REQUIRED = env.bool("SECOND_FACTOR_REQUIRED", default=not IS_LOCAL)  # of staff; others may have one
OTP_TOTP_ISSUER = env.str("BROKER_ID", default="demo")
SESSION_COOKIE_AGE = 30 * 60 if not IS_LOCAL else 12 * 3600  # seconds without a click
SESSION_SAVE_EVERY_REQUEST = True
STAFF_SESSION_SECONDS = 12 * 3600  # with clicks
REAUTHENTICATION_SECONDS = 10 * 60 if not IS_LOCAL else STAFF_SESSION_SECONDS  # how fresh a password money wants
# Failures are counted per login: an attacker who changes his address gains nothing by it.
AXES_LOCKOUT_PARAMETERS = "accounts.guessing.lockout_parameters"
AXES_LOCKOUT_CALLABLE = "accounts.guessing.locked_out"
AXES_CLIENT_IP_CALLABLE = "accounts.guessing.client_address"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 1 / 12  # hours
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
# How many logins may fail from one address meanwhile; 0: any number. The demo's all come from one.
LOGINS_TRIED_BY_ADDRESS = env.int("LOGINS_TRIED_BY_ADDRESS", default=30 if not IS_LOCAL else 0)
AXES_ENABLE_ADMIN = False  # accounts.admin has a page of its own for locked logins

# --- requests from the browser (CORS-1 … CORS-7) ----------------------------------------------------------------------
# The environment pairs say which; these are for a broker that has none, see accounts.origins.
DEFAULT_ORIGINS = ["https://*.tradingview.com", "https://*.xstaging.tv"]
if not IS_PRODUCTION:
    DEFAULT_ORIGINS += ["http://localhost:6285", "https://localhost:6285"]
CORS_ALLOW_METHODS = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
CORS_ALLOW_HEADERS = ["authorization", "content-type"]
CORS_PREFLIGHT_MAX_AGE = 86400
CORS_URLS_REGEX = r"^/(?!admin/)"  # on every status, and where there is nothing (CORS-4)

# --- behind TLS -------------------------------------------------------------------------------------------------------
if not IS_LOCAL:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
    SECURE_HSTS_SECONDS = 730 * 86400  # GEN-13
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-session"  # bound to this very host
    CSRF_COOKIE_SECURE = True
    CSRF_COOKIE_NAME = "__Host-csrf"
    CSRF_COOKIE_HTTPONLY = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tvapi.auth.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["tvapi.parsers.StrictFormParser"],
    "DEFAULT_RENDERER_CLASSES": ["tvapi.renderers.WireRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "tvapi.renderers.OneKind",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is for preflights, which the CORS middleware answers
    "EXCEPTION_HANDLER": "tvapi.exceptions.to_wire",
    "UNAUTHENTICATED_USER": None,
}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"pool_class": "backoffice.redis_pools.CachePool"},
    }
}

# --- Celery -----------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL
# A worker takes from all queues unless told which (-Q): an import or a report holds up no order where it has its own.
CELERY_TASK_QUEUES = [Queue("celery"), Queue("orders"), Queue("slow")]
CELERY_TASK_ROUTES = {
    "trading.tasks.drain": {"queue": "orders"},
    "trading.tasks.sweep": {"queue": "orders"},
    "trading.tasks.sweep_venues": {"queue": "orders"},
    "trading.tasks.expire": {"queue": "orders"},
    "backoffice.operations.tasks.*": {"queue": "slow"},
    "tvapi.tasks.prepare_symbol_lists": {"queue": "slow"},
    "marketdata.tasks.drop_old_bars": {"queue": "slow"},
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 60
# A worker killed with -9 gives its task back after the visibility timeout, which must exceed the longest task.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
    "visibility_timeout": 90,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}
if REDIS_SENTINELS:
    _redis = urlsplit(REDIS_URL)
    _login = "".join(_redis.netloc.rpartition("@")[:2])
    CELERY_BROKER_URL = ";".join(f"sentinel://{_login}{each}{_redis.path}" for each in REDIS_SENTINELS)
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "master_name": REDIS_SENTINEL_MASTER,
        "sentinel_kwargs": {"password": REDIS_SENTINEL_PASSWORD or None, "socket_timeout": 1.0},
    }
CELERY_DB_REUSE_MAX = 10_000  # without it Celery reconnects to Postgres around every task
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = {
    "worker-heartbeat": {"task": "backoffice.tasks.heartbeat", "schedule": 5.0, "options": {"expires": 5}},
    "make-partitions": {"task": "backoffice.tasks.make_partitions", "schedule": crontab(hour=1, minute=35)},
    "symbol-lists": {"task": "tvapi.tasks.prepare_symbol_lists", "schedule": 15.0, "options": {"expires": 15}},
    "close-days": {"task": "marketdata.tasks.close_days", "schedule": 20.0, "options": {"expires": 20}},
    "drop-old-bars": {"task": "marketdata.tasks.drop_old_bars", "schedule": 86_400.0},
    "charge-swaps": {"task": "trading.tasks.charge_swaps", "schedule": 30.0, "options": {"expires": 30}},
    "charge-funding": {"task": "trading.tasks.charge_funding", "schedule": 30.0, "options": {"expires": 30}},
    "forget-tokens": {"task": "accounts.tasks.forget_ended_tokens", "schedule": 3600.0, "options": {"expires": 3600}},
    "end-of-day": {"task": "backoffice.operations.tasks.run_day_end", "schedule": crontab(hour=0, minute=5)},
    "sweep-orders": {"task": "trading.tasks.sweep", "schedule": 5.0, "options": {"expires": 5}},
    "sweep-venues": {"task": "trading.tasks.sweep_venues", "schedule": 5.0, "options": {"expires": 5}},
    "reconcile": {"task": "trading.tasks.reconcile", "schedule": 60.0, "options": {"expires": 60}},
    "expire-orders": {"task": "trading.tasks.expire", "schedule": 1.0, "options": {"expires": 1}},
    "forget-confirmations": {"task": "trading.tasks.forget_confirmations", "schedule": 600.0},
}

# --- languages --------------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = True
LANGUAGES = [
    ("en", _("English")),
    ("ar", _("Arabic")),
    ("cs", _("Czech")),
    ("de", _("German")),
    ("el", _("Greek")),
    ("es", _("Spanish")),
    ("fa", _("Persian")),
    ("fr", _("French")),
    ("he", _("Hebrew")),
    ("hu", _("Hungarian")),
    ("id", _("Indonesian")),
    ("it", _("Italian")),
    ("ja", _("Japanese")),
    ("ko", _("Korean")),
    ("ms", _("Malay")),
    ("nl", _("Dutch")),
    ("pl", _("Polish")),
    ("pt-br", _("Brazilian Portuguese")),
    ("ro", _("Romanian")),
    ("ru", _("Russian")),
    ("sv", _("Swedish")),
    ("th", _("Thai")),
    ("tr", _("Turkish")),
    ("uk", _("Ukrainian")),
    ("vi", _("Vietnamese")),
    ("zh-hans", _("Simplified Chinese")),
    ("zh-hant", _("Traditional Chinese")),
]
STAFF_LANGUAGES = ["de", "es", "ru", "tr", "ja", "zh-hans"]  # of the admin, beside English; traders have all
LOCALE_PATHS = [BASE_DIR / "locale", BASE_DIR / "backoffice" / "locale"]  # the first has the last word
MODELTRANSLATION_DEFAULT_LANGUAGE = "en"
MODELTRANSLATION_FALLBACK_LANGUAGES = ("en",)

FORMAT_MODULE_PATH = "backoffice.formats"

USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
STATIC_ROOT = None if IS_LOCAL else BASE_DIR / "static-root"  # local servers find the files where they are
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = IS_LOCAL  # found when asked for, not searched for at the start
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- the broker -------------------------------------------------------------------------------------------------------
BROKER_ID = env.str("BROKER_ID", default="demo")  # prefix of the symbol groups (GRP-5) and, in capitals, of our symbols
TICK_LOG_SECONDS = env.int("TICK_LOG_SECONDS", default=3600)  # how long a bar builder may be away
BARS_KEPT_DAYS = {  # by resolution; 0 keeps them for ever
    "1": env.int("MINUTE_BARS_KEPT_DAYS", default=0),
    "1D": env.int("DAY_BARS_KEPT_DAYS", default=0),
}
SHOW_CLOSED_POSITIONS_SECONDS = env.int("SHOW_CLOSED_POSITIONS_SECONDS", default=60)  # with quantity 0 (POS-6)
FIX_PASSWORDS = env.dict("FIX_PASSWORDS", default={})  # by name of the FIX session: desk-a=secret,desk-b=secret
QUOTE_JUMP_RANGES = env.int("QUOTE_JUMP_RANGES", default=20)  # average minute ranges that a price may jump at once,
QUOTE_JUMP_FLOOR = Decimal(env.str("QUOTE_JUMP_FLOOR", default="0.025"))  # or this part of it, if that is more
ENGINE_SHARDS = env.int("ENGINE_SHARDS", default=1)  # parts of the engine's work, shared out among its processes
if ENGINE_SHARDS < 1:
    raise ImproperlyConfigured("ENGINE_SHARDS is a number from 1 on.")
ORDER_SHARDS = env.int("ORDER_SHARDS", default=8)  # drain tasks that may run side by side

# --- the admin --------------------------------------------------------------------------------------------------------
LOGIN_REDIRECT_URL = "admin:index"
CSRF_FAILURE_VIEW = "backoffice.views.csrf_failure"
FAVICON = STATIC_URL + "backoffice/favicon.svg"
UNFOLD = {
    "SITE_TITLE": _("Back office"),
    "SITE_HEADER": _("Back office"),
    "SITE_SUBHEADER": BROKER_ID,
    "SITE_SYMBOL": "candlestick_chart",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": FAVICON}],
    "SITE_URL": None,
    "STYLES": [STATIC_URL + "backoffice/admin.css"],
    "SCRIPTS": [STATIC_URL + "backoffice/live.js", STATIC_URL + "backoffice/accessibility.js"],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_LANGUAGES": True,
    "LANGUAGES": {"navigation": "backoffice.navigation.languages"},
    "DASHBOARD_CALLBACK": "backoffice.dashboard.add_numbers",
    "SIDEBAR": {"navigation": "backoffice.navigation.sidebar", "command_search": True},
    "COMMAND": {"search_models": ["accounts.account", "accounts.client", "marketdata.instrument"]},
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
}

LOG_FORMAT = env.str("LOG_FORMAT", default="plain")
if LOG_FORMAT not in ("plain", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT is plain or json, not {LOG_FORMAT!r}.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"ids": {"()": "backoffice.logs.Ids"}},
    "formatters": {
        "plain": {"()": "backoffice.logs.Plain", "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "json": {"()": "backoffice.logs.Json"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["ids"]}},
    # oauthlib tells tokens when it is asked to be talkative: it never is.
    "loggers": {
        name: {"level": "WARNING"} for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace", "oauthlib")
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}
