"""Run by a Python that has `fiddler-client` and nothing of ours: calls it as its users do.

    python fiddler_client.py URL KEY FOLDER

Prints one JSON object: what each call returned, or how it failed.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiddler as fdl
import pandas as pd

url, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
tempfile.tempdir = str(folder)
client = fdl.FiddlerApi(url, "my_org", key)
names = {"project_id": "acme", "model_id": "orders"}
said: dict[str, Any] = {}


def failed(call: Callable[[], object]) -> list[object] | None:
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error), getattr(error, "status_code", None)]
    return None


said["event"] = client.publish_event(
    **names, event={"amount": 20.5, "paid": True}, event_id="event_001",
    event_timestamp=1637344470000,
)  # fmt: skip
said["event again"] = client.publish_event(
    **names, event={"amount": 20.5, "paid": True}, event_id="event_001",
    event_timestamp=1637344470000,
)  # fmt: skip
said["without id"] = client.publish_event(**names, event={"amount": 1})
said["update"] = client.publish_event(
    **names, event={"paid": False}, event_id="event_001", update_event=True
)
said["other content"] = failed(
    lambda: client.publish_event(**names, event={"amount": 3}, event_id="event_001")
)
said["no such project"] = failed(
    lambda: client.publish_event("nobody", "orders", event={"amount": 3})
)
said["bad name"] = failed(lambda: client.publish_event("P 1", "9Bad", event={"amount": 3}))

frame = pd.DataFrame(
    {
        "id": [f"f{number}" for number in range(1_500)],
        "at": pd.date_range("2026-01-01", periods=1_500, freq="min", tz="UTC"),
        "amount": [float(number) for number in range(1_500)],
        "kind": pd.Categorical(["a", "b", "c"] * 500),
        "vector": [[1.0, 2.0]] * 1_500,
    }
)
said["frame"] = client.publish_events_batch(
    **names, batch_source=frame, id_field="id", timestamp_field="at", wait=True
)
mixed = pd.DataFrame({"id": ["m1", "m2"], "value": ["text", 7]})
said["mixed frame"] = client.publish_events_batch(
    **names, batch_source=mixed, id_field="id", wait=True
)

small = folder / "small.csv"
small.write_text("id,amount\ns1,1\ns2,2.5\n")
said["csv"] = client.publish_events_batch(
    **names, batch_source=str(small), id_field="id", wait=True
)
said["csv path"] = client.publish_events_batch(**names, events_path=small, id_field="id", wait=True)

large = folder / "large.csv"
with large.open("w") as file:
    file.write("n,pad\n")
    for number in range(60_000):
        file.write(f"{number},{'x' * 100}\n")
said["large size"] = large.stat().st_size
said["large"] = client.publish_events_batch(**names, batch_source=str(large), wait=True)

said["not waited for"] = client.publish_events_batch(**names, batch_source=str(small))
said["no such column"] = failed(
    lambda: client.publish_events_batch(**names, batch_source=frame, id_field="nothing", wait=True)
)
pickled = folder / "rows.pkl"
frame.to_pickle(pickled)
said["pickle"] = failed(lambda: client.publish_events_batch(**names, batch_source=str(pickled)))
said["wrong key"] = failed(lambda: fdl.FiddlerApi(url, "my_org", "wrong"))
print(json.dumps(said))
