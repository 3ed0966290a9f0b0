/* config_full: a configuration that sets every field of the schema, each to another value than its default. */
#ifndef ADIT_TEST_CONFIG_FULL_H
#define ADIT_TEST_CONFIG_FULL_H

#include "config_files.h"

extern const char config_full[];
struct files config_full_files(void); /* the secrets it names */
struct loaded config_full_load(void); /* without errors */

/* A copy of text in which the first `from` is `to`; the program ends when there is none. Free it. */
char *text_replaced(const char *text, const char *from, const char *to);

#define FULL_KEY "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define FULL_KEY2 "0xf0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f"

#endif
