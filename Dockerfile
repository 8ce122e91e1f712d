# The images of Argon, one target each: wal-service, branch-service and argon (the CLI). Needs nothing but this folder and
# Debian's packages:
#
#   docker build --target wal-service -t argon/wal-service:0.1.0 .       (scripts/build-images.sh builds all three)
#
# They run as user 65532, need no file system that can be written but the volume of the log, stop on SIGTERM when
# calls in flight have ended, and ask themselves for their health.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
COPY scripts/lib.sh scripts/packages.txt /argon/scripts/
RUN bash -euc '. /argon/scripts/lib.sh && install_packages build'
COPY . /argon
WORKDIR /argon
RUN cmake --preset release -DARGON_TESTS=OFF \
 && cmake --build --preset release --target wal-service branch-service argon \
 && mkdir /out \
 && for program in wal-service branch-service argon; do \
      strip -o /out/$program build/release/bin/$program \
      && scripts/runtime-packages.sh /out/$program >/out/$program.packages || exit 1; \
    done

FROM ${BASE} AS base
LABEL org.opencontainers.image.vendor="Argon" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
STOPSIGNAL SIGTERM

FROM base AS wal-service
COPY --from=build /out/wal-service.packages /usr/local/share/argon/packages
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends $(cat /usr/local/share/argon/packages) >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && install -d -o 65532 -g 65532 -m 700 /var/lib/argon
COPY --from=build /out/wal-service /usr/local/bin/
LABEL org.opencontainers.image.title="argon-wal-service" org.opencontainers.image.description="Argon: the durable log"
ENV ARGON_WAL_LISTEN=0.0.0.0:7700 ARGON_WAL_METRICS_ADDRESS=0.0.0.0:9700 ARGON_WAL_DATA=/var/lib/argon
VOLUME /var/lib/argon
EXPOSE 7700 9700
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["wal-service", "--health-check"]
ENTRYPOINT ["wal-service"]

FROM base AS branch-service
# tzdata: what date expressions read; ca-certificates: for a MongoDB with TLS
COPY --from=build /out/branch-service.packages /usr/local/share/argon/packages
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends tzdata ca-certificates $(cat /usr/local/share/argon/packages) >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=build /out/branch-service /usr/local/bin/
LABEL org.opencontainers.image.title="argon-branch-service" org.opencontainers.image.description="Argon: branches and documents"
ENV ARGON_BRANCH_LISTEN=0.0.0.0:7800 ARGON_BRANCH_METRICS_ADDRESS=0.0.0.0:9800
EXPOSE 7800 9800
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["branch-service", "--health-check"]
ENTRYPOINT ["branch-service"]

FROM base AS argon
COPY --from=build /out/argon.packages /usr/local/share/argon/packages
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends tzdata ca-certificates $(cat /usr/local/share/argon/packages) >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=build /out/argon /usr/local/bin/
LABEL org.opencontainers.image.title="argon" org.opencontainers.image.description="Argon: the command line"
USER 65532:65532
HEALTHCHECK NONE
ENTRYPOINT ["argon"]
