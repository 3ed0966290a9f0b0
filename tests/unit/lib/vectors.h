/* Readers of published test vectors, and a source of randomness that plays back a given tape.
 * Paths are relative to the project root. A file that is missing or malformed stops the program with its name. */
#ifndef ADIT_TESTS_VECTORS_H
#define ADIT_TESTS_VECTORS_H

#include <jansson.h>
#include <zlib.h>

#include "adit/base.h"

/* Decoded octets of one case. */
struct pool {
    uint8_t b[1 << 18];
    size_t n;
};
struct span pool_hex(struct pool *p, const char *hex, size_t digits);

/* "[section]" lines and blocks of "Name = value" (CAVS .fax, Botan .vec), plain or gzipped. */
#define VEC_FIELDS 16
#define VEC_LINE (1 << 14)
struct vec {
    const char *path;
    gzFile file;
    int line;
    char sections[512]; /* the bracketed lines above the current case, concatenated */
    struct {
        char name[32], *value;
    } field[VEC_FIELDS];
    size_t n_fields;
    char text[1 << 16];
    struct pool pool;
};
void vec_open(struct vec *v, const char *path);
bool vec_next(struct vec *v); /* the next block; false at the end, when the file has been closed */
bool vec_in(const struct vec *v, const char *section);
struct span vec_hex(struct vec *v, const char *name); /* valid until vec_next() */

/* JSON. */
json_t *vec_json(const char *path);
const char *json_text(const json_t *object, const char *name);
struct span json_hex(struct pool *p, const json_t *object, const char *name);
bool json_valid(const json_t *test); /* Wycheproof's "result" is not "invalid" */

/* First the tape, then a fixed stream from the seed: struct rng r = {tape_fill, &tape}. */
struct tape {
    struct span data;
    size_t at;
    uint64_t seed;
    size_t drawn; /* octets given out in all */
};
void tape_fill(void *ctx, void *ret, size_t n);

#endif
