"""What a Prometheus and a prober see of a service."""

import re
import urllib.error
import urllib.request

from harness import wait_until

ADDRESS = ["--metrics-address", "127.0.0.1:0"]


def port(process):
    return wait_until(lambda: process.events("metrics.started"), "the metrics")[-1]["port"]


def get(process, path, method="GET", timeout=10):
    """(status, headers, body)"""
    request = urllib.request.Request(f"http://127.0.0.1:{port(process)}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def ready(process):
    return get(process, "/readyz")[0] == 200


class Metrics(dict):
    """'name{labels}' -> number, as scraped; and which families there are."""

    def __init__(self, process):
        self.text = get(process, "/metrics")[2]
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", self.text, re.MULTILINE))
        for line in self.text.splitlines():
            if not line.startswith("#"):
                sample, value = line.rsplit(" ", 1)
                self[sample] = float(value)

    def total(self, name, **labels):
        """All samples of a name with these labels together."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        matching = [value for sample, value in self.items() if sample.split("{")[0] == name and all(label in sample for label in wanted)]
        assert matching, f"{name} {labels}"
        return sum(matching)
