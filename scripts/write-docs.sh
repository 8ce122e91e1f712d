#!/usr/bin/env bash
# Writes the pages of docs/ that come from tables in the programs: cli.md, configuration.md, metrics.md. Tests compare the two.
#
#   scripts/write-docs.sh               builds the programs and writes the pages
#   scripts/write-docs.sh --print PAGE  prints one of them, from the programs in ARGON_BIN
set -euo pipefail
. "$(dirname "$0")/lib.sh"

configuration() {
  cat <<'TEXT'
# Configuration

Written by `scripts/write-docs.sh` from the tables of the services.

An option is given on the command line (`--max-calls 100`, `--insecure`, `--no-insecure`), in the environment, or in a YAML file that
`--config` or its variable names (`max-calls: 100`). The command line wins over the environment, that over the file, that over the default. A value
that is hidden by another one is checked, too.

- **size**: bytes, or with a unit: `65536`, `512K`, `64M`, `1G` (powers of 1024).
- **duration**: a number and a unit: `250ms`, `10s`, `5m`, `1h`.

`--check-config` says whether all of it is right: exit status 0, or 2 and one line that names the option, the variable, or the line of the file. `--print-config`
prints what holds and where it comes from, as a file that `--config` reads; passwords in URIs are left out of it.

SIGHUP reads the options again, and what may change while a service runs does: `log-level` and `slow-request`. The event `config.reloaded` tells
what holds then, `config.reload_failed` what is wrong: then nothing changes. Everything else needs a restart.

The flags of new branches (`enable-wal-branches` and the three `wal-` options below it) can be set for all replicas at once with `argon config`:
[rollout.md](rollout.md).
TEXT
  "$ARGON_BIN/wal-service" --print-reference configuration
  "$ARGON_BIN/branch-service" --print-reference configuration
}

metrics() {
  cat <<'TEXT'
# Metrics

Written by `scripts/write-docs.sh` from the tables of the services.

With `--metrics-address HOST:PORT` a service answers over HTTP:

| path | answer |
|---|---|
| `/metrics` | what is listed below, in Prometheus' text format 0.0.4 |
| `/healthz` | 200 while the process runs |
| `/readyz` | 200 when it can do its work, else 503: what gRPC health says of the whole server |

There is no authentication: whoever reaches the address reads the metrics. No names of projects, branches or collections are among them, and nothing
of documents. Counters count from the start of the process. Histograms have 16 fixed buckets: 100 µs to 10 s, or 1 to 32768.

LSNs are counted per project; as one number for all of them their sum is shown, which is the number of entries.

`deploy/prometheus/alerts.yaml` has alerts on these metrics, `deploy/grafana/argon.json` a dashboard; [operations.md](operations.md) says what to do.
TEXT
  "$ARGON_BIN/wal-service" --print-reference metrics
  "$ARGON_BIN/branch-service" --print-reference metrics
}

case ${1:-} in
  --print)
    case $2 in configuration | metrics) "$2" ;; *) die "there is no page '$2'" ;; esac
    ;;
  "")
    build dev argon wal-service branch-service
    ARGON_BIN=$root/build/dev/bin
    "$ARGON_BIN/argon" help --markdown >"$root/docs/cli.md"
    configuration >"$root/docs/configuration.md"
    metrics >"$root/docs/metrics.md"
    ;;
  *) die "unknown argument '$1'" ;;
esac
