/* Addresses, endpoints and prefixes: values, comparison, text. */
#include "adit/base.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

struct addr addr_of(uint8_t family, const uint8_t *bytes)
{
    struct addr a = {.family = family};
    memcpy(a.b, bytes, addr_size(&a));
    return a;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(a->b, b->b, addr_size(a));
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return addr_compare(a, b) == 0;
}

bool addr_is_local_scope(const struct addr *a)
{
    static const uint8_t loopback6[16] = {[15] = 1}, unspecified6[16];
    if (a->family == 4)
        return a->b[0] == 127 || a->b[0] == 0 || a->b[0] >= 224 || (a->b[0] == 169 && a->b[1] == 254);
    return a->family != 6 || a->b[0] == 0xff || (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80) ||
           memcmp(a->b, loopback6, 16) == 0 || memcmp(a->b, unspecified6, 16) == 0;
}

enum rc addr_parse(const char *text, struct addr *ret)
{
    struct addr a = {.family = strchr(text, ':') ? 6 : 4};
    if (inet_pton(a.family == 6 ? AF_INET6 : AF_INET, text, a.b) != 1)
        return RC_SYNTAX;
    *ret = a;
    return RC_OK;
}

const char *addr_text(const struct addr *a, char ret[ADDR_TEXT])
{
    if (!a->family || !inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->b, ret, ADDR_TEXT))
        snprintf(ret, ADDR_TEXT, "none");
    return ret;
}

const char *endpoint_text(const struct endpoint *e, char ret[ENDPOINT_TEXT])
{
    char a[ADDR_TEXT];
    snprintf(ret, ENDPOINT_TEXT, e->addr.family == 6 ? "[%.45s]:%u" : "%.45s:%u", addr_text(&e->addr, a), e->port);
    return ret;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && addr_equal(&a->addr, &b->addr);
}

static uint8_t full_length(const struct addr *a)
{
    return (uint8_t)(addr_size(a) * 8);
}

enum rc prefix_parse(const char *text, struct prefix *ret)
{
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    char address[ADDR_TEXT];
    struct prefix p;
    if (n >= sizeof address)
        return RC_SYNTAX;
    snprintf(address, sizeof address, "%.*s", (int)n, text);
    if (addr_parse(address, &p.addr) != RC_OK)
        return RC_SYNTAX;
    p.len = full_length(&p.addr);
    if (slash) {
        char *end;
        if (slash[1] < '0' || slash[1] > '9')
            return RC_SYNTAX;
        unsigned long len = strtoul(slash + 1, &end, 10);
        if (*end)
            return RC_SYNTAX;
        if (len > p.len)
            return RC_RANGE;
        p.len = (uint8_t)len;
    }
    *ret = p;
    return RC_OK;
}

static uint8_t mask_byte(uint8_t len, unsigned i) /* byte i of a mask of len bits */
{
    return len >= (i + 1) * 8 ? 0xff : len <= i * 8 ? 0 : (uint8_t)(0xff00 >> (len - i * 8));
}

struct prefix prefix_network(struct prefix p)
{
    for (unsigned i = 0; i < addr_size(&p.addr); i++)
        p.addr.b[i] &= mask_byte(p.len, i);
    return p;
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
    if (p->addr.family != a->family)
        return false;
    for (unsigned i = 0; i < addr_size(a) && i * 8 < p->len; i++)
        if ((p->addr.b[i] ^ a->b[i]) & mask_byte(p->len, i))
            return false;
    return true;
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
    return a->len <= b->len ? prefix_contains(a, &b->addr) : prefix_contains(b, &a->addr);
}

bool prefix_equal(const struct prefix *a, const struct prefix *b)
{
    return a->len == b->len && addr_equal(&a->addr, &b->addr);
}

enum rc prefix_of_range(const struct addr *first, const struct addr *last, struct prefix *ret)
{
    struct prefix p = {.addr = *first, .len = full_length(first)};
    if (first->family != last->family)
        return RC_RANGE;
    while (p.len && !prefix_contains(&p, last))
        p.len--;
    for (unsigned i = 0; i < addr_size(first); i++) /* first: host bits all zero; last: all one */
        if ((first->b[i] & ~mask_byte(p.len, i)) || (last->b[i] | mask_byte(p.len, i)) != 0xff)
            return RC_RANGE;
    *ret = p;
    return RC_OK;
}

const char *prefix_text(const struct prefix *p, char ret[PREFIX_TEXT])
{
    char a[ADDR_TEXT];
    snprintf(ret, PREFIX_TEXT, "%s/%u", addr_text(&p->addr, a), p->len);
    return ret;
}
