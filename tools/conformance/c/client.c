/* One of the conformance run's clients: librdkafka through its C interface.
 *
 *   c-client produce BOOTSTRAP TOPIC PARTITIONS CODEC lines|files keyed|unkeyed PATH
 *   c-client consume BOOTSTRAP OUT_DIR PARTITIONS TOPIC...
 *   c-client chaos-member|lab-writer ...      see chaos.c and lab.c
 *   c-client group BOOTSTRAP GROUP TOPIC      a member until its input ends: prints each record, commits what it has read
 *
 * As the other clients: record i goes to partition i modulo PARTITIONS; what is consumed is framed into OUT_DIR/TOPIC-PARTITION. */
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In chaos.c and lab.c. */
void chaos_member(char **args);
void lab_writer(char **args);

static int failures = 0;

static void die(const char *what, const char *why) {
    fprintf(stderr, "c-client: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char error[512];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) die(name, error);
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path, "cannot be opened");
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *content = malloc(*size + 1);
    if (fread(content, 1, *size, file) != *size) die(path, "cannot be read");
    content[*size] = 0;
    fclose(file);
    return content;
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client;
    (void)opaque;
    if (message->err) failures++;
}

static void produce(char **args) {
    char error[512], key[24];
    int partitions = atoi(args[2]), n = 0, files = !strcmp(args[4], "files"), keyed = !strcmp(args[5], "keyed");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", args[0]);
    set(conf, "compression.type", args[3]);
    set(conf, "enable.idempotence", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!client) die("producer", error);
    size_t size;
    char *content = read_file(args[6], &size), *line = content, *end = content + size;
    while (line < end) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) stop = end;
        size_t length = (size_t)(stop - line);
        char *value = line;
        if (files) {
            char *path = strndup(line, length);
            value = read_file(path, &length);
            free(path);
        }
        int key_length = keyed ? snprintf(key, sizeof key, "%d", n) : 0;
        rd_kafka_resp_err_t failed;
        do {
            failed = rd_kafka_producev(client, RD_KAFKA_V_TOPIC(args[1]), RD_KAFKA_V_PARTITION(n % partitions),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(value, length),
                                       RD_KAFKA_V_KEY(keyed ? key : NULL, (size_t)key_length), RD_KAFKA_V_END);
            rd_kafka_poll(client, failed == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
        } while (failed == RD_KAFKA_RESP_ERR__QUEUE_FULL);
        if (failed) die("produce", rd_kafka_err2str(failed));
        if (files) free(value);
        n++;
        line = stop + 1;
    }
    if (rd_kafka_flush(client, 120000) || failures) die("flush", "not everything was delivered");
    free(content);
    rd_kafka_destroy(client);
}

static void field(FILE *file, const void *value, size_t length) {
    int present = value != NULL;
    int32_t big_endian = (int32_t)htonl(present ? (uint32_t)length : 0xffffffffu);
    fwrite(&big_endian, 4, 1, file);
    if (present && length) fwrite(value, 1, length, file);
}

static void consume(char **args, int topics) {
    char error[512], path[4096];
    int partitions = atoi(args[2]);
    long long left = 0;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", args[0]);
    set(conf, "group.id", "unused"); /* no group is ever joined; the library only insists on a name for one */
    set(conf, "enable.auto.commit", "false");
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (!client) die("consumer", error);
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *assigned = rd_kafka_topic_partition_list_new(topics * partitions);
    FILE **files = calloc((size_t)(topics * partitions), sizeof *files);
    for (int t = 0; t < topics; t++) {
        for (int p = 0; p < partitions; p++) {
            int64_t low, high;
            rd_kafka_resp_err_t failed = rd_kafka_query_watermark_offsets(client, args[3 + t], p, &low, &high, 20000);
            if (failed) die(args[3 + t], rd_kafka_err2str(failed));
            left += high;
            rd_kafka_topic_partition_list_add(assigned, args[3 + t], p)->offset = RD_KAFKA_OFFSET_BEGINNING;
            snprintf(path, sizeof path, "%s/%s-%d", args[1], args[3 + t], p);
            files[t * partitions + p] = fopen(path, "wb");
            if (!files[t * partitions + p]) die(path, "cannot be written");
        }
    }
    rd_kafka_assign(client, assigned);
    while (left > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 20000);
        if (!message) die("consume", "nothing came for 20 s");
        if (message->err) die("consume", rd_kafka_message_errstr(message));
        int t = 0;
        while (strcmp(args[3 + t], rd_kafka_topic_name(message->rkt))) t++;
        FILE *file = files[t * partitions + message->partition];
        field(file, message->key, message->key_len);
        /* An empty value may come as a null pointer; none of the values sent here is null. */
        field(file, message->payload ? message->payload : "", message->len);
        left--;
        rd_kafka_message_destroy(message);
    }
    for (int n = 0; n < topics * partitions; n++) fclose(files[n]);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
}

static int is_over(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char byte;
    return poll(&input, 1, 0) > 0 && read(0, &byte, 1) <= 0;
}

static void group(char **args) {
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", args[0]);
    set(conf, "group.id", args[1]);
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "earliest");
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (!client) die("member", error);
    rd_kafka_poll_set_consumer(client);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, args[2], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t failed = rd_kafka_subscribe(client, topics);
    if (failed) die("subscribe", rd_kafka_err2str(failed));
    while (!is_over()) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
        if (!message) continue;
        if (message->err) {
            printf("# %s\n", rd_kafka_message_errstr(message));
        } else {
            printf("record %d %lld\n", message->partition, (long long)message->offset);
            /* A commit that comes too late is no harm: whoever has the partition now reads it again. */
            failed = rd_kafka_commit_message(client, message, 0);
            if (failed) printf("# %s\n", rd_kafka_err2str(failed));
        }
        fflush(stdout);
        rd_kafka_message_destroy(message);
    }
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
}

int main(int count, char **args) {
    if (count < 5) die("usage", "produce|consume|group ...");
    if (!strcmp(args[1], "chaos-member")) {
        if (count != 6) die("usage", "chaos-member BOOTSTRAP TOPIC FOLDER MEMBER");
        chaos_member(args + 2);
    } else if (!strcmp(args[1], "lab-writer")) {
        if (count != 9) die("usage", "lab-writer BOOTSTRAP TOPIC PARTITIONS CODEC PROCESS RATE HISTORY");
        lab_writer(args + 2);
    } else if (!strcmp(args[1], "group")) {
        group(args + 2);
    } else if (!strcmp(args[1], "produce")) {
        produce(args + 2);
    } else {
        consume(args + 2, count - 5);
    }
    return 0;
}
