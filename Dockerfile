# One image for every process; compose.yaml names their commands.
FROM python:3.11-slim-bookworm

COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
ENV PATH=/srv/backoffice/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /srv/backoffice

COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-default-groups --extra traces --no-cache

COPY manage.py ./
COPY accounts accounts
COPY backoffice backoffice
COPY locale locale
COPY marketdata marketdata
COPY trading trading
COPY tvapi tvapi
# The settings want an environment to be loaded with; nobody is asked, and nothing of it stays in the image.
RUN export ENVIRONMENT=production SECRET_KEY=while-building DATABASE_URL=postgres://none REDIS_URL=redis://none \
    && python manage.py compile_translations \
    && python manage.py collectstatic --noinput

RUN useradd --uid 10001 --create-home --home-dir /var/lib/backoffice backoffice
USER 10001
EXPOSE 8000
CMD ["granian", "--interface", "asgi", "--host", "0.0.0.0", "--port", "8000", "--no-ws", "backoffice.asgi:application"]
