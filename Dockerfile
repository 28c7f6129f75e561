# The hub as a container: `hub run` as its own user, settings by environment and mounted files, state on a volume.
#
#   docker build -t dropship-hub:0.1.0 .
#   docker run --rm dropship-hub:0.1.0 --help
#
# requirements-run.lock is requirements.lock without the tools of the `dev` extra; after a change of the dependencies
# write it again, with the other lock as the constraint so that what runs is what was tested:
#
#   pip-compile --allow-unsafe --generate-hashes --strip-extras --no-emit-find-links --no-emit-index-url \
#     --no-emit-options --no-emit-trusted-host -c requirements.lock -o requirements-run.lock pyproject.toml

# --- the virtual environment, made where nothing of the making stays -------------------------------------------------

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Before our code: this layer changes with the lock only. No pip inside, nothing is installed later.
COPY requirements-run.lock ./
RUN python -m venv --without-pip /opt/hub \
    && pip --python /opt/hub/bin/python install --no-deps --require-hashes -r requirements-run.lock

# The build backend comes from the lock too; with build isolation pip would fetch whatever is newest.
COPY requirements.lock ./
RUN sed -n '/^setuptools==/,/^    # via/p' requirements.lock >setuptools.lock \
    && pip install --no-deps --require-hashes -r setuptools.lock

COPY pyproject.toml README.md ./
COPY hub hub
COPY producers producers
COPY consumers consumers
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && pip --python /opt/hub/bin/python install --no-deps --no-index wheels/*.whl \
    # The root file system is read-only later: bytecode is written now or at every start anew.
    && /opt/hub/bin/python -m compileall -q /opt/hub/lib

# --- what runs -------------------------------------------------------------------------------------------------------

FROM python:3.11-slim
# A fixed number, so that files and volumes on the host can be given to it.
RUN groupadd --gid 10001 hub \
    && useradd --uid 10001 --gid hub --no-create-home --home-dir /var/lib/hub --shell /usr/sbin/nologin hub \
    && install -d -o hub -g hub -m 0700 /var/lib/hub
COPY --from=build /opt/hub /opt/hub

ENV PATH=/opt/hub/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HUB_STATE__URL=sqlite+aiosqlite:////var/lib/hub/hub.db
USER hub
WORKDIR /var/lib/hub
VOLUME /var/lib/hub
EXPOSE 8080

# Live, not ready: a broker that is away must not get the hub restarted, it comes back by itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('HUB_HTTP__PORT', '8080')), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]

# The hub drains on it: takes nothing new, finishes what is in flight (broker.drain, 20 s), leaves the rest to the broker.
STOPSIGNAL SIGTERM
ENTRYPOINT ["hub"]
CMD ["run"]
