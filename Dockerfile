# HomeGuard in a container: docker compose up (compose.yaml). Nothing is compiled, so it builds alike for
# amd64 and arm64: docker buildx build --platform linux/amd64,linux/arm64 .
FROM python:3.12-slim-bookworm AS build
WORKDIR /source
COPY requirements-run.lock ./
RUN python -m venv /opt/homeguard/venv \
    && /opt/homeguard/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
       --require-hashes --only-binary=:all: -r requirements-run.lock
COPY pyproject.toml README.md config.yaml ./
COPY models ./models
COPY homeguard ./homeguard
RUN /opt/homeguard/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
       --no-deps --no-build-isolation --no-index . \
    && /opt/homeguard/venv/bin/homeguard --version

FROM python:3.12-slim-bookworm
# PortAudio opens the microphone; Debian moves its patch releases, so that no version is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libportaudio2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --groups audio --no-create-home \
       --home-dir /var/lib/homeguard --shell /usr/sbin/nologin homeguard \
    && install -d -o homeguard -g homeguard -m 700 /var/lib/homeguard /run/homeguard \
    && install -d -o homeguard -g homeguard -m 2750 /etc/homeguard
COPY --from=build /opt/homeguard /opt/homeguard
COPY deploy/homeguard-alive /usr/local/bin/homeguard-alive
ENV PATH=/opt/homeguard/venv/bin:$PATH \
    HOMEGUARD_CONFIG=/etc/homeguard/config.yaml \
    HOMEGUARD_ALIVE_FILE=/run/homeguard/alive \
    STATE_DIRECTORY=/var/lib/homeguard \
    XDG_DATA_HOME=/var/lib \
    LANG=C.UTF-8
USER 10001
VOLUME ["/etc/homeguard", "/var/lib/homeguard"]
# The daemon touches the file while it judges fresh sound, or knows and tells that it cannot hear.
# One that hangs is killed, so that `restart` in compose.yaml starts another (init is process 1).
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["homeguard-alive"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["homeguard"]
CMD ["run"]
