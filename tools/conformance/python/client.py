"""One of the conformance run's clients: confluent-kafka-python.

    client.py produce BOOTSTRAP TOPIC PARTITIONS CODEC lines|files keyed|unkeyed PATH
    client.py consume BOOTSTRAP OUT_DIR PARTITIONS TOPIC...

As the other clients: record i goes to partition i modulo PARTITIONS; what is consumed is framed into OUT_DIR/TOPIC-PARTITION.
"""

import os
import struct
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition


def values(mode, path):
    with open(path, "rb") as source:
        content = source.read()
    for line in content.removesuffix(b"\n").split(b"\n"):
        if mode == "files":
            with open(line, "rb") as file:
                yield file.read()
        else:
            yield line


def produce(bootstrap, topic, partitions, codec, mode, keyed, path):
    failures = []

    def delivered(error, _message):
        if error is not None:
            failures.append(error)

    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True, "linger.ms": 5})
    for n, value in enumerate(values(mode, path)):
        while True:
            try:
                key = str(n).encode() if keyed == "keyed" else None
                producer.produce(topic, value, key, n % int(partitions), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(120)
    if left or failures:
        sys.exit(f"{left} not delivered, failed: {failures[:3]}")


def field(value):
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def consume(bootstrap, out, partitions, *topics):
    # No group is ever joined; the library only insists on a name for one.
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error"})
    left = 0
    files = {}
    assigned = []
    for topic in topics:
        for partition in range(int(partitions)):
            files[topic, partition] = open(os.path.join(out, f"{topic}-{partition}"), "wb")
            _low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 20)
            left += high
            assigned.append(TopicPartition(topic, partition, OFFSET_BEGINNING))
    consumer.assign(assigned)
    # A call comes back when it has all it asked for, or late: at the end it asks for no more than there is.
    while left > 0:
        messages = consumer.consume(min(left, 1000), 20)
        if not messages:
            sys.exit(f"nothing came for 20 s, {left} records are missing")
        for message in messages:
            if message.error():
                sys.exit(str(message.error()))
            file = files[message.topic(), message.partition()]
            file.write(field(message.key()) + field(message.value()))
            left -= 1
    for file in files.values():
        file.close()
    consumer.close()


if __name__ == "__main__":
    {"produce": produce, "consume": consume}[sys.argv[1]](*sys.argv[2:])
