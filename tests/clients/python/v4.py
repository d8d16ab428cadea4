"""Follows documents and sets with Fauna's v4 driver for Python (`faunadb`) and prints what a program gets
to see, one JSON object a line. The Python twin of ../node/v4.js, which explains argument and lines; it
has the modes "stream", "query", "ping" and "refused".
"""

import base64
import datetime
import json
import sys
from unittest import mock

import faunadb
import faunadb.client
from faunadb import query as q
from faunadb.client import FaunaClient
from faunadb.errors import FaunaError
from faunadb.objects import FaunaTime, Ref, SetRef

CONFIG = json.loads(sys.argv[1])


def out(line):
    print(json.dumps(line), flush=True)


def shown(value):
    """A value together with the class that the driver made of it."""
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, Ref):
        collection = value.collection()
        return {"ref": ([collection.id()] if collection and collection.collection() else []) + [value.id()]}
    if isinstance(value, FaunaTime):
        return {"time": value.value}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, SetRef):
        return {"set": shown(value.value)}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return {"object": {name: shown(item) for name, item in value.items()}}


def error(e):
    is_http = isinstance(e, FaunaError)
    first = e.errors[0] if is_http and getattr(e, "errors", None) else None
    code = first.code if first else None
    description = first.description if first else None
    line = {"class": type(e).__name__, "drivers_own": is_http, "code": code, "message": str(e)}
    out({"error": {**line, "description": description}})


def client(secret=CONFIG["secret"]):
    # The driver looks for its own newest version when it is made; that is another network.
    with mock.patch.object(faunadb.client, "get") as get:
        get.return_value.json.return_value = {"info": {"version": faunadb.__version__}}
        return FaunaClient(
            secret=secret, domain=CONFIG["host"], port=CONFIG["port"], scheme="http"
        )


def term(of):
    if not isinstance(of, dict):
        return of
    if "ref" in of:
        return expression(of)
    if "time" in of:
        return q.time(of["time"])
    if "date" in of:
        return datetime.date.fromisoformat(of["date"])
    return base64.b64decode(of["bytes"])


def expression(of):
    if "ref" in of:
        return q.ref(q.collection(of["ref"][0]), of["ref"][1])
    if "documents" in of:
        return q.documents(q.collection(of["documents"]))
    if "get" in of:
        return q.get(expression(of["get"]))
    if "match" in of:
        index, *terms = of["match"]
        return q.match(q.index(index), *[term(one) for one in terms])
    return q._Expr(of["raw"])  # pylint: disable=protected-access


class Following:
    def __init__(self):
        self.left = CONFIG.get("count")
        self.seen = {"events": 0, "bytes": 0, "last": None}
        options = {"fields": CONFIG["fields"]} if "fields" in CONFIG else None
        self.stream = client().stream(
            expression(CONFIG["expr"]),
            options,
            on_start=lambda e: out({"start": {"txn": e.txn, "event": e.event}}),
            on_error=self.error,
            on_version=self.event,
            on_history=self.event,
            on_set=self.event,
        )

    def event(self, e):
        if self.left == 0:
            return
        if CONFIG.get("brief"):
            data = e.event.get("document", {}).get("data", {})
            self.seen["events"] += 1
            # As JavaScript counts.
            self.seen["bytes"] += len(data.get("text", "").encode("utf-16-le")) // 2
            self.seen["last"] = data.get("n")
        else:
            out({e.type: {"txn": e.txn, "event": shown(e.event)}})
        if self.left is None:
            return
        self.left -= 1
        if self.left == 0:
            if CONFIG.get("brief"):
                out({"brief": self.seen})
            out({"end": True})
            # The driver looks at that with the next frame.
            self.stream.close()

    def error(self, e):
        if self.left == 0:
            return
        if isinstance(e.error, Exception):
            return error(e.error)
        out({"error": {"class": None, "code": e.code, "description": e.description}})


def refused(case):
    driver = client(case["secret"])
    if case["mode"] == "query":
        try:
            driver.query(expression(case["expr"]))
            out({"accepted": case["expr"]})
        except FaunaError as e:
            error(e)
        return
    driver.stream(expression(case["expr"]), on_error=lambda e: error(e.error)).start()


def main():
    if CONFIG["mode"] == "refused":
        for case in CONFIG["cases"]:
            refused(case)
        return
    if CONFIG["mode"] == "stream":
        following = Following()
        following.stream.start()
        if following.left != 0:
            out({"end": True})
        return
    try:
        answer = client().ping("node") if CONFIG["mode"] == "ping" else client().query(
            expression(CONFIG["expr"])
        )
        out({"answer": shown(answer)})
    except FaunaError as e:
        error(e)
    out({"end": True})


main()
