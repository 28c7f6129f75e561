# The hub as a container: `hub` as its entry point and its own user, settings by environment and mounted files, state on
# a volume or in PostgreSQL. Everything else of the root file system may be read-only, /tmp apart.
#
#   docker build -t dropship-hub:0.1.0 .
#   docker run --rm dropship-hub:0.1.0 --help
#
# The same sources give the same files: packages by hash, no time stamps. For the same image, bit by bit, name the base by
# its digest (it is what a tag meant on one day; `docker buildx imagetools inspect python:3.11-slim-bookworm` tells it)
# and let the builder write the same time everywhere:
#
#   docker buildx build --build-arg PYTHON=python:3.11-slim-bookworm@sha256:… \
#     --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" --build-arg REVISION="$(git rev-parse HEAD)" \
#     --output type=image,name=dropship-hub:0.1.0,rewrite-timestamp=true .
#
# requirements-run.lock is requirements.lock without the tools of the `dev` extra; after a change of the dependencies
# write it again, with the other lock as the constraint so that what runs is what was tested:
#
#   pip-compile --allow-unsafe --generate-hashes --strip-extras --no-emit-find-links --no-emit-index-url \
#     --no-emit-options --no-emit-trusted-host -c requirements.lock -o requirements-run.lock pyproject.toml

# The tag moves with Python's and Debian's patches, which a rebuild should bring; that is why it is no digest here.
ARG PYTHON=python:3.11-slim-bookworm

# --- the virtual environment, made where nothing of the making stays -------------------------------------------------

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Before our code: this layer changes with the lock only. No pip inside, nothing is installed later. Wheels alone: what
# would have to be compiled fails here, by name, and no compiler is needed anywhere.
COPY requirements-run.lock ./
RUN python -m venv --without-pip /opt/hub \
    && pip --python /opt/hub/bin/python install --no-deps --no-compile --only-binary :all: --require-hashes \
        -r requirements-run.lock

# The build backend comes from the lock too; with build isolation pip would fetch whatever is newest.
COPY requirements.lock ./
RUN sed -n '/^setuptools==/,/^    # via/p' requirements.lock >setuptools.lock \
    && pip install --no-deps --only-binary :all: --require-hashes -r setuptools.lock

COPY pyproject.toml README.md ./
COPY hub hub
COPY producers producers
COPY consumers consumers
# Seconds since 1970 that every file is dated, in the wheel (zip knows no time before 1980) and in the image.
ARG SOURCE_DATE_EPOCH=315532800
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && pip --python /opt/hub/bin/python install --no-deps --no-compile --no-index wheels/*.whl \
    # The root file system is read-only later: bytecode is written now or at every start anew. By hash and unchecked, so
    # that it carries no time; the sources beside it never change.
    && /opt/hub/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/hub/lib \
    && find /opt/hub -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# --- what runs -------------------------------------------------------------------------------------------------------

FROM ${PYTHON}
# By hand and not by useradd, which dates what it writes. A fixed number, so that files and volumes can be given to it.
RUN echo 'hub:x:10001:' >>/etc/group \
    && echo 'hub:x:10001:10001::/var/lib/hub:/usr/sbin/nologin' >>/etc/passwd \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/hub
COPY --from=build /opt/hub /opt/hub

ENV PATH=/opt/hub/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# By number: whoever wants proof that it is not root (runAsNonRoot) cannot look a name up.
USER 10001:10001
WORKDIR /var/lib/hub
VOLUME /var/lib/hub
EXPOSE 8080

# Live, not ready: a broker that is away must not get the hub restarted, it comes back by itself. -I: no module of the
# working directory, which is a volume, takes the place of one of Python's.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('HUB_HTTP__PORT', '8080')), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]

# The hub is process 1 and takes the signal itself: it takes nothing new, finishes what is in flight (broker.drain, 20 s)
# and leaves the rest to the broker. Give it longer than that: docker stop --time 30.
STOPSIGNAL SIGTERM
ENTRYPOINT ["hub"]
CMD ["run"]

# Last: these change with every commit and nothing is built after them.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dropship-hub" \
    org.opencontainers.image.description="Integration hub for dropship orders on RabbitMQ" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm"
