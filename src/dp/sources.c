/* Allowed inner sources of a tunnel: a set of prefixes, shared by all tunnels that were given the same list. */
#include "tables.h"

#include <stdlib.h>

static enum rc build(struct lpm *t, uint8_t family, const struct prefix *prefixes, size_t n)
{
    struct lpm_route *r = calloc(n ? n : 1, sizeof *r);
    if (!r)
        return RC_NOMEM;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        struct prefix p = prefix_network(prefixes[i]);
        if (p.addr.family == family)
            r[k++] = (struct lpm_route){.key = key_of(&p.addr), .len = p.len, .value = 1};
    }
    enum rc rc = lpm_build(t, r, k);
    free(r);
    return rc;
}

static bool equal(const struct source_set *s, const struct prefix *prefixes, size_t n)
{
    if (s->n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!prefix_equal(&s->prefixes[i], &prefixes[i]))
            return false;
    return true;
}

static uint64_t hash_of(const struct prefix *prefixes, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = key_hash(key_of(&prefixes[i].addr), h + prefixes[i].len);
    return h;
}

static void release(struct source_set *s)
{
    lpm_clear(&s->v4);
    lpm_clear(&s->v6);
    free(s->prefixes);
    free(s);
}

enum rc sources_get(struct dp *dp, const struct prefix *prefixes, size_t n, struct source_set **ret)
{
    uint64_t hash = hash_of(prefixes, n);
    for (struct map_node *m = map_first(&dp->sources, hash); m; m = map_next(m)) {
        struct source_set *s = CONTAINER_OF(m, struct source_set, node);
        if (equal(s, prefixes, n)) {
            s->refs++;
            *ret = s;
            return RC_OK;
        }
    }
    struct source_set *s = calloc(1, sizeof *s);
    if (!s)
        return RC_NOMEM;
    s->n = n;
    s->prefixes = calloc(n ? n : 1, sizeof *prefixes);
    if (!s->prefixes || build(&s->v4, 4, prefixes, n) != RC_OK || build(&s->v6, 6, prefixes, n) != RC_OK ||
        map_insert(&dp->sources, &s->node, hash) != RC_OK) {
        release(s);
        return RC_NOMEM;
    }
    for (size_t i = 0; i < n; i++)
        s->prefixes[i] = prefixes[i];
    s->refs = 1;
    *ret = s;
    return RC_OK;
}

void sources_put(struct dp *dp, struct source_set *s)
{
    if (!s || --s->refs > 0)
        return;
    map_remove(&dp->sources, &s->node);
    release(s);
}
