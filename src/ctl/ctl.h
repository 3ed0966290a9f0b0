/* ctl: aditctl's own parts. Talks JSON lines with the daemon's control socket and prints tables or the JSON itself. */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>
#include <stdbool.h>

/* One request, one answer: returns the daemon's `result`, or NULL with a message and remedy on stderr. */
json_t *ctl_call(const char *socket_path, json_t *request);

/* A table whose columns are as wide as their widest cell. Cells are copied. */
#define TABLE_COLUMNS 14
struct table;
struct table *table_new(const char *const *headings, unsigned n_columns, const char *right_aligned); /* "rrl..." */
void table_row(struct table *t, ...); /* n_columns const char * */
void table_print_free(struct table *t, const char *when_empty);

/* Human readable views of the answers. */
void view_status(const json_t *result);
void view_tunnels(const json_t *result);
void view_tunnel_details(const json_t *result);
void view_sas(const json_t *result);
void view_message(const json_t *result);

#endif
