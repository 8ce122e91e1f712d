"""SecantusDB, with a listCollections that changes nothing.

Its own first takes down the names, and then asks for the uuid of each. Of a collection that was dropped or renamed in between
that makes a new uuid, and with it an empty collection of that name. MongoDB does no such thing.
"""

import sys

import secantus.commands
from secantus.cli import main

list_collections = secantus.commands._HANDLERS["listCollections"]


def list_at_one_time(command, context):
    with context.storage._lock:  # which drops and renames hold
        return list_collections(command, context)


secantus.commands._HANDLERS["listCollections"] = list_at_one_time
sys.exit(main())
