/* A writer of the lab by librdkafka, as go/lab.go: numbers that begin with its process, until its input ends.
 *
 *   c-client lab-writer BOOTSTRAP TOPIC PARTITIONS CODEC PROCESS RATE HISTORY */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

static FILE *history;
static const char *process;

void lab_writer(char **args);

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    struct timespec now;
    (void)client;
    (void)opaque;
    clock_gettime(CLOCK_REALTIME, &now);
    fprintf(history, "send\t%s\t%s\t%s-%d\t%lld\t%.*s\t%lld\n", process, message->err ? "info" : "ok",
            rd_kafka_topic_name(message->rkt), message->partition, message->err ? -1LL : (long long)message->offset,
            (int)message->len, (char *)message->payload, (long long)now.tv_sec * 1000000000 + now.tv_nsec);
}

void lab_writer(char **args) {
    char error[512], value[32];
    int partitions = atoi(args[2]), rate = atoi(args[5]);
    process = args[4];
    history = fopen(args[6], "w");
    if (!history) exit(1);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", args[0]);
    set(conf, "compression.type", args[3]);
    set(conf, "enable.idempotence", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!client) exit(1);
    for (long n = 0; !is_over(); n++) {
        int length = snprintf(value, sizeof value, "%s%09ld", process, n);
        rd_kafka_resp_err_t failed;
        do {
            failed = rd_kafka_producev(client, RD_KAFKA_V_TOPIC(args[1]), RD_KAFKA_V_PARTITION((int)(n % partitions)),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(value, (size_t)length), RD_KAFKA_V_END);
            rd_kafka_poll(client, failed ? 100 : 0);
        } while (failed == RD_KAFKA_RESP_ERR__QUEUE_FULL);
        if (failed) {
            fprintf(stderr, "c-client: %s\n", rd_kafka_err2str(failed));
            exit(1);
        }
        rd_kafka_poll(client, 1000 / rate);
        usleep((useconds_t)(1000000 / rate / 4));
    }
    /* What is not acknowledged by then is unknown. */
    if (rd_kafka_flush(client, 60000)) {
        rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(client, 5000);
    }
    fclose(history);
    rd_kafka_destroy(client);
}
