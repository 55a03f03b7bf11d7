"""One of the conformance run's clients: confluent-kafka-python.

    client.py produce BOOTSTRAP TOPIC PARTITIONS CODEC lines|files keyed|unkeyed PATH
    client.py consume BOOTSTRAP OUT_DIR PARTITIONS TOPIC...
    client.py group BOOTSTRAP GROUP TOPIC classic|consumer   a member until its input ends: prints each record, commits what it has read
    client.py aiokafka BOOTSTRAP GROUP TOPIC                 the same with aiokafka
    client.py transactions BOOTSTRAP TOPIC COPY PARTITIONS ROUNDS

`transactions` writes ROUNDS transactions of ten records, aborts every third, and copies what is committed in transactions of its own.

As the other clients: record i goes to partition i modulo PARTITIONS; what is consumed is framed into OUT_DIR/TOPIC-PARTITION.
"""

import asyncio
import os
import struct
import sys
import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition


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


def group(bootstrap, name, topic, protocol):
    configs = {"bootstrap.servers": bootstrap, "group.id": name, "group.protocol": protocol, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    consumer = Consumer(configs)
    consumer.subscribe([topic])
    while not over.is_set():
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            print(f"# {message.error()}", flush=True)
            continue
        print(f"record {message.partition()} {message.offset()}", flush=True)
        try:
            consumer.commit(message, asynchronous=False)
        except KafkaException as late:
            # Whoever has the partition now reads it again.
            print(f"# {late}", flush=True)
    consumer.close()


async def member(bootstrap, name, topic):
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import CommitFailedError

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=name, enable_auto_commit=False, auto_offset_reset="earliest", heartbeat_interval_ms=500
    )
    await consumer.start()
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    try:
        while not over.done():
            for partition, messages in (await consumer.getmany(timeout_ms=100)).items():
                for message in messages:
                    print(f"record {message.partition} {message.offset}", flush=True)
                try:
                    await consumer.commit({partition: messages[-1].offset + 1})
                except CommitFailedError as late:
                    print(f"# {late}", flush=True)
    finally:
        await consumer.stop()


def aiokafka(*args):
    asyncio.run(member(*args))


def transactions(bootstrap, topic, copy, partitions, rounds):
    partitions, rounds = int(partitions), int(rounds)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "python-" + topic, "transaction.timeout.ms": 60000})
    producer.init_transactions(30)
    for n in range(rounds):
        producer.begin_transaction()
        for i in range(10):
            producer.produce(topic, f"{n}-{i}".encode(), partition=i % partitions)
        # What is aborted is written, too.
        producer.flush(30)
        if n % 3 == 2:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "python-" + copy, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
    consumer.subscribe([topic])
    left = 10 * sum(n % 3 != 2 for n in range(rounds))
    while left > 0:
        messages = consumer.consume(25, 5)
        if not messages:
            continue
        producer.begin_transaction()
        for message in messages:
            if message.error():
                sys.exit(str(message.error()))
            producer.produce(copy, message.value(), partition=message.partition())
        producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        left -= len(messages)
    consumer.close()


if __name__ == "__main__":
    roles = {"produce": produce, "consume": consume, "group": group, "aiokafka": aiokafka, "transactions": transactions}
    roles[sys.argv[1]](*sys.argv[2:])
