#!/usr/bin/python3
"""Waits until every replica answers at least half of what would be its equal share of the calls; prints how long that took.

    tests/kubernetes/share.py ADDRESS...      where the replicas tell their metrics
"""

import re
import sys
import time
import urllib.request

PATIENCE_SECONDS, WINDOW_SECONDS = 60, 1.0


def handled(address):
    text = urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()
    values = re.findall(r'^argon_rpc_handled_total\{service="argon\.branch\.v1\.Documents".*\} (\S+)$', text, re.MULTILINE)
    return sum(map(float, values))


addresses = sys.argv[1:]
begin = time.monotonic()
while True:
    before = [handled(address) for address in addresses]
    time.sleep(WINDOW_SECONDS)
    shares = [handled(address) - b for address, b in zip(addresses, before)]
    if min(shares) * len(shares) * 2 >= sum(shares) > 0:
        break
    if time.monotonic() - begin > PATIENCE_SECONDS:
        sys.exit(f"after {PATIENCE_SECONDS} s the replicas still answered {shares} calls")
print(f"{len(shares)} replicas have their shares after {time.monotonic() - begin:.1f} s: {', '.join(f'{share:.0f}' for share in shares)} calls a second")
