# The demo, as you would deploy your own app: gunicorn with gevent, as an unprivileged user.

FROM node:22-slim AS browser-libraries
WORKDIR /demo
COPY demo/package.json demo/.npmrc ./
RUN npm install --no-audit --no-fund --no-package-lock

FROM python:3.13-slim AS wheel
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY flask_resumable flask_resumable
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim AS test
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        caddy chromium git haproxy make mariadb-server nginx nodejs npm postgresql strace \
    && rm -rf /var/lib/apt/lists/*
COPY . .
CMD ["make", "test"]

FROM python:3.13-slim AS app
WORKDIR /app
COPY --from=wheel /wheels /wheels
# hadolint ignore=DL3013
RUN pip install --no-cache-dir /wheels/*.whl gevent gunicorn mongoengine packaging "psycopg[binary]" \
    && useradd --create-home --uid 1000 app \
    && install --directory --owner app --group app /app/demo /data
COPY --chown=app:app demo demo
COPY --from=browser-libraries --chown=app:app /demo/node_modules demo/node_modules
USER 1000
ENV PYTHONUNBUFFERED=1 FLASK_APP=demo.app:create_app FLASK_RESUMABLE_UPLOAD_DIR=/data/uploads
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:8000/files/', method='OPTIONS'), timeout=2)"]
# One worker for each core. With gevent, a client on a slow line takes a little memory, and no thread.
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--worker-class", "gevent", "--workers", "2", "--worker-connections", "5000", "--graceful-timeout", "20", "--limit-request-field_size", "32768", "demo.app:create_app()"]
