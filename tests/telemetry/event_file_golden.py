#!/usr/bin/env python3
"""Writes event_file_golden.inc: the events of event_file_test.cc as TensorBoard's own protocol buffers encode them, in hexadecimal digits.

    python3 -m pip install tensorboard; python3 tests/telemetry/event_file_golden.py
"""

import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2

scalars = summary_pb2.Summary()
for tag, value in (("train/loss", 6.25), ("train/ppl", 1e30)):
    scalars.value.add(tag=tag, simple_value=value)
histogram = summary_pb2.HistogramProto(
    min=0.25, max=1, num=3, sum=2, sum_squares=1.5, bucket_limit=[0.5, 1], bucket=[1, 2])
histograms = summary_pb2.Summary()
histograms.value.add(tag="gates", histo=histogram)
image = summary_pb2.Summary.Image(height=3, width=2, colorspace=1, encoded_image_string=b"png\x00\xff")
images = summary_pb2.Summary()
images.value.add(tag="attention", image=image)

# Zero would not be encoded: 5e-324 stands for the time, whose bytes the test clears.
events = [
    event_pb2.Event(wall_time=5e-324, step=0, file_version="brain.Event:2"),
    event_pb2.Event(wall_time=5e-324, step=300, summary=scalars),
    event_pb2.Event(wall_time=5e-324, step=1, summary=histograms),
    event_pb2.Event(wall_time=5e-324, step=2, summary=images),
]
lines = []
for event in events:
    encoded = bytearray(event.SerializeToString(deterministic=True))
    encoded[1:9] = bytes(8)
    lines.append(f'    "{encoded.hex()}",\n')
pathlib.Path(__file__).with_suffix(".inc").write_text("".join(lines))
