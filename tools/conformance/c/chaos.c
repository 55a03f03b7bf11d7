/* Members of the group chaos by librdkafka: what `c-client chaos-member` does, one member in one process.
 *
 *   c-client chaos-member BOOTSTRAP TOPIC FOLDER NAME:GROUP:ASSIGNOR:INSTANCE   as java/ChaosMember.java */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

#define PARTITIONS_MAX 4096
#define BATCH_MAX 100

static FILE *diary;
/* The offset after what was read and not committed, or -1. */
static int64_t next[PARTITIONS_MAX];
static char has[PARTITIONS_MAX];

static void stamp(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    fprintf(diary, "%lld ", (long long)now.tv_sec * 1000000000 + now.tv_nsec);
}

static void note(const char *what) {
    stamp();
    fprintf(diary, "%s\n", what);
    fflush(diary);
}

/* The library tells its generation only inside of what it writes for other processes: "CGMDv2:", then 32 bits. */
static int32_t generation(rd_kafka_t *client) {
    int32_t found = -1;
    void *bytes;
    size_t size;
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(client);
    if (!metadata) return found;
    rd_kafka_error_t *failed = rd_kafka_consumer_group_metadata_write(metadata, &bytes, &size);
    if (failed) {
        rd_kafka_error_destroy(failed);
    } else {
        if (size > 11 && !memcmp(bytes, "CGMDv2:", 7)) memcpy(&found, (char *)bytes + 7, sizeof found);
        rd_kafka_mem_free(client, bytes);
    }
    rd_kafka_consumer_group_metadata_destroy(metadata);
    return found;
}

static void owns(rd_kafka_t *client) {
    const char *comma = "";
    stamp();
    fprintf(diary, "owns %d ", generation(client));
    for (int p = 0; p < PARTITIONS_MAX; p++) {
        if (!has[p]) continue;
        fprintf(diary, "%s%d", comma, p);
        comma = ",";
    }
    fprintf(diary, "%s\n", *comma ? "" : "-");
    fflush(diary);
}

static void rebalanced(rd_kafka_t *client, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list, void *opaque) {
    (void)opaque;
    int is_cooperative = !strcmp(rd_kafka_rebalance_protocol(client), "COOPERATIVE");
    int is_assigned = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_error_t *failed = NULL;
    if (is_assigned && !is_cooperative) memset(has, 0, sizeof has);
    for (int n = 0; n < list->cnt; n++) {
        int p = list->elems[n].partition;
        if (p < 0 || p >= PARTITIONS_MAX) continue;
        has[p] = (char)is_assigned;
        /* Another member will read this, and its commits must not be overtaken by ours. */
        next[p] = -1;
    }
    /* Whoever waits for these partitions gets them after this is written. */
    owns(client);
    if (is_cooperative) {
        failed = is_assigned ? rd_kafka_incremental_assign(client, list) : rd_kafka_incremental_unassign(client, list);
    } else {
        rd_kafka_assign(client, is_assigned ? list : NULL);
    }
    if (failed) {
        stamp();
        fprintf(diary, "# %s\n", rd_kafka_error_string(failed));
        rd_kafka_error_destroy(failed);
    }
}

static void commit(rd_kafka_t *client, const char *topic) {
    rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(8);
    for (int p = 0; p < PARTITIONS_MAX; p++) {
        if (next[p] < 0) continue;
        rd_kafka_topic_partition_list_add(offsets, topic, p)->offset = next[p];
        stamp();
        fprintf(diary, "commit %d %lld\n", p, (long long)next[p]);
    }
    fflush(diary);
    if (offsets->cnt > 0) {
        rd_kafka_resp_err_t failed = rd_kafka_commit(client, offsets, 0);
        for (int n = 0; n < offsets->cnt; n++) {
            rd_kafka_resp_err_t error = failed ? failed : offsets->elems[n].err;
            stamp();
            if (error) {
                /* It is tried again with what comes next, unless another has the partition then. */
                fprintf(diary, "# %s\n", rd_kafka_err2name(error));
            } else {
                next[offsets->elems[n].partition] = -1;
                fprintf(diary, "committed %d %lld\n", offsets->elems[n].partition, (long long)offsets->elems[n].offset);
            }
        }
        fflush(diary);
    }
    rd_kafka_topic_partition_list_destroy(offsets);
}

void chaos_member(char **args);

void chaos_member(char **args) {
    char error[512], path[4096];
    char *name = strtok(args[3], ":"), *group = strtok(NULL, ":"), *assignor = strtok(NULL, ":"), *instance = strtok(NULL, ":");
    snprintf(path, sizeof path, "%s/%s.log", args[2], name);
    diary = fopen(path, "a");
    if (!diary) exit(1);
    for (int p = 0; p < PARTITIONS_MAX; p++) next[p] = -1;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", args[0]);
    set(conf, "group.id", group);
    set(conf, "partition.assignment.strategy", assignor);
    if (strcmp(instance, "-")) set(conf, "group.instance.id", instance);
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "session.timeout.ms", "6000");
    set(conf, "heartbeat.interval.ms", "500");
    set(conf, "reconnect.backoff.max.ms", "200");
    set(conf, "fetch.wait.max.ms", "200");
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (!client) exit(1);
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, args[1], RD_KAFKA_PARTITION_UA);
    note("start");
    rd_kafka_subscribe(client, topics);
    while (!is_over()) {
        int wait = 100;
        for (int n = 0; n < BATCH_MAX; n++) {
            rd_kafka_message_t *message = rd_kafka_consumer_poll(client, wait);
            if (!message) break;
            wait = 0;
            stamp();
            if (message->err) {
                fprintf(diary, "# %s\n", rd_kafka_err2name(message->err));
                fflush(diary);
                /* Fenced: it is to be started again. */
                if (rd_kafka_fatal_error(client, error, sizeof error)) _exit(3);
            } else {
                fprintf(diary, "read %d %lld %.*s\n", message->partition, (long long)message->offset, (int)message->len,
                        (char *)message->payload);
                if (message->partition < PARTITIONS_MAX) next[message->partition] = message->offset + 1;
            }
            rd_kafka_message_destroy(message);
        }
        commit(client, args[1]);
    }
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    note("left");
}
