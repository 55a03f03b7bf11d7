/* What the long-running programs of the C client share. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <librdkafka/rdkafka.h>

/* Whether the harness has closed the standard input, which ends the program. */
int is_over(void);

/* Sets a setting of the client; one it does not take ends the program. */
void set(rd_kafka_conf_t *conf, const char *name, const char *value);

#endif
