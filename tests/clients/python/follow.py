"""Follows an event source with the official driver for Python and prints what a program gets to
see, one JSON object a line. The Python twin of ../node/follow.js, which explains argument and lines.
"""

import base64
import datetime
import json
import sys

from fauna.client import Client, FeedOptions, StreamOptions
from fauna.errors import FaunaException
from fauna.query import EventSource, fql
from fauna.query.models import Document, Module, NullDocument, Page

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
    if isinstance(value, EventSource):
        return {"source": value.token}
    if isinstance(value, Page):
        return {"set": {"data": [shown(item) for item in value.data], "more": value.after is not None}}
    if isinstance(value, NullDocument):
        return {"missing": {"id": value.ref.id, "cause": value.cause}}
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


def query(pieces):
    """The query of the pieces."""
    template, values = "", {}
    for piece in pieces:
        if isinstance(piece, str):
            template += piece.replace("$", "$$")
        else:
            name = f"v{len(values)}"
            if "query" in piece:
                values[name] = query(piece["query"])
            else:
                values[name] = EventSource(piece["source"]) if "source" in piece else piece["value"]
            template += "${" + name + "}"
    return fql(template, **values)


def source():
    return query(CONFIG["query"]) if "query" in CONFIG else EventSource(CONFIG["token"])


def ask(client):
    if CONFIG["mode"] == "paginate":
        for page in client.paginate(query(CONFIG["query"])):
            out({"answer": [shown(item) for item in page]})
    else:
        out({"answer": shown(client.query(query(CONFIG["query"])).data)})
    out({"end": True})


def stream(client):
    left = CONFIG["count"]
    options = StreamOptions(
        status_events=True,
        max_attempts=CONFIG.get("max_attempts", 100),
        max_backoff=1,
        cursor=CONFIG.get("cursor"),
    )
    with client.stream(source(), options) as events:
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
    for page in client.feed(source(), options):
        # The driver keeps has_next to itself; it stops by it.
        out({"page": {"events": [event(e) for e in page], "cursor": page.cursor}})
    out({"end": True})


def main():
    try:
        options = {}
        if "timeout_ms" in CONFIG:
            options["query_timeout"] = datetime.timedelta(milliseconds=CONFIG["timeout_ms"])
        client = Client(endpoint=CONFIG["endpoint"], secret=CONFIG["secret"], **options)
        {"feed": feed, "stream": stream, "iterate": stream}.get(CONFIG["mode"], ask)(client)
    except Exception as e:  # every class: which one it is, is what the test looks at
        out(
            {
                "error": {
                    "class": type(e).__name__,
                    "drivers_own": isinstance(e, FaunaException),
                    "code": getattr(e, "code", None),
                    "status": getattr(e, "status_code", None),
                    "message": str(e),
                    "summary": getattr(e, "summary", None),
                    "abort": shown(getattr(e, "abort", None)),
                }
            }
        )


main()
