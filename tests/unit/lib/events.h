/* The sN.keys.json of a capture: what one peer logged of its secrets, values and messages, in order. Each event is used
 * once; at the end the ones nobody asked for are visible. */
#ifndef ADIT_TESTS_EVENTS_H
#define ADIT_TESTS_EVENTS_H

#include "adit/wire_ike.h"
#include "vectors.h"

struct events {
    json_t *root, *list;
    bool used[2048];
    struct pool pool;
};
/* false with *ret_error when the file is missing or has not this shape. */
bool events_open(struct events *e, const char *path, const char **ret_error);
void events_close(struct events *e);
const char *events_string(const struct events *e, const char *name); /* of the top level; NULL if absent */

/* The next unused event with that label: its value, valid until events_close(). false: there is none. */
bool events_take(struct events *e, const char *label, struct span *ret);
bool events_has(const struct events *e, const char *label); /* an event of exactly this label, used or not */
/* The next unused "MSG ... EXCHANGE request|response MID [ PAYLOADS ]" of that message, or NULL: the text in brackets. */
const char *events_message(struct events *e, uint8_t exchange, bool response, uint32_t mid);
/* Do the payload names in brackets describe this chain? Order is not compared: a peer may list before it sorts. */
bool events_payloads_match(const char *names, const struct ike_chain *chain);
/* First unused event whose label begins so, or NULL. */
const char *events_left(const struct events *e, const char *label_prefix);

#endif
