#!/usr/bin/env python3
#
# perfetto.py - checks a file that `vthread trace` has written, and says what
# is in it.
#
#     perfetto.py DESCRIPTION FILE
#
# DESCRIPTION is a set of descriptors, as protoc makes it of perfetto.proto.
# Every slice ends, on its own track, and not before it begins; every arrow
# that ends has begun before, elsewhere; every track has a name and a parent
# that is there.  Prints a line for each track,
#
#     track PARENT NAME: SLICES slices, INSTANTS instants
#
# and one for each kind of slice and instant, and for the arrows.  Exits with
# 1 if something is wrong.
import collections
import sys

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf import message_factory


def read(description, path):
    files = descriptor_pb2.FileDescriptorSet()
    with open(description, "rb") as f:
        files.ParseFromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    kind = pool.FindMessageTypeByName("perfetto.Trace")
    trace = message_factory.MessageFactory(pool).GetPrototype(kind)()
    with open(path, "rb") as f:
        trace.ParseFromString(f.read())
    return trace


BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
wrong = []


def check(is_right, text):
    if not is_right:
        wrong.append(text)


trace = read(sys.argv[1], sys.argv[2])
tracks, names, events = {}, {}, []
for packet in trace.packet:
    if packet.HasField("track_descriptor"):
        d = packet.track_descriptor
        check(d.uuid not in tracks, f"track {d.uuid} is described twice")
        tracks[d.uuid] = d
    for entry in packet.interned_data.event_names:
        check(entry.iid not in names, f"name {entry.iid} is told twice")
        names[entry.iid] = entry.name
    if packet.HasField("track_event"):
        events.append((packet.timestamp, packet.track_event))
check(trace.packet[0].sequence_flags == 3, "names do not begin anew")

for uuid, d in tracks.items():
    if not d.HasField("process"):
        check(d.name, f"track {uuid} has no name")
        check(d.parent_uuid in tracks, f"the parent of {d.name} is missing")

# In the order of time, as Perfetto takes them.
events.sort(key=lambda e: e[0])
open_slices = collections.defaultdict(list)
slices, instants = collections.Counter(), collections.Counter()
kinds = collections.Counter()
flows, arrows = {}, 0
for ns, e in events:
    check(e.track_uuid in tracks, f"an event on track {e.track_uuid}, "
          "which is not there")
    name = names.get(e.name_iid)
    check(e.type in (END, COUNTER) or name, "an event without a name")
    if e.type == BEGIN:
        open_slices[e.track_uuid].append(ns)
        slices[e.track_uuid] += 1
        kinds["slice", name] += 1
    elif e.type == END:
        check(open_slices[e.track_uuid],
              f"an end without a beginning on {tracks[e.track_uuid].name}")
        if open_slices[e.track_uuid]:
            check(open_slices[e.track_uuid].pop() <= ns, "it ends too early")
    elif e.type == INSTANT:
        instants[e.track_uuid] += 1
        kinds["instant", name] += 1
    else:
        check(e.type == COUNTER and tracks[e.track_uuid].HasField("counter"),
              "a number on a track of no counter")
        check(e.counter_value >= 0, f"{tracks[e.track_uuid].name}: "
              f"{e.counter_value}")
    for flow in e.flow_ids:
        check(flow not in flows, f"arrow {flow} begins twice")
        flows[flow] = (ns, e.track_uuid)
    for flow in e.terminating_flow_ids:
        check(flow in flows, f"arrow {flow} ends without a beginning")
        if flow in flows:
            check(flows[flow][0] <= ns, f"arrow {flow} goes back in time")
        arrows += 1
for uuid, left in open_slices.items():
    check(not left, f"{len(left)} slices of {tracks[uuid].name} do not end")

for uuid, d in tracks.items():
    if d.HasField("process"):
        print(f"process {d.process.pid} {d.process.process_name}")
    elif d.HasField("counter"):
        print(f"counter {d.name}")
    else:
        print(f"track {tracks[d.parent_uuid].name or 'process'} / {d.name}: "
              f"{slices[uuid]} slices, {instants[uuid]} instants")
for (kind, name), count in sorted(kinds.items()):
    print(f"{kind} {name}: {count}")
print(f"arrows: {len(flows)} begin, {arrows} end")
for text in wrong[:20]:
    print("wrong:", text)
sys.exit(1 if wrong else 0)
