# syntax=docker/dockerfile:1
# Executor in a container: docker build -t executor .
# For a build that stays the same, give the base by digest: --build-arg PYTHON=python:3.13-slim-bookworm@sha256:...
ARG PYTHON=python:3.13-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# Locked wheels by hash, first, so that a change of the source does not fetch them again.
COPY requirements.lock ./
RUN python -m venv /opt/executor \
    && /opt/executor/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md ./
COPY src ./src
# Left out: what is only needed to install, and what python-binance wants for functions that nothing here calls
# (exchange/transport/library.py), 25 MB in all. The modules are compiled here, since nothing can be written later, and
# by what is in them, not by when they were written, so that one source gives one image.
RUN /opt/executor/bin/pip install --no-build-isolation --no-deps . \
    && /opt/executor/bin/pip uninstall --quiet --yes \
        dateparser pygments python-dateutil regex tzdata tzlocal setuptools \
    && rm -r /opt/executor/lib/python3*/site-packages/Crypto/SelfTest \
    && mkdir -p /opt/executor/share/executor \
    && /opt/executor/bin/python -c 'import importlib.metadata as m, re; print(*sorted({re.sub("_", "-", d.name.lower()) \
        + "==" + d.version for d in m.distributions() if d.name != "pip"}), sep="\n")' \
        > /opt/executor/share/executor/packages.txt \
    && /opt/executor/bin/pip uninstall --quiet --yes pip \
    && find /opt/executor -name RECORD -path '*.dist-info/*' -delete \
    && find /opt/executor -name __pycache__ -prune -exec rm -rf {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/executor/lib

FROM ${PYTHON}
ARG PYTHON
LABEL org.opencontainers.image.base.name="${PYTHON}" \
      org.opencontainers.image.title="executor" \
      org.opencontainers.image.description="Carries out trade signals on Binance Spot, from signal to close"
COPY --from=build /opt/executor /opt/executor
# A number, so that a host's files can be given to it: chown 10001:10001
RUN groupadd --gid 10001 executor \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin executor \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
ENV PATH=/opt/executor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STATE_FN=/data/state/executor_state.json \
    SIGNAL_FILE=/data/signals.jsonl \
    LOG_FORMAT=json
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
STOPSIGNAL SIGTERM
# What it asks is the service's own socket: no port has to be open, and no curl has to be there.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["executor", "ping"]
CMD ["executor", "run"]
