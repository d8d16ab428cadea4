"""Follows an event source with the official driver for Python and prints what a program gets to
see, one JSON object a line. The Python twin of ../node/follow.js, which explains argument and lines.
"""

import base64
import datetime
import json
import sys

from fauna.client import Client, FeedOptions, StreamOptions
from fauna.errors import FaunaException
from fauna.query import EventSource
from fauna.query.models import Document, Module

CONFIG = json.loads(sys.argv[1])


def out(line):
    print(json.dumps(line), flush=True)


def shown(value):
    """A value together with the class that the driver made of it."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": str(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return {"time": value.astimezone(datetime.timezone.utc).isoformat()}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    if isinstance(value, Module):
        return {"module": value.name}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, Document):
        return {
            "document": {
                "id": value.id,
                "coll": value.coll.name,
                "ts": value.ts.isoformat(),
                "fields": {name: shown(value[name]) for name in value},
            }
        }
    return {"object": {name: shown(item) for name, item in value.items()}}


def event(e):
    data = shown(e["data"]) if "data" in e else None
    return {"type": e["type"], "txn_ts": e["txn_ts"], "cursor": e["cursor"], "data": data}


def stream(client):
    left = CONFIG["count"]
    options = StreamOptions(
        status_events=True,
        max_attempts=CONFIG.get("max_attempts", 100),
        max_backoff=1,
        cursor=CONFIG.get("cursor"),
    )
    with client.stream(EventSource(CONFIG["token"]), options) as events:
        for e in events:
            if e["type"] == "status":
                out({"open": e["cursor"]})
                continue
            out({"event": event(e)})
            left -= 1
            if left == 0:
                break
    # A body that ends without a word would end the loop as well.
    if left == 0:
        out({"end": True})


def feed(client):
    options = FeedOptions(page_size=CONFIG.get("page_size"), cursor=CONFIG.get("cursor"))
    for page in client.feed(EventSource(CONFIG["token"]), options):
        # The driver keeps has_next to itself; it stops by it.
        out({"page": {"events": [event(e) for e in page], "cursor": page.cursor}})
    out({"end": True})


def main():
    try:
        client = Client(endpoint=CONFIG["endpoint"], secret=CONFIG["secret"])
        (feed if CONFIG["mode"] == "feed" else stream)(client)
    except Exception as e:  # every class: which one it is, is what the test looks at
        out(
            {
                "error": {
                    "class": type(e).__name__,
                    "drivers_own": isinstance(e, FaunaException),
                    "code": getattr(e, "code", None),
                    "status": getattr(e, "status_code", None),
                    "message": str(e),
                }
            }
        )


main()
