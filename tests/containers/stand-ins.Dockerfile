# What plays MongoDB and Prometheus in the test of docker-compose.yml, where no registry can be reached: made of Debian's packages, and of the
# SecantusDB of scripts/mongodb-for-tests.sh, whose folder is the context.
FROM docker.io/library/debian:bookworm-slim AS mongodb
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 >/dev/null && install -d -o 999 -g 999 /data/db /data/configdb
COPY . /opt/secantusdb
USER 999:999
ENTRYPOINT ["/opt/secantusdb/bin/python", "-m", "secantus", "--host", "0.0.0.0", "--port", "27017", "--storage-path", "/data/db", "--sync-on-commit"]

FROM docker.io/library/debian:bookworm-slim AS prometheus
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus >/dev/null && install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
ENTRYPOINT ["prometheus"]
