/* value: text of one scalar -> value, and back. Each reader returns NULL, or why it refused (a literal or memory of the
 * loader's arena); *ret is untouched then. */
#ifndef ADIT_CONFIG_VALUE_H
#define ADIT_CONFIG_VALUE_H

#include "schema.h"

typedef const char *config_read_fn(const struct field *f, const char *text, struct loader *l, void *ret);
typedef void config_print_fn(const void *value, char *ret, size_t n);

config_read_fn config_read_bool, config_read_uint, config_read_dscp, config_read_duration, config_read_time,
    config_read_name, config_read_text, config_read_device, config_read_domain, config_read_identity, config_read_addr,
    config_read_interface, config_read_network, config_read_listen, config_read_url, config_read_secret;
config_print_fn config_print_bool, config_print_uint, config_print_dscp, config_print_duration, config_print_time,
    config_print_text, config_print_addr, config_print_prefix, config_print_listen, config_print_secret;

#endif
