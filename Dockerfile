# smallage on Debian 12. Build: docker build -t smallage .
# Run: docker run -e CELERY_BROKER_URL=amqp://... -e CELERY_RESULT_BACKEND=redis://... smallage
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
		gcc libc6-dev make pkg-config librabbitmq-dev libhiredis-dev libjansson-dev libuv1-dev \
		libyaml-dev libssl-dev libpcre2-dev libesmtp-dev libcurl4-openssl-dev libidn2-dev uthash-dev \
		libmicrohttpd-dev zlib1g-dev libbz2-dev liblzma-dev libbrotli-dev libzstd-dev \
		libpq-dev libsqlite3-dev \
	&& rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j"$(nproc)" && make install PREFIX=/usr/local DESTDIR=/out

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
		ca-certificates librabbitmq4 libhiredis0.14 libjansson4 libuv1 libyaml-0-2 libssl3 libpcre2-8-0 \
		libesmtp6 libcurl4 libidn2-0 libmicrohttpd12 zlib1g libbz2-1.0 \
		liblzma5 libbrotli1 libzstd1 libpq5 libsqlite3-0 \
	&& rm -rf /var/lib/apt/lists/* \
	&& useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/smallage \
		--shell /usr/sbin/nologin smallage \
	&& install -d -o smallage -g smallage /var/lib/smallage /run/smallage
COPY --from=build /out/ /
# Numeric, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 10001:10001
# Files of a worker without servers (./smallage-data) and an optional smallage.yaml.
WORKDIR /var/lib/smallage
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["smallage", "status"]
# Celery's warm stop: takes nothing new, ends what runs, gives the rest back.
STOPSIGNAL SIGTERM
ENTRYPOINT ["smallage"]
CMD ["worker", "-l", "info"]
