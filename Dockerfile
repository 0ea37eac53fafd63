# One image for everything: `localbazaar serve` (the default), `worker`, `migrate`.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /srv/localbazaar
# The packages first: this layer changes with the lock file only.
COPY requirements.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md ./
COPY app app
COPY migrations migrations
# Editable, because the migrations are read from beside the package.
RUN pip install --no-deps --no-build-isolation --editable . \
    && python -m compileall -q app migrations

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin localbazaar \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/localbazaar /srv/localbazaar
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LOCALBAZAAR_DATA_FOLDER=/data
WORKDIR /srv/localbazaar
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
CMD ["localbazaar", "serve", "--host", "0.0.0.0"]
