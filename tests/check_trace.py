"""Whether a file is a sound timeline: valid JSON, slices that nest, times in order, arrows with both ends."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    events = json.load(file)["traceEvents"]
finished = sys.argv[2:] != ["unfinished"]
open_slices, named, arrows, latest = {}, set(), {}, 0

for event in events:
    phase, track = event["ph"], event.get("tid")
    if phase == "M":
        named.add(track)
        continue
    assert event["ts"] >= latest, f"goes back in time: {event}"
    assert track in named, f"on a track without a name: {event}"
    latest = event["ts"]
    if phase == "B":
        assert track not in open_slices, f"begins inside {open_slices[track]}: {event}"
        open_slices[track] = event
    elif phase == "E":
        assert open_slices.pop(track, None), f"ends nothing: {event}"
    elif phase in "sf":
        arrows.setdefault(event["id"], []).append(phase)
    else:
        assert phase == "i" and event["name"] in ("spawn", "wake", "cancel", "end"), f"unknown: {event}"

assert all(ends == ["s", "f"] for ends in arrows.values()), arrows
assert not finished or not open_slices, f"never end: {open_slices}"
